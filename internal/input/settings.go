package input

import (
	"context"
	"fmt"
	"io"
	"time"

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
}

// ReadFile reads a config file: with a ref from the workflow's repository at that
// ref, else from the checkout. The notice, which may be empty, is for the report.
type ReadFile func(ctx context.Context, path, ref string) (raw []byte, notice string, err error)

// Configure reads the config file, if there is one to read, and makes the request
// complete: what is promoted, where to, and which gates it is held to. The error
// is an [*Error] or a [*config.Error] where the user can mend it, and nothing was
// contacted besides GitHub.
func (s *Settings) Configure(ctx context.Context, read ReadFile) (notices []string, err error) {
	return nil, nil
}

// Format keeps secrets out of every fmt verb.
func (Settings) Format(f fmt.State, _ rune) { hide(f, "settings") }

func hide(f fmt.State, what string) {
	_, _ = io.WriteString(f, what+" (not shown)") // fmt's own buffer; fmt reports nothing either
}
