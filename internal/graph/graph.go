package graph

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Attachment is something attached to a node: a referrer, or, with a Tag, an
// artifact of cosign's scheme.
type Attachment struct {
	Subject v1.Hash
	Digest  v1.Hash
	Tag     string
}

// Graph is everything that belongs to a root.
type Graph struct {
	Root        v1.Hash
	Nodes       []*Node      // each once; what a node needs stands before it
	Attachments []Attachment // sorted by subject and digest
	Notices     []string     // what was found and left out

	byDigest map[v1.Hash]*Node
	outline  *outline // nil: the graph is whole
}

// outline is what a graph says of itself without its content.
type outline struct {
	blobs     int
	bytes     int64
	platforms []string
}

// Outline is the graph without its content: its digests, attachments and artifact types,
// how many blobs it has and how large they are, its platforms. A run keeps it of an image
// that it is done with; it can be neither copied nor verified.
func (g *Graph) Outline() *Graph {
	if g.outline != nil {
		return g
	}
	o := &Graph{
		Root: g.Root, Nodes: make([]*Node, 0, len(g.Nodes)), Attachments: g.Attachments, Notices: g.Notices,
		byDigest: make(map[v1.Hash]*Node, len(g.Nodes)),
		outline:  &outline{blobs: g.BlobCount(), bytes: g.Bytes(), platforms: g.Platforms()},
	}
	for _, n := range g.Nodes {
		bare := &Node{Manifest: registry.Manifest{Digest: n.Digest, MediaType: n.MediaType}, Subject: n.Subject, ArtifactType: n.ArtifactType}
		o.Nodes = append(o.Nodes, bare)
		o.byDigest[n.Digest] = bare
	}
	return o
}

// IsOutline reports whether the graph's content is gone.
func (g *Graph) IsOutline() bool { return g.outline != nil }

// Tagged are the digests of what is attached under a tag of cosign's scheme.
func (g *Graph) Tagged() map[v1.Hash]bool {
	all := map[v1.Hash]bool{}
	for _, a := range g.Attachments {
		if a.Tag != "" {
			all[a.Digest] = true
		}
	}
	return all
}

// Node is the node of a digest, nil if the graph has none.
func (g *Graph) Node(digest v1.Hash) *Node { return g.byDigest[digest] }

// Blobs are those that the manifests name, each once.
func (g *Graph) Blobs() []v1.Descriptor {
	var all []v1.Descriptor
	g.eachBlob(func(d v1.Descriptor) { all = append(all, d) })
	return all
}

// BlobCount is how many blobs the graph has.
func (g *Graph) BlobCount() (n int) {
	if g.outline != nil {
		return g.outline.blobs
	}
	g.eachBlob(func(v1.Descriptor) { n++ })
	return n
}

// Bytes is the size of all blobs.
func (g *Graph) Bytes() (n int64) {
	if g.outline != nil {
		return g.outline.bytes
	}
	g.eachBlob(func(d v1.Descriptor) { n += d.Size })
	return n
}

// eachBlob visits blobs, each once: of an index those of its children that are no
// manifests, as in build caches.
func (g *Graph) eachBlob(visit func(v1.Descriptor)) {
	seen := map[v1.Hash]bool{}
	once := func(d v1.Descriptor) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			visit(d)
		}
	}
	for _, n := range g.Nodes {
		for _, d := range n.Children {
			if g.byDigest[d.Digest] == nil {
				once(d)
			}
		}
		for _, d := range n.Blobs {
			once(d)
		}
	}
}

// Platforms are those that the root's image is for, in the index's order,
// attestation manifests left out. A single image's platform is in its
// configuration, not here.
func (g *Graph) Platforms() []string {
	if g.outline != nil {
		return g.outline.platforms
	}
	var all []string
	g.below(func(n *Node) {
		for _, c := range n.Children {
			if p := platform(c); p != "" && !isAttestation(c) && !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	})
	return all
}

// Platform is what an index of the graph says a manifest is for; empty if none
// lists it.
func (g *Graph) Platform(digest v1.Hash) string {
	found := ""
	g.below(func(n *Node) {
		for _, c := range n.Children {
			if c.Digest == digest && found == "" {
				found = platform(c)
			}
		}
	})
	return found
}

// Images are the root's single images, in the index's order, attestation
// manifests left out; the root itself if it is no index.
func (g *Graph) Images() []*Node {
	var all []*Node
	g.below(func(n *Node) {
		if !n.IsIndex() {
			all = append(all, n)
		}
	})
	return all
}

// below visits the root and its children, each once.
func (g *Graph) below(visit func(*Node)) {
	seen := map[v1.Hash]bool{}
	var enter func(*Node)
	enter = func(n *Node) {
		if n == nil || seen[n.Digest] {
			return
		}
		seen[n.Digest] = true
		visit(n)
		for _, c := range n.Children {
			if !isAttestation(c) {
				enter(g.Node(c.Digest))
			}
		}
	}
	enter(g.Node(g.Root))
}

// isAttestation tells BuildKit's attestation manifests, which stand in the index
// of the image as if for a platform
// (https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md).
func isAttestation(d v1.Descriptor) bool {
	return d.Platform != nil && d.Platform.OS == "unknown"
}

// Graph is the part of what was walked that hangs on a root.
func (w *Walker) Graph(root v1.Hash) *Graph {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := builder{w, &Graph{Root: root, byDigest: map[v1.Hash]*Node{}, Notices: w.told()}}
	b.visit(root)
	slices.SortFunc(b.Attachments, func(x, y Attachment) int {
		return cmp.Or(cmp.Compare(x.Subject.Hex, y.Subject.Hex), cmp.Compare(x.Digest.Hex, y.Digest.Hex), cmp.Compare(x.Tag, y.Tag))
	})
	b.Attachments = slices.Compact(b.Attachments)
	return b.Graph
}

// told are the notices in an order that does not hang on chance, with a last
// one for those that were too many.
func (w *Walker) told() []string {
	all := slices.Sorted(slices.Values(w.notices))
	if w.leftOut > 0 {
		all = append(all, fmt.Sprintf("%d more entries of lists of attachments in %s are left out.", w.leftOut, w.repo.Name()))
	}
	return append(all, w.finder.Notices()...)
}

type builder struct {
	walker *Walker
	*Graph
}

// visit adds children, then the node, then what is attached to it.
func (b builder) visit(digest v1.Hash) {
	n := b.walker.nodes[digest]
	if n == nil || b.byDigest[digest] != nil {
		return
	}
	b.byDigest[digest] = n
	for _, c := range n.Children {
		b.visit(c.Digest)
	}
	b.Nodes = append(b.Nodes, n)
	for _, a := range b.walker.attached[digest] {
		b.Attachments = append(b.Attachments, a)
		b.visit(a.Digest)
	}
}
