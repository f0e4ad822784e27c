package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/semaphore"
)

// Bounds on what one repository's walk may find, against a registry or an image
// made to exhaust the program. What is named counts, whether it exists or not.
const (
	MaxDepth     = 16
	MaxManifests = 20_000
	MaxBlobs     = 50_000
	MaxBytes     = 32 << 20 // of all manifests together
)

// maxOnTheirWay bounds, in bytes, the manifests that are being read at once. Those
// of an image are a few KiB each: it is the client's bound that they meet.
const maxOnTheirWay = registry.MaxManifest

// annotationBytes is about what Go needs to hold one, however short.
const annotationBytes = 64

// maxNotices is how many entries of lists that were left out are told one by one.
const maxNotices = 20

// Walker walks graphs of one repository, each manifest once.
type Walker struct {
	repo        *registry.Repository
	finder      *referrer.Finder
	attachments bool
	leavesOut   func(v1.Descriptor) bool // nil: nothing
	onTheirWay  *semaphore.Weighted      // bytes

	mu       sync.Mutex
	visited  map[v1.Hash]bool
	asked    map[v1.Hash]bool // subjects whose attachments were asked for
	again    map[v1.Hash]bool // and once more
	listed   map[edge]bool    // referrers that a list has shown
	nodes    map[v1.Hash]*Node
	attached map[v1.Hash][]Attachment
	notices  []string
	leftOut  int // beyond maxNotices
	slowList sync.Once

	manifests, blobsNamed, bytes int
}

// NewWalker returns a walker of a repository, which looks for attachments or not.
func NewWalker(repo *registry.Repository, attachments bool) *Walker {
	return &Walker{
		repo: repo, finder: referrer.NewFinder(repo), attachments: attachments,
		onTheirWay: semaphore.NewWeighted(maxOnTheirWay),
		visited:    map[v1.Hash]bool{},
		asked:      map[v1.Hash]bool{},
		again:      map[v1.Hash]bool{},
		listed:     map[edge]bool{},
		nodes:      map[v1.Hash]*Node{},
		attached:   map[v1.Hash][]Attachment{},
	}
}

// With has the walker use a finder of its repository that others use as well, so that
// nothing is asked twice.
func (w *Walker) With(finder *referrer.Finder) *Walker {
	w.finder = finder
	return w
}

// LeaveOut has the walker leave out referrers by what a list says of them.
func (w *Walker) LeaveOut(which func(v1.Descriptor) bool) *Walker {
	w.leavesOut = which
	return w
}

// MissingError says that an index lists a child that the repository does not hold.
type MissingError struct {
	Index, Child v1.Hash
	Platform     string // empty if the index does not say
	Err          error
}

func (e *MissingError) Error() string {
	what := "child " + e.Child.String()
	if e.Platform != "" {
		what += " (" + e.Platform + ")"
	}
	return fmt.Sprintf("index %s lists %s, which the source does not hold: %v", e.Index, what, e.Err)
}

func (e *MissingError) Unwrap() error { return e.Err }

// Walk reads everything below manifests that were read already. It is not to be
// called while another call runs: roots that are walked together share what they
// have in common.
func (w *Walker) Walk(ctx context.Context, roots ...registry.Manifest) error {
	walking := ctx
	g, ctx := queue.WithContext(ctx, queue.Width)
	for _, root := range roots {
		if first(w, w.visited, root.Digest) {
			v := visitor{w, g, root.Digest}
			g.Go(func() error { return v.enter(ctx, root, 0) })
		}
	}
	err := g.Wait()
	if slow := w.finder.SlowList(walking); slow != nil {
		w.noticeSlowList(slow)
	}
	return err
}

// noticeSlowList says once that the tags that attachments may have were asked for one
// by one, which takes its time.
func (w *Walker) noticeSlowList(why error) {
	w.slowList.Do(func() {
		w.notice(fmt.Sprintf("The tags of %s could not be listed in time, so each that an attachment may have was asked for by itself: %s", w.repo.Name(), registry.Cut(why.Error(), 300)))
	})
}

// edge is a line of a subject's list.
type edge struct{ subject, referrer v1.Hash }

// first reports whether something is new to one of the walker's sets, and adds it.
func first[K comparable](w *Walker, set map[K]bool, key K) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if set[key] {
		return false
	}
	set[key] = true
	return true
}

