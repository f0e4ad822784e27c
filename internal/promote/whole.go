package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
)

// notWhole explains an image that a rollback cannot go back to, as something of it is
// gone, and offers the next older one.
func (r *run) notWhole(err error) error {
	var missing *graph.MissingError
	if r.request.Mode != Rollback || err == nil || !errors.As(err, &missing) && !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	e := &brokenError{err: err, message: fmt.Sprintf("the image to go back to is no longer whole: %v", err)}
	e.hint = "A clean-up may have deleted it. Nothing was moved."
	if errors.Is(err, errUnattached) {
		e.hint += " To go back to the image all the same:\n  attachments: none\n"
	}
	if older, known := r.older(); known {
		to, what := older.Digest, "one"
		if len(r.promotions) > 1 {
			to, what = older.Record, "release"
		}
		e.hint += fmt.Sprintf(" The next older %s is of %s:\n  to: %s", what, older.Time.UTC().Format("2006-01-02 15:04 UTC"), to)
	}
	return e
}

// older is what every image can go back to further: of several, the oldest of what each
// of them would.
func (r *run) older() (oldest document.Line, known bool) {
	for _, p := range r.promotions {
		line, found := p.olderThan(p.past.to)
		if found && (!known || line.Time.Before(oldest.Time)) {
			oldest, known = line, true
		}
	}
	return oldest, known
}

// olderThan is the next good image before another.
func (p *promotion) olderThan(digest string) (document.Line, bool) {
	all := p.past.state.Earlier()
	at := slices.IndexFunc(all, func(l document.Line) bool { return l.Digest == digest })
	if at+1 < len(all) {
		return all[at+1], true
	}
	return document.Line{}, false
}

// whole reads that everything is still there that belongs to an image: its blobs, and
// what was attached to it when it was promoted.
func (r *run) whole(ctx context.Context, p *promotion) error {
	g, ctx := group(ctx)
	g.Go(func() error { return r.wholeBlobs(ctx, p) })
	if r.request.Attachments {
		g.Go(p.wholeAttachments)
	}
	return g.Wait()
}

func (r *run) wholeBlobs(ctx context.Context, p *promotion) error {
	blobs, err := r.engine.Lacking(ctx, p.graph, p.target)
	if err != nil {
		return err
	}
	var missing []string
	for _, b := range blobs {
		missing = append(missing, b.Digest.String())
	}
	return p.lacks("blob", missing)
}

// lacks is the error of an image that misses some parts; nil if there are none.
func (p *promotion) lacks(what string, missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	text := what + " " + missing[0]
	if more := len(missing) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return &registry.Error{Op: "check", Side: p.target.Side(), Ref: p.target.Reference(p.root.Digest.String()), Err: fmt.Errorf("%w: %s", registry.ErrNotFound, text)}
}

// wholeAttachments compares what is attached with what the record names.
func (p *promotion) wholeAttachments() error {
	if p.past.record == nil {
		return nil
	}
	there := attachmentsOf(p.graph)
	missing := slices.DeleteFunc(slices.Clone(p.past.record.Attachments), func(name string) bool { return slices.Contains(there, name) })
	if err := p.lacks("attachment", missing); err != nil {
		return fmt.Errorf("%w (%w)", err, errUnattached)
	}
	return nil
}

// errUnattached says that an image is whole, and something is gone that was attached to it.
var errUnattached = errors.New("the image itself is whole")
