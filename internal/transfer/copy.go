package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Copy brings to the target whatever of a graph is not there, attachments
// included, each blob before the manifest that names it and each child before
// its index. It moves no tag but those of cosign's scheme and of lists of
// referrers. The counts are of this call; what another call of the run brought
// counts there. Ready, which may be nil, is called once it is known that nothing stands in the way,
// and before anything is written; an error from it ends the copy.
//
// oras-go's graph copy is the model: one recursive walk, each digest done once,
// the semaphore held around transfers only. It carries no cosign tags, merges no
// fallback tags of a target, and never sends a body again; regclient does the
// first two but does not try again after a 503.
func (e *Engine) Copy(ctx context.Context, g *graph.Graph, source, target *registry.Repository, ready func(context.Context) error) (document.Copied, error) {
	if g.IsOutline() {
		return document.Copied{}, errOutline
	}
	if ready == nil {
		ready = func(context.Context) error { return nil }
	}
	if source.Same(target) {
		return document.Copied{}, ready(ctx)
	}
	c := &copying{engine: e, graph: g, source: source, target: e.target(target), nodes: map[v1.Hash]*step{}}
	if err := c.survey(ctx); err != nil {
		return document.Copied{}, err
	}
	if err := ready(ctx); err != nil {
		return document.Copied{}, err
	}
	err := c.copy(ctx)
	if ctx.Err() == nil { // the failure is one of this copy's own
		err = registry.Original(err)
	}
	return c.copied, err
}

// copying is one call of Copy.
type copying struct {
	engine    *Engine
	graph     *graph.Graph
	source    *registry.Repository
	target    *target
	rootThere bool // the target holds the root, so most of the rest is likely there

	nodes  map[v1.Hash]*step
	merges map[string]*merged // by tag: cosign's tags that hold something else already

	mu     sync.Mutex
	copied document.Copied
}

// step is one manifest's way to the target.
type step struct {
	*graph.Node
	there   bool
	tags    []string // of cosign's scheme, under which it is to be found
	indexed bool     // the registry said that it took note of the subject
	done    chan struct{}
}

// survey reads what the target holds. If it lacks the root, the rest is not
// asked for: it is written in any case, which the same bytes do no harm.
func (c *copying) survey(ctx context.Context) error {
	for _, n := range c.graph.Nodes {
		c.nodes[n.Digest] = &step{Node: n, done: make(chan struct{})}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.surveyTags(ctx) })
	g.Go(func() error { return c.surveyNodes(ctx) })
	if len(c.referrers()) > 0 { // how they are listed there
		g.Go(func() error {
			_, err := c.target.finder.HasAPI(ctx, c.graph.Root)
			return err
		})
	}
	return g.Wait()
}

func (c *copying) surveyNodes(ctx context.Context) error {
	root := c.nodes[c.graph.Root]
	if err := c.look(ctx, root); err != nil || !root.there {
		return err
	}
	c.rootThere = true
	q, ctx := queue.WithContext(ctx, queue.Width)
	tagged := c.graph.Tagged()
	for _, s := range c.nodes {
		if s != root && !tagged[s.Digest] { // those surveyTags looks for
			q.Go(func() error { return c.look(ctx, s) })
		}
	}
	return q.Wait()
}

// look reads a manifest at the target.
func (c *copying) look(ctx context.Context, s *step) error {
	there, err := c.target.holds(ctx, s.Digest)
	if there {
		c.found(s)
	}
	return err
}

// copy writes what is not there. Blobs wait for none of the rest, manifests for
// blobs and for manifests that come before them, lists and merged artifacts for
// manifests: so each kind has a queue, and none waits for what is not begun.
func (c *copying) copy(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.blobs(ctx) })
	g.Go(func() error { return c.manifests(ctx) })
	g.Go(func() error { return c.lists(ctx) })
	return g.Wait()
}

func (c *copying) blobs(ctx context.Context) error {
	if c.rootThere && c.engine.level == Manifests {
		return nil
	}
	q, ctx := queue.WithContext(ctx, queue.Width)
	for _, b := range c.graph.Blobs() {
		q.Go(func() error { return c.blob(ctx, b) })
	}
	return q.Wait()
}

func (c *copying) manifests(ctx context.Context) error {
	q, ctx := queue.WithContext(ctx, queue.Width)
	for _, s := range c.order() {
		q.Go(func() error { return c.step(ctx, s) })
	}
	return q.Wait()
}