// visitor is one walk. Its tasks are bounded by MaxManifests and none waits for
// another, its requests are bounded by the client.
type visitor struct {
	*Walker
	group *queue.Group
	root  v1.Hash
}

// enter takes a manifest in and goes on to its children and attachments.
func (v visitor) enter(ctx context.Context, m registry.Manifest, depth int) error {
	n, err := Parse(m)
	if err != nil {
		return &registry.Error{Op: "read manifest", Side: v.repo.Side(), Ref: v.repo.Reference(m.Digest.String()), Err: err,
			Hint: "Check what the source holds: it is not what a current tool builds or pushes."}
	}
	if err := v.keep(n, depth); err != nil {
		return err
	}
	v.attachments(ctx, n.Digest, depth)
	for _, child := range n.Children {
		if first(v.Walker, v.visited, child.Digest) {
			v.group.Go(func() error { return v.descend(ctx, n, child, depth+1) })
			if isManifest(child.MediaType) {
				v.attachments(ctx, child.Digest, depth+1)
			}
		}
	}
	return nil
}

// attachments goes to look for what is attached to a digest, as soon as the
// digest is known: its manifest need not be there first.
func (v visitor) attachments(ctx context.Context, subject v1.Hash, depth int) {
	if v.Walker.attachments && first(v.Walker, v.asked, subject) {
		if subject == v.root {
			context.AfterFunc(ctx, v.finder.AskFirst(subject))
		}
		v.group.Go(func() error { return v.attach(ctx, subject, depth) })
	}
}

func (w *Walker) keep(n *Node, depth int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[n.Digest] = n
	w.bytes += len(n.Raw) + annotationBytes*n.annotations
	w.blobsNamed += len(n.Blobs)
	w.manifests += len(n.Children)
	return w.bounded(n.Digest, depth)
}

// candidates counts what is listed as attached, before any of it is read.
func (w *Walker) candidates(subject v1.Hash, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.manifests += n
	return w.bounded(subject, 0)
}

func (w *Walker) bounded(at v1.Hash, depth int) error {
	if depth <= MaxDepth && w.manifests <= MaxManifests && w.blobsNamed <= MaxBlobs && w.bytes <= MaxBytes {
		return nil
	}
	return &registry.Error{Op: "walk", Side: w.repo.Side(), Ref: w.repo.Reference(at.String()),
		Err:  fmt.Errorf("more than %d manifests, %d MiB of them, %d blobs, or %d levels: not an image", MaxManifests, MaxBytes>>20, MaxBlobs, MaxDepth),
		Hint: "Check what the source holds. If it is what was meant, promote its parts one by one, or with attachments: none."}
}

// descend reads a child of an index.
func (v visitor) descend(ctx context.Context, index *Node, child v1.Descriptor, depth int) error {
	m, err := v.read(ctx, child)
	if err == nil {
		return v.enter(ctx, m, depth)
	}
	if !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	if !isManifest(child.MediaType) { // build caches list their layers as an index's children
		if there, headErr := v.repo.HasBlob(ctx, child.Digest); there || headErr != nil {
			return headErr // what is in no node is a blob
		}
	}
	return &MissingError{Index: index.Digest, Child: child.Digest, Platform: platform(child), Err: err}
}

func isManifest(t types.MediaType) bool { return t.IsImage() || t.IsIndex() }

// read reads a manifest of the graph. Those that are on their way at once are
// bounded by the sizes that they are said to have; the bound on
// all of them is met when they are kept.
func (v visitor) read(ctx context.Context, d v1.Descriptor) (registry.Manifest, error) {
	size := expected(d)
	if err := v.onTheirWay.Acquire(ctx, size); err != nil {
		return registry.Manifest{}, context.Cause(ctx)
	}
	defer v.onTheirWay.Release(size)
	m, err := v.repo.GetManifest(ctx, d.Digest.String())
	if m.Untyped && isManifest(d.MediaType) { // who named it knows better than its shape tells
		m.MediaType, m.Untyped = string(d.MediaType), false
	}
	return m, err
}

// expected is how many bytes may come where a descriptor is followed: as many as
// any manifest has, if it does not say, or not what can be.
func expected(d v1.Descriptor) int64 {
	if d.Size <= 0 || d.Size > registry.MaxManifest {
		return registry.MaxManifest
	}
	return d.Size
}

