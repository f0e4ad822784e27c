package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// targetsAudited is how many rollback targets must be whole, the newest.
const targetsAudited = 3

// blobsAtOnce is how many blobs of one image are asked for at the same time.
const blobsAtOnce = 16

// exam is one image that must be whole.
type exam struct {
	kind   document.FindingKind
	digest string
	line   *document.Line // that brought it; nil: no record did

	completion
	lost      []string // attachments that its record lists
	recordErr error
	kept      keeping // of a rollback target
}

// judgeImages finds out whether what the stage holds is whole, and what it can go back
// to.
func (a *auditing) judgeImages(ctx context.Context) {
	exams := a.exams()
	each(exams, func(e *exam) { a.examine(ctx, e) })
	for _, e := range exams {
		a.tell(e)
	}
	for _, e := range exams {
		a.judgeRetention(e)
	}
}

// exams are the image that the stage holds, else the one that it should hold, and its
// rollback targets. After a change outside of promotion the one that it should hold is
// one of them.
func (a *auditing) exams() (all []*exam) {
	current, known := a.state.Current()
	held := &exam{kind: document.FindingImage, digest: a.holds()}
	if known && (held.digest == "" || held.digest == current.Digest) {
		held.digest, held.line = current.Digest, &current
	}
	if held.digest != "" {
		all = append(all, held)
	}
	earlier := a.state.Earlier()
	earlier = earlier[:min(len(earlier), targetsAudited)]
	if known && held.digest != current.Digest {
		earlier = append([]document.Line{current}, earlier...)
		earlier = slices.DeleteFunc(earlier, func(line document.Line) bool { return line.Digest == held.digest })
	}
	for _, line := range earlier {
		all = append(all, &exam{kind: document.FindingRollbackTarget, digest: line.Digest, line: &line})
	}
	return all
}

func (a *auditing) examine(ctx context.Context, e *exam) {
	digest, ok := hashOf(e.digest)
	if !ok {
		return // no line that counts has one
	}
	e.completion = a.completion(ctx, digest)
	if e.line != nil && !e.absent {
		a.examineRecord(ctx, e)
	}
	if e.kind == document.FindingRollbackTarget && !e.absent && a.isOld(e.digest) {
		e.kept = a.keeping(ctx, e.digest)
	}
}

// examineRecord finds out whether what is listed as attached is there still: by the record
// of what brought the image there. One of a rollback lists nothing.
func (a *auditing) examineRecord(ctx context.Context, e *exam) {
	line := *e.line
	if brought := ledger.Brought(a.lines, e.digest); brought != nil {
		line = *brought
	}
	r, read := a.records[line.Record]
	if !read {
		var older reading
		older, e.recordErr = a.readRecord(ctx, line)
		r = older.record
		if older.wrong != nil {
			e.gone = append(e.gone, older.wrong.Message)
		}
	}
	if r == nil {
		return // what is wrong with a newer one, the chain's findings say
	}
	for _, name := range r.Attachments {
		if e.recordErr != nil {
			return
		}
		there, err := a.attached(ctx, name)
		if e.recordErr = err; err == nil && !there {
			e.lost = append(e.lost, name)
		}
	}
}

// attached reports whether an attachment is there that a record lists: by its digest, or
// by its tag of cosign's scheme.
func (a *auditing) attached(ctx context.Context, name string) (bool, error) {
	if digest, ok := hashOf(name); ok {
		return a.repo.HasManifest(ctx, digest)
	}
	o, err := transfer.Observe(ctx, a.repo, name)
	return o.Digest().Hex != "", err
}

