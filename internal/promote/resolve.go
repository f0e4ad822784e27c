package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

const (
	sideSource = credential.Source
	sideTarget = credential.Target
)

func group(ctx context.Context) (*errgroup.Group, context.Context) { return errgroup.WithContext(ctx) }

// resolve turns every source into a digest. Meanwhile it reads what the tags hold
// whose names are known already, and what the walk and the copy need first.
func (r *run) resolve(ctx context.Context) error {
	r.Step("Resolve")
	r.prepare(ctx)
	early, stop := context.WithCancel(ctx)
	defer stop()
	observed := make(chan error, 1)
	go func() { observed <- r.readAhead(early) }()
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

// readAhead reads what does not hang on the sources.
func (r *run) readAhead(ctx context.Context) error {
	g, ctx := group(ctx)
	g.Go(func() error { return r.observeNamed(ctx) })
	g.Go(func() error { return r.readFrom(ctx) })
	g.Go(func() error { return r.readMoved(ctx) })
	g.Go(func() error { return r.readBrought(ctx) })
	g.Go(func() error { return r.readLedgers(ctx) })
	return g.Wait()
}

func (r *run) resolveImages(ctx context.Context) error {
	g, ctx := group(ctx)
	for _, i := range r.images {
		g.Go(func() error { return i.resolve(ctx) })
	}
	return g.Wait()
}

// prepare begins to ask what will be needed whatever the source holds.
func (r *run) prepare(ctx context.Context) {
	r.walkers = map[string]*graph.Walker{}
	for name, images := range r.bySource() {
		w := graph.NewWalker(images[0].source, r.request.Attachments && r.leaves(images))
		if r.request.Mode == Rollback {
			w.With(r.engine.Finder(images[0].source))
		}
		r.walkers[name] = w
		r.ahead.Go(func() { w.Prepare(ctx) })
	}
	for _, p := range r.promotions {
		if !p.source.Same(p.target) {
			r.ahead.Go(func() { r.engine.Prepare(ctx, p.target) })
		}
	}
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
	r.survey(ctx)
	r.prepareRecords(ctx)
	beyond := ctx // the walk
	r.expect = func(n *graph.Node, at *registry.Repository) { r.engine.Expect(beyond, n, at) }
	r.expectAttachments(ctx)
	if r.needLabels() { // the tags' names are in the images: one after the other
		if err := r.walk(ctx); err != nil {
			return err
		}
		if err := r.readLabels(ctx); err != nil {
			return err
		}
		return r.nameAndObserve(ctx)
	}
	g, ctx := group(ctx)
	g.Go(func() error { return r.walk(ctx) })
	g.Go(func() error { return r.nameAndObserve(ctx) })
	return g.Wait()
}

// nameAndObserve names the tags and reads those that were not read yet.
func (r *run) nameAndObserve(ctx context.Context) error {
	if err := r.name(); err != nil {
		return err
	}
	if err := r.observeNew(ctx); err != nil {
		return err
	}
	if err := r.lookBack(ctx); err != nil {
		return err
	}
	r.leaveTaken()
	return errors.Join(r.refuseTaken(), r.refuseDrift())
}

// survey begins to ask each target about what will be copied there. A survey's
// context is the run's: its questions may outlast the step.
func (r *run) survey(ctx context.Context) {
	for _, p := range r.promotions {
		if p.source.Same(p.target) {
			continue
		}
		var tags []transfer.Observation
		for _, t := range p.tags {
			if t.observed {
				tags = append(tags, t.before)
			}
		}
		p.survey = r.engine.Survey(ctx, &r.ahead, p.root.Digest, p.source, p.target, tags...)
	}
}

// plansAtOnce is how many source repositories are read at the same time for a plan:
// a walk waits for most of its time, for one answer before the next question, and
// no copy needs the memory meanwhile.
const plansAtOnce = 64

// walk reads the graphs, a source repository at a time as one walk.
func (r *run) walk(ctx context.Context) error {
	g, ctx := group(ctx)
	g.SetLimit(atOnce)
	if r.request.Mode == Plan {
		g.SetLimit(plansAtOnce)
	}
	for name, images := range r.bySource() {
		g.Go(func() error { return r.walkFrom(ctx, r.walkers[name], images) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.walkers = nil // with all that only the walk needed to know
	for _, i := range r.images {
		for _, text := range i.graph.Notices {
			r.note(text)
		}
		r.Info(fmt.Sprintf("%s has %s, %s (%s) and %s", i.root.Digest, report.Count(len(i.graph.Nodes), "manifest"),
			report.Count(len(i.graph.Blobs), "blob"), report.Size(i.graph.Bytes()), report.Count(len(i.graph.Attachments), "attachment")))
	}
	return nil
}

func (r *run) walkFrom(ctx context.Context, w *graph.Walker, images []*image) error {
	w.Found = func(root v1.Hash, n *graph.Node, tag string) {
		switch r.request.Mode {
		case Plan: // which copies nothing
			return
		case Rollback:
			r.expect(n, images[0].source)
			return
		default:
		}
		for _, p := range r.surveyed(root, images) {
			p.survey.Found(n, tag)
		}
	}
	w.Near = func(ctx context.Context, root, digest v1.Hash) (registry.Manifest, bool) {
		for _, p := range r.surveyed(root, images) {
			if m, ok := p.survey.Near(ctx, digest); ok {
				return m, true
			}
		}
		return registry.Manifest{}, false
	}
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

// surveyed are the promotions of a root from one of the images.
func (r *run) surveyed(root v1.Hash, images []*image) (all []*promotion) {
	for _, p := range r.promotions {
		if p.survey != nil && p.root.Digest == root && slices.Contains(images, p.image) {
			all = append(all, p)
		}
	}
	return all
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