// attach finds what is attached to a subject and goes on to that.
func (v visitor) attach(ctx context.Context, subject v1.Hash, depth int) error {
	found, err := v.finder.Find(ctx, subject, subject == v.root, func(listed []v1.Descriptor) error {
		return v.referrers(ctx, subject, listed, depth+1)
	})
	if err != nil {
		return err
	}
	if err := v.referrers(ctx, subject, found.Referrers, depth+1); err != nil {
		return err
	}
	if err := v.candidates(subject, len(found.Tagged)); err != nil {
		return err
	}
	for _, t := range found.Tagged {
		v.attachTo(subject, Attachment{Digest: t.Manifest.Digest, Tag: t.Tag})
		if first(v.Walker, v.visited, t.Manifest.Digest) {
			v.group.Go(func() error { return v.enter(ctx, t.Manifest, depth+1) })
		}
	}
	return nil
}

// referrers goes on to those of a list that no earlier list of the subject had.
func (v visitor) referrers(ctx context.Context, subject v1.Hash, list []v1.Descriptor, depth int) error {
	var more []v1.Descriptor
	for _, d := range list {
		if (v.leavesOut == nil || !v.leavesOut(d)) && first(v.Walker, v.listed, edge{subject, d.Digest}) {
			more = append(more, d)
		}
	}
	if err := v.candidates(subject, len(more)); err != nil {
		return err
	}
	for _, d := range more {
		v.group.Go(func() error { return v.referrer(ctx, subject, d, depth) })
		v.attachments(ctx, d.Digest, depth)
	}
	return nil
}

// referrer reads what is listed as a referrer. What does not name the subject
// itself is none, whatever the list says; what is listed and gone is noticed.
func (v visitor) referrer(ctx context.Context, subject v1.Hash, d v1.Descriptor, depth int) error {
	if known := v.node(d.Digest); known != nil && known.Subject == subject { // an index's child as well
		v.attachTo(subject, Attachment{Digest: d.Digest})
		return nil
	}
	m, err := v.read(ctx, d)
	if errors.Is(err, registry.ErrNotFound) {
		return v.gone(ctx, subject, d, depth)
	}
	if err != nil {
		return err
	}
	n, err := Parse(m)
	if err != nil {
		v.notice(fmt.Sprintf("%s is listed as attached to %s in %s but cannot be read (%v); it is left out.", d.Digest, subject, v.repo.Name(), err))
		return nil // a stranger's entry in a list is not the image's fault
	}
	if n.Subject != subject {
		v.notice(fmt.Sprintf("%s is listed as attached to %s in %s but does not name it as its subject; it is left out.", d.Digest, subject, v.repo.Name()))
		return nil
	}
	v.attachTo(subject, Attachment{Digest: n.Digest})
	if !first(v.Walker, v.visited, n.Digest) {
		return nil
	}
	return v.enter(ctx, m, depth)
}

// gone notices a referrer that is listed and not there. No digest protects the
// API's list, which may have been damaged on the way: once a subject it is asked
// for again, and what it shows now is gone on to.
func (v visitor) gone(ctx context.Context, subject v1.Hash, d v1.Descriptor, depth int) error {
	still := true
	if first(v.Walker, v.again, subject) {
		found, err := v.finder.Find(ctx, subject, subject == v.root, nil)
		if err != nil {
			return err
		}
		still = slices.ContainsFunc(found.Referrers, func(l v1.Descriptor) bool { return l.Digest == d.Digest })
		if err := v.referrers(ctx, subject, found.Referrers, depth); err != nil {
			return err
		}
	}
	if still {
		v.notice(fmt.Sprintf("%s is listed as attached to %s but is gone from %s; it is left out.", d.Digest, subject, v.repo.Name()))
	}
	return nil
}

func (w *Walker) node(digest v1.Hash) *Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[digest]
}

func (w *Walker) attachTo(subject v1.Hash, a Attachment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.Subject = subject
	w.attached[subject] = append(w.attached[subject], a)
}

func (w *Walker) notice(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.notices) == maxNotices {
		w.leftOut++
		return
	}
	w.notices = append(w.notices, text)
}

// platform is how a child's is told, empty if the index does not say.
func platform(d v1.Descriptor) string {
	if d.Platform == nil {
		return ""
	}
	return registry.Cut(d.Platform.String(), maxWords)
}
