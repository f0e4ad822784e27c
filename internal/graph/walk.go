package graph

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// Bounds on what one repository's walk may find, against a registry or an image
// made to exhaust the program. What is named counts, whether it exists or not.
const (
	MaxDepth     = 16
	MaxManifests = 20_000
	MaxBlobs     = 50_000
	MaxBytes     = 32 << 20 // of all manifests together
)

// maxNotices is how many entries of lists that were left out are told one by one.
const maxNotices = 20

// Walker walks graphs of one repository, each manifest once.
type Walker struct {
	repo        *registry.Repository
	finder      *referrer.Finder
	attachments bool

	mu       sync.Mutex
	visited  map[v1.Hash]bool
	nodes    map[v1.Hash]*Node
	blobs    map[v1.Hash]bool // children of indexes that turned out to be blobs
	attached map[v1.Hash][]Attachment
	notices  []string
	leftOut  int // beyond maxNotices

	manifests, blobsNamed, bytes int
}

// NewWalker returns a walker of a repository, which looks for attachments or not.
func NewWalker(repo *registry.Repository, attachments bool) *Walker {
	return &Walker{
		repo: repo, finder: referrer.NewFinder(repo), attachments: attachments,
		visited:  map[v1.Hash]bool{},
		nodes:    map[v1.Hash]*Node{},
		blobs:    map[v1.Hash]bool{},
		attached: map[v1.Hash][]Attachment{},
	}
}

// Repository is the repository that is walked.
func (w *Walker) Repository() *registry.Repository { return w.repo }

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
	g, ctx := errgroup.WithContext(ctx)
	for _, root := range roots {
		if w.first(root.Digest) {
			v := visitor{w, g, root.Digest}
			g.Go(func() error { return v.enter(ctx, root, 0) })
		}
	}
	return g.Wait()
}

// first reports whether a digest is met for the first time.
func (w *Walker) first(digest v1.Hash) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.visited[digest] {
		return false
	}
	w.visited[digest] = true
	return true
}

// visitor is one walk. Its goroutines are bounded by MaxManifests, its requests
// by the client.
type visitor struct {
	*Walker
	group *errgroup.Group
	root  v1.Hash
}

// enter takes a manifest in and goes on to its children and attachments.
func (v visitor) enter(ctx context.Context, m registry.Manifest, depth int) error {
	n, err := Parse(m)
	if err != nil {
		return &registry.Error{Op: "read manifest", Side: v.repo.Side(), Ref: v.repo.Reference(m.Digest.String()), Err: err}
	}
	if err := v.keep(n, depth); err != nil {
		return err
	}
	if v.attachments {
		v.group.Go(func() error { return v.attach(ctx, n, depth) })
	}
	for _, child := range n.Children {
		if v.first(child.Digest) {
			v.group.Go(func() error { return v.descend(ctx, n, child, depth+1) })
		}
	}
	return nil
}

func (w *Walker) keep(n *Node, depth int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[n.Digest] = n
	w.bytes += len(n.Raw)
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
		Err: fmt.Errorf("more than %d manifests, %d MiB of them, %d blobs, or %d levels: not an image", MaxManifests, MaxBytes>>20, MaxBlobs, MaxDepth)}
}

// descend reads a child of an index.
func (v visitor) descend(ctx context.Context, index *Node, child v1.Descriptor, depth int) error {
	m, err := v.repo.GetManifest(ctx, child.Digest.String())
	if err == nil {
		return v.enter(ctx, m, depth)
	}
	if !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	if !isManifest(child.MediaType) { // build caches list their layers as an index's children
		if there, headErr := v.repo.HasBlob(ctx, child.Digest); there || headErr != nil {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.blobs[child.Digest] = there
			return headErr
		}
	}
	return &MissingError{Index: index.Digest, Child: child.Digest, Platform: platform(child), Err: err}
}

func isManifest(t types.MediaType) bool { return t.IsImage() || t.IsIndex() }

// attach finds what is attached to a node and goes on to that.
func (v visitor) attach(ctx context.Context, subject *Node, depth int) error {
	found, err := v.finder.Find(ctx, subject.Digest, subject.Digest == v.root)
	if err != nil {
		return err
	}
	if err := v.candidates(subject.Digest, len(found.Referrers)+len(found.Tagged)); err != nil {
		return err
	}
	for _, d := range found.Referrers {
		v.group.Go(func() error { return v.referrer(ctx, subject.Digest, d, depth+1) })
	}
	for _, t := range found.Tagged {
		v.attachTo(subject.Digest, Attachment{Digest: t.Manifest.Digest, Tag: t.Tag})
		if v.first(t.Manifest.Digest) {
			v.group.Go(func() error { return v.enter(ctx, t.Manifest, depth+1) })
		}
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
	m, err := v.repo.GetManifest(ctx, d.Digest.String())
	if errors.Is(err, registry.ErrNotFound) {
		v.notice(fmt.Sprintf("%s is listed as attached to %s but is gone from %s; it is left out.", d.Digest, subject, v.repo.Name()))
		return nil
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
	if !v.first(n.Digest) {
		return nil
	}
	return v.enter(ctx, m, depth)
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

func platform(d v1.Descriptor) string {
	if d.Platform == nil {
		return ""
	}
	return d.Platform.String()
}