func (c *copying) lists(ctx context.Context) error {
	q, ctx := queue.WithContext(ctx, queue.Width)
	for _, m := range c.merges {
		q.Go(func() error { return c.merge(ctx, m) })
	}
	for subject, referrers := range c.referrers() {
		q.Go(func() error { return c.list(ctx, subject, referrers) })
	}
	return q.Wait()
}

// order is that of the graph, but that a subject comes before what names it: a
// registry may refuse the other order.
func (c *copying) order() []*step {
	all, seen := make([]*step, 0, len(c.nodes)), make(map[*step]bool, len(c.nodes))
	var add func(s *step)
	add = func(s *step) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		for _, d := range s.Children {
			add(c.nodes[d.Digest])
		}
		add(c.nodes[s.Subject])
		all = append(all, s)
	}
	for _, n := range c.graph.Nodes {
		add(c.nodes[n.Digest])
	}
	return all
}

// step writes one manifest, after everything below it.
func (c *copying) step(ctx context.Context, s *step) error {
	if err := c.await(ctx, s); err != nil {
		return err
	}
	if err := c.write(ctx, s); err != nil {
		return err
	}
	close(s.done)
	return nil
}

// await waits for a manifest's children and blobs. Children stand in the graph
// before their index, so no wait is for one that waits in turn.
func (c *copying) await(ctx context.Context, s *step) error {
	for _, d := range s.Children {
		if err := c.written(ctx, d.Digest); err != nil {
			return err
		}
	}
	if s.there && c.engine.level == Manifests {
		return nil
	}
	for _, b := range append(s.Blobs[:len(s.Blobs):len(s.Blobs)], c.blobChildren(s)...) {
		if err := c.blob(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// written waits until a manifest is at the target. What is not in the graph is
// not waited for: a child that is a blob, or a subject that stays behind.
func (c *copying) written(ctx context.Context, digest v1.Hash) error {
	s := c.nodes[digest]
	if s == nil {
		return nil
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// blobChildren are an index's children that are blobs, as in build caches.
func (c *copying) blobChildren(s *step) []v1.Descriptor {
	var blobs []v1.Descriptor
	for _, d := range s.Children {
		if c.nodes[d.Digest] == nil {
			blobs = append(blobs, d)
		}
	}
	return blobs
}

// blob sees to one blob and counts it where it was moved.
func (c *copying) blob(ctx context.Context, b v1.Descriptor) error {
	how, mine, err := c.engine.blob(ctx, c, b)
	if err != nil || !mine {
		return err
	}
	c.count(func(n *document.Copied) {
		switch how {
		case present:
			n.Present++
		case mounted:
			n.Mounted++
		case sent:
			n.Blobs++
			n.Bytes += b.Size
		}
	})
	return nil
}

func (c *copying) count(add func(*document.Copied)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.copied)
}

// write puts a manifest under its digest, or under its tags of cosign's scheme,
// which are its names at the target.
func (c *copying) write(ctx context.Context, s *step) error {
	refs := s.tags
	if len(refs) == 0 {
		if s.there {
			return nil
		}
		refs = []string{s.Digest.String()}
	}
	for _, ref := range refs {
		if err := c.put(ctx, s, ref); err != nil {
			return err
		}
	}
	c.count(func(n *document.Copied) { n.Manifests++ })
	return nil
}

// put writes a manifest under one name. A registry takes one whose subject is
// not there yet (distribution-spec, "Pushing Manifests with Subject"); where one
// does not, it is written again after its subject (zot#1424).
func (c *copying) put(ctx context.Context, s *step, ref string) error {
	put := func() (err error) {
		s.indexed, err = c.target.repo.PutManifest(ctx, ref, s.Manifest)
		return err
	}
	err := put()
	var refused *registry.Error
	if err != nil && s.Subject.Hex != "" && errors.As(err, &refused) && refused.Status >= 400 && refused.Status < 500 {
		if waitErr := c.written(ctx, s.Subject); waitErr != nil {
			return err
		}
		err = put()
	}
	if isUnseen(err) {
		err = c.withLost(ctx, c.named(s), err, put)
	}
	if lacksBlob(err) {
		err = c.withBlobs(ctx, append(s.Blobs[:len(s.Blobs):len(s.Blobs)], c.blobChildren(s)...), err, put)
	}
	return c.refusedAttachment(s, err)
}

// isUnseen reports whether a manifest was refused because what it names is not there.
func isUnseen(err error) bool {
	var refused *registry.Error
	return errors.As(err, &refused) && (refused.Code == "MANIFEST_BLOB_UNKNOWN" || refused.Code == "MANIFEST_UNKNOWN")
}

// named are the manifests of the graph that a manifest names: its children and its
// subject.
func (c *copying) named(s *step) (steps []*step) {
	for _, d := range s.Children {
		steps = append(steps, c.nodes[d.Digest])
	}
	return append(steps, c.nodes[s.Subject])
}

// withLost writes those manifests again that the target has acknowledged and does not
// hold, and then repeats what failed for want of them. Where there are none, it returns
// that failure.
func (c *copying) withLost(ctx context.Context, steps []*step, failure error, repeat func() error) error {
	lost := false
	for _, s := range steps {
		if s == nil {
			continue
		}
		_, err := c.target.repo.Uncached().GetManifest(ctx, s.Digest.String())
		if err == nil {
			continue
		}
		if !errors.Is(err, registry.ErrNotFound) {
			return errors.Join(failure, err)
		}
		if _, err := c.target.repo.PutManifest(ctx, s.Digest.String(), s.Manifest); err != nil {
			return err
		}
		lost = true
	}
	if !lost {
		return failure
	}
	return repeat()
}

// refusedAttachment says of which attachment the registry does not take the manifest:
// some take none that has a subject (404, hub-feedback#2307; 405, containers-roadmap#2783;
// 415, distribution#4927), or none of an index (GitLab), or not every artifact type.
func (c *copying) refusedAttachment(s *step, err error) error {
	var refused *registry.Error
	switch {
	case s.Subject.Hex == "" || !errors.As(err, &refused) || refused.Status < 400 || refused.Status >= 500:
		return err
	case errors.Is(err, registry.ErrUnauthorized), errors.Is(err, registry.ErrTagImmutable), refused.Status == http.StatusTooManyRequests:
		return err
	}
	return &registry.Error{Op: "write attachment", Side: c.target.repo.Side(), Ref: c.target.repo.Reference(s.Digest.String()),
		Err: fmt.Errorf("of %s, with the artifact type %q: %w", s.Subject, registry.Cut(s.ArtifactType, 100), err),
		Hint: "The registry does not take this attachment, or none at all; its answer is in the message.\n" +
			"Promote with attachments: none to go on without what is attached to the image."}
}

// withBlobs writes a manifest again that was refused for want of a blob, if there is
// one of its blobs to send again.
func (c *copying) withBlobs(ctx context.Context, blobs []v1.Descriptor, refused error, write func() error) error {
	switch again, err := c.resend(ctx, blobs); {
	case err != nil:
		return err
	case again:
		return write()
	}
	return refused
}

// lacksBlob tells the refusal of a manifest that names a blob which the registry does
// not have (distribution-spec, "Error codes").
func lacksBlob(err error) bool {
	var refused *registry.Error
	return errors.As(err, &refused) && (refused.Code == "MANIFEST_BLOB_UNKNOWN" || refused.Code == "BLOB_UNKNOWN")
}

// list makes a subject's referrers findable at the target, once all of them are
// there.
func (c *copying) list(ctx context.Context, subject v1.Hash, referrers []*step) error {
	for _, s := range referrers {
		if s.there { // its blobs are looked for beside this
			continue
		}
		if err := c.written(ctx, s.Digest); err != nil {
			return err
		}
	}
	if allIndexed(referrers) {
		return nil // verification reads the list in any case
	}
	var added bool
	attach := func() (err error) {
		added, err = c.target.finder.Attach(ctx, subject, descriptors(referrers))
		return err
	}
	err := attach()
	if err != nil && ctx.Err() == nil {
		err = c.withLost(ctx, referrers, err, attach)
	}
	if err != nil {
		return err
	}
	if !c.target.finder.Rivalled(subject) { // else verification looks again
		for _, s := range referrers {
			c.target.mark(c.target.listed, s.Digest)
		}
	}
	if added {
		c.count(func(n *document.Copied) { n.Manifests++ })
	}
	return nil
}

// referrers are the graph's referrers by subject.
func (c *copying) referrers() map[v1.Hash][]*step {
	by := map[v1.Hash][]*step{}
	for _, a := range c.graph.Attachments {
		if a.Tag == "" {
			by[a.Subject] = append(by[a.Subject], c.nodes[a.Digest])
		}
	}
	return by
}

func allIndexed(steps []*step) bool {
	for _, s := range steps {
		if !s.indexed {
			return false
		}
	}
	return true
}

func descriptors(steps []*step) []v1.Descriptor {
	all := make([]v1.Descriptor, 0, len(steps))
	for _, s := range steps {
		all = append(all, s.Descriptor())
	}
	return all
}
