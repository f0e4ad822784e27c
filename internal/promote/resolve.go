package promote

import (
	"context"
	"errors"
	"fmt"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
	"golang.org/x/sync/errgroup"
)

const (
	sideSource = credential.Source
	sideTarget = credential.Target
)

func group(ctx context.Context) (*errgroup.Group, context.Context) { return errgroup.WithContext(ctx) }

// resolve turns every source into a digest.
func (r *run) resolve(ctx context.Context) error {
	r.Step("Resolve")
	g, ctx := group(ctx)
	for _, i := range r.images {
		g.Go(func() error { return i.resolve(ctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, i := range r.images {
		r.Info(fmt.Sprintf("%s is %s (%s)", i.item.Source.Text, i.root.Digest, i.root.MediaType))
	}
	return nil
}

// resolve reads what the source holds. A tag that does not hold the digest asked
// for has moved since somebody looked: what was tested is not what it names now.
func (i *image) resolve(ctx context.Context) error {
	want := i.item.Source
	ref := want.Tag
	if ref == "" {
		ref = want.Digest.String()
	}
	m, err := i.source.GetManifest(ctx, ref)
	if errors.Is(err, registry.ErrNotFound) {
		return missing(i.source, ref, err)
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
func missing(source *registry.Repository, ref string, err error) error {
	var e *registry.Error
	if errors.As(err, &e) && e.Hint == "" {
		e.Hint = fmt.Sprintf("There is no %s, or this credential (%s) may not see it. Check the name and the tag, and that the build has pushed it.",
			source.Reference(ref), source.Credential())
	}
	return err
}

// inspect reads everything below each image, and what its targets' tags hold.
// Nothing is written yet, and what cannot be promoted is refused here.
func (r *run) inspect(ctx context.Context) error {
	r.Step("Inspect")
	if r.needLabels() { // the tags' names are in the images: one after the other
		if err := r.walk(ctx); err != nil {
			return err
		}
		if err := r.readLabels(ctx); err != nil {
			return err
		}
		if err := r.name(); err != nil {
			return err
		}
		return r.observe(ctx)
	}
	if err := r.name(); err != nil {
		return err
	}
	g, ctx := group(ctx)
	g.Go(func() error { return r.walk(ctx) })
	g.Go(func() error { return r.observe(ctx) })
	return g.Wait()
}

// walk reads the graphs, a source repository at a time as one walk.
func (r *run) walk(ctx context.Context) error {
	g, ctx := group(ctx)
	for _, images := range r.bySource() {
		w := graph.NewWalker(images[0].source, r.request.Attachments && r.leaves(images))
		g.Go(func() error { return walk(ctx, w, images) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, i := range r.images {
		for _, text := range i.graph.Notices {
			r.note(text)
		}
		r.Info(fmt.Sprintf("%s has %s, %s (%s) and %s", i.root.Digest, report.Count(len(i.graph.Nodes), "manifest"),
			report.Count(len(i.graph.Blobs), "blob"), report.Size(i.graph.Bytes()), report.Count(len(i.graph.Attachments), "attachment")))
	}
	return nil
}

func walk(ctx context.Context, w *graph.Walker, images []*image) error {
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

func (r *run) bySource() map[string][]*image {
	by := map[string][]*image{}
	for _, i := range r.images {
		by[i.source.Name()] = append(by[i.source.Name()], i)
	}
	return by
}

// leaves reports whether any of the images goes to another repository: within
// one, what is attached is there already.
func (r *run) leaves(images []*image) bool {
	for _, p := range r.promotions {
		for _, i := range images {
			if p.image == i && !p.source.Same(p.target) {
				return true
			}
		}
	}
	return false
}
