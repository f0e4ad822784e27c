package input

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/github"
	"github.com/artifact-promotion/promote/internal/promote"
)

// Settings is what a run needs to know.
type Settings struct {
	Request        promote.Request
	Credentials    *credential.Chain // what the inputs hold, before the environment's own
	CACertificates []byte            // PEM; empty: none besides the built-in ones
	Timeout        time.Duration     // of the whole run
	Transfers      int               // blobs copied at the same time, at most; 0: chosen by the program
	Summary        bool              // write a job summary
	Secrets        []string          // every password and token, to be masked; complete also beside an error
	GitHub         github.Options    // whom to ask what gates need to know

	reader *reader // what Read leaves for Configure
}

// ReadFile reads a config file: with a ref from the workflow's repository at that
// ref, else from the checkout. The notice, which may be empty, is for the report.
// The error is [fs.ErrNotExist] where there is no such file, and an [*Error] where
// the user can mend it otherwise.
type ReadFile func(ctx context.Context, path, ref string) (raw []byte, notice string, err error)

// Configure reads the config file, if there is one to read, and makes the request
// complete: what is promoted, where to, and which gates it is held to. It comes
// once, after [Read] without an error. Its error is an [*Error] or a
// [*config.Error] where the user can mend it, and a [*DeniedError] where the
// promotion must not be. Nothing was contacted besides GitHub.
func (s *Settings) Configure(ctx context.Context, read ReadFile) (notices []string, err error) {
	r := s.reader
	if r.denied != nil {
		return nil, r.denied
	}
	c, notice, err := r.load(ctx, read)
	if notice != "" {
		notices = append(notices, notice)
	}
	if err != nil {
		return notices, err
	}
	err = r.complete(c)
	return append(notices, r.notices...), err
}

// complete makes the request complete with the config; nil is none.
func (r *reader) complete(c *config.Config) error {
	var denied error
	switch {
	case r.plan != nil:
		if err := r.apply(c); err != nil {
			return err
		}
	case listing(r.settings.Request.Mode):
		r.survey(c)
	case r.staged():
		denied = r.promote(c)
	}
	if c != nil {
		r.refuseOwned(c)
		r.refuseOwnedSubject(c)
		r.settings.Request.Trespass = trespass(c, c.Environment(r.settings.Request.TargetEnv))
	}
	if err := r.err(); err != nil {
		return err
	}
	return denied
}

// promote makes the request that of the environment that it names.
func (r *reader) promote(c *config.Config) (denied error) {
	s := r.open(c)
	switch {
	case s == nil:
		return nil
	case r.settings.Request.Mode == promote.Rollback:
		s.rollback()
		return nil
	}
	s.complete()
	return s.denial()
}

// Format keeps secrets out of every fmt verb.
func (Settings) Format(f fmt.State, _ rune) { hide(f, "settings") }

func hide(f fmt.State, what string) {
	_, _ = io.WriteString(f, what+" (not shown)") // fmt's own buffer; fmt reports nothing either
}
