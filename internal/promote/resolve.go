package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

const (
	sideSource = credential.Source
	sideTarget = credential.Target
)

func group(ctx context.Context) (*errgroup.Group, context.Context) { return errgroup.WithContext(ctx) }

// asksAtOnce is how many questions of one kind, one for each image or tag, are on their
// way: as many as one host is asked at once. More would wait for their turn, with their
// stacks.
const asksAtOnce = 96

// asking is a group of such questions. None of its tasks adds another.
func asking(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := group(ctx)
	g.SetLimit(asksAtOnce)
	return g, ctx
}

// resolve turns every source into a digest. Beside that it reads what does not hang on
// the sources: what the tags hold whose names are known already, and the ledgers.
func (r *run) resolve(ctx context.Context) error {
	r.Step("Resolve")
	early, stop := context.WithCancel(ctx)
	defer stop()
	observed := make(chan error, 1)
	go func() { observed <- r.readBeside(early) }()
	err := r.resolveImages(ctx)
	if err != nil {
		stop() // the source's fault is the one to tell
	}
	if observeErr := <-observed; err == nil {
		err = observeErr
	}
	if err != nil {
		return err
	}
	for _, i := range r.images {
		r.Info(fmt.Sprintf("%s is %s (%s)", i.item.Source.Text, i.root.Digest, i.root.MediaType))
		if i.moved != "" {
			r.note(i.moved)
		}
	}
	return nil
}

// readBeside reads what does not hang on the sources.
func (r *run) readBeside(ctx context.Context) error {
	g, inner := group(ctx)
	g.Go(func() error { return r.observeNamed(inner) })
	g.Go(func() error { return r.readFrom(inner) })
	g.Go(func() error { return r.readMoved(inner) })
	g.Go(func() error { return r.readBrought(inner) })
	var waited bool
	g.Go(func() (err error) {
		waited, err = r.readLedgers(inner)
		return err
	})
	if err := g.Wait(); err != nil || !waited {
		return err
	}
	return r.observeNamed(ctx) // others have moved them since
}

func (r *run) resolveImages(ctx context.Context) error {
	g, ctx := asking(ctx)
	for _, i := range r.images {
		g.Go(func() error { return i.resolve(ctx) })
	}
	return g.Wait()
}

// resolve reads what the source holds. A tag that does not hold the digest asked
// for has moved since somebody looked: what was tested is not what it names now.
func (i *image) resolve(ctx context.Context) error {
	want := i.item.Source
	ref := want.Tag
	if ref == "" {
		ref = want.Digest.String()
	}
	if i.pinned {
		ref = want.Digest.String()
	}
	m, err := i.source.GetManifest(ctx, ref)
	switch {
	case errors.Is(err, registry.ErrNotFound) && i.pinned:
		return i.gone()
	case errors.Is(err, registry.ErrNotFound):
		return i.missing(ref, err)
	}
	if err != nil {
		return err
	}
	if want.Digest.Hex != "" && m.Digest != want.Digest {
		return &deniedError{
			message: fmt.Sprintf("source %s holds %s, but the digest asked for is %s", i.source.Reference(ref), m.Digest, want.Digest),
			hint: fmt.Sprintf("The tag has moved since that digest was built or tested. To promote what was asked for, whatever the tag holds now, use\n  source: %s\n"+
				"To promote what the tag holds now, give its digest, or none.", i.source.Reference(want.Digest.String())),
		}
	}
	i.root = m
	return nil
}

// missing explains a source that is not there.
func (i *image) missing(ref string, err error) error {
	var e *registry.Error
	if !errors.As(err, &e) || e.Hint != "" {
		return err
	}
	e.Hint = fmt.Sprintf("There is no %s, or this credential (%s) may not see it. ", i.source.Reference(ref), i.source.Credential())
	if from := i.item.From; from != nil && i.comesFrom() {
		e.Hint += fmt.Sprintf("It is what environment %s holds: promote an image to %s first.", from.Environment, from.Environment)
	} else {
		e.Hint += "Check the name and the tag, and that the build has pushed it."
	}
	return err
}