// tell makes findings of an exam.
func (a *auditing) tell(e *exam) {
	reference := a.imageReference(e.digest)
	about := fmt.Sprintf("%s holds %s", a.called(), e.digest)
	hint := "Promote the image again from where it still is, whole: that copies what is missing. Until then it may not start on a new machine. Find out what deleted it: a clean-up must spare what the tags of an environment reach."
	if e.kind == document.FindingRollbackTarget {
		about = fmt.Sprintf("%s can be rolled back to %s, which it held before", a.called(), e.digest)
		hint = "A rollback goes to the next older image that is whole. To keep this one, copy it there again from where it still is. Let each release have a tag of its own (fixed-tags), and clean-ups spare them."
	}
	for _, what := range e.gone {
		a.find(document.Finding{Kind: e.kind, Reference: reference, Digest: e.digest, Message: about + ": " + what + ".", Hint: hint})
	}
	for n, digest := range e.lost {
		if n == maxFindings {
			a.find(document.Finding{Kind: e.kind, Reference: reference, Digest: e.digest, Message: fmt.Sprintf("%s: %d more attachments are gone.", about, len(e.lost)-n)})
			break
		}
		a.find(document.Finding{
			Kind: e.kind, Reference: reference, Digest: digest,
			Message: about + ": the attachment " + digest + ", which its record lists, is gone.", Hint: hint,
		})
	}
	a.notes = append(a.notes, e.notices...)
	for _, err := range []error{e.err, e.recordErr} {
		if err != nil {
			a.unreadable(reference, err)
		}
	}
}

// completion is what of an image is not in its repository.
type completion struct {
	gone    []string // what, as sentences without an end
	absent  bool     // the image itself is among it
	notices []string // of what hangs on it and was left out
	err     error    // why it could not be found out
}

// completion walks everything below a digest, attachments included, and asks for every
// blob.
func (s *shelf) completion(ctx context.Context, digest v1.Hash) completion {
	return s.images.get(digest, func() completion { return s.walk(ctx, digest) })
}

func (s *shelf) walk(ctx context.Context, digest v1.Hash) (c completion) {
	root, err := s.repo.GetManifest(ctx, digest.String())
	if err != nil {
		c.take("the image itself", err)
		c.absent = c.err == nil
		return c
	}
	w := graph.NewWalker(s.repo, true)
	if err := w.Walk(ctx, root); err != nil {
		c.take("something of it", err)
		return c
	}
	g := w.Graph(digest)
	c.notices = g.Notices
	s.walkBlobs(ctx, g.Blobs(), &c)
	return c
}

// take tells what is not there, or is not what its digest says, from what could not be
// found out.
func (c *completion) take(what string, err error) {
	var missing *graph.MissingError
	switch {
	case errors.As(err, &missing):
		child := missing.Child.String()
		if missing.Platform != "" {
			child += " (" + missing.Platform + ")"
		}
		c.gone = append(c.gone, fmt.Sprintf("the index %s lists %s, which is gone", missing.Index, child))
	case errors.Is(err, registry.ErrNotFound):
		c.gone = append(c.gone, what+" is gone")
	case errors.Is(err, registry.ErrMismatch):
		c.gone = append(c.gone, fmt.Sprintf("%s is damaged (%v)", what, err))
	default:
		c.err = err
	}
}

// blob is whether a repository holds one.
type blob struct {
	there bool
	err   error
}

func (s *shelf) walkBlobs(ctx context.Context, blobs []v1.Descriptor, c *completion) {
	answers := make([]blob, len(blobs))
	var g errgroup.Group
	g.SetLimit(blobsAtOnce)
	for n, b := range blobs {
		g.Go(func() error {
			answers[n] = s.blobs.get(b.Digest, func() blob {
				there, err := s.repo.HasBlob(ctx, b.Digest)
				return blob{there, err}
			})
			return answers[n].err
		})
	}
	c.err = g.Wait()
	var gone []string
	for n, answer := range answers {
		if !answer.there && answer.err == nil {
			gone = append(gone, blobs[n].Digest.String())
		}
	}
	switch len(gone) {
	case 0:
	case 1:
		c.gone = append(c.gone, "the blob "+gone[0]+" is gone")
	default:
		c.gone = append(c.gone, fmt.Sprintf("%s are gone, %s among them", report.Count(len(gone), "blob"), gone[0]))
	}
}