// inspect reads everything below each image, and what its targets hold. Nothing
// is written yet, and what cannot be promoted is refused here.
func (r *run) inspect(ctx context.Context) error {
	r.Step("Inspect")
	r.prepareRecords()
	g, ctx := group(ctx)
	g.Go(func() error { return r.readAttached(ctx) })
	if r.needLabels() { // the tags' names are in the images: one after the other
		g.Go(func() error { return r.walkThenName(ctx) })
		return g.Wait()
	}
	g.Go(func() error { return r.walk(ctx) })
	g.Go(func() error { return r.nameAndObserve(ctx) })
	return g.Wait()
}

func (r *run) walkThenName(ctx context.Context) error {
	if err := r.walk(ctx); err != nil {
		return err
	}
	if err := r.readLabels(ctx); err != nil {
		return err
	}
	return r.nameAndObserve(ctx)
}

// nameAndObserve names the tags and reads those that were not read yet.
func (r *run) nameAndObserve(ctx context.Context) error {
	if err := r.name(); err != nil {
		return err
	}
	if _, err := r.readLedgers(ctx); err != nil { // those that are named by the image
		return err
	}
	if err := r.observeNew(ctx); err != nil {
		return err
	}
	if err := r.recallAll(ctx); err != nil {
		return err
	}
	r.leaveTaken()
	return errors.Join(r.refuseTaken(), r.refuseDrift())
}

// How many source repositories are read at the same time, and for a plan: a walk waits
// for most of its time, for one answer before the next question. After a plan's no copy
// needs the memory.
const (
	walksAtOnce = 3 * atOnce
	plansAtOnce = 64
)

// walk reads the graphs, a source repository at a time as one walk.
func (r *run) walk(ctx context.Context) error {
	g, ctx := group(ctx)
	g.SetLimit(walksAtOnce)
	if r.request.Mode == Plan {
		g.SetLimit(plansAtOnce)
	}
	for _, images := range r.bySource() {
		g.Go(func() error { return r.walkFrom(ctx, images) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, i := range r.images {
		for _, text := range i.graph.Notices {
			r.note(text)
		}
		r.Info(fmt.Sprintf("%s has %s, %s (%s) and %s", i.root.Digest, report.Count(len(i.graph.Nodes), "manifest"),
			report.Count(i.graph.BlobCount(), "blob"), report.Size(i.graph.Bytes()), report.Count(len(i.graph.Attachments), "attachment")))
	}
	return nil
}

func (r *run) walkFrom(ctx context.Context, images []*image) error {
	w := graph.NewWalker(images[0].source, r.request.Attachments && r.leaves(images))
	if r.request.Mode == Rollback {
		w.With(r.engine.Finder(images[0].source))
	}
	w.LeaveOut(r.ownRecords(images))
	var roots []registry.Manifest
	for _, i := range images {
		roots = append(roots, i.root)
	}
	if err := w.Walk(ctx, roots...); err != nil {
		return err
	}
	for _, i := range images {
		i.graph = w.Graph(i.root.Digest)
	}
	return nil
}

// ownRecords tells which attachments are records of the ledgers that the images' promotions are written to: what those
// ledgers do not have must not come to stand beside what they have.
func (r *run) ownRecords(images []*image) func(v1.Descriptor) bool {
	own := map[string]bool{}
	for _, p := range r.promotions {
		if p.ledger.ledger != nil && slices.Contains(images, p.image) {
			own[p.ledger.ledger.Key().String()] = true
		}
	}
	return func(d v1.Descriptor) bool {
		name, _, isRecord := ledger.AttachedRecord(d)
		return isRecord && own[name]
	}
}

func (r *run) bySource() map[string][]*image {
	by := map[string][]*image{}
	for _, i := range r.images {
		by[i.source.Name()] = append(by[i.source.Name()], i)
	}
	return by
}

// leaves reports whether any of the images goes to another repository: within
// one, what is attached is there already, but for what a rollback goes back to, of
// which nobody knows.
func (r *run) leaves(images []*image) bool {
	if r.request.Mode == Rollback {
		return true
	}
	for _, p := range r.promotions {
		for _, i := range images {
			if p.image == i && !p.source.Same(p.target) {
				return true
			}
		}
	}
	return false
}
