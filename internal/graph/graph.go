package graph

import (
	"cmp"
	"fmt"
	"slices"

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
	Nodes       []*Node         // each once; what a node needs stands before it
	Blobs       []v1.Descriptor // each once
	Attachments []Attachment    // sorted by subject and digest
	Notices     []string        // what was found and left out

	byDigest map[v1.Hash]*Node
}

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

// Bytes is the size of all blobs.
func (g *Graph) Bytes() (n int64) {
	for _, b := range g.Blobs {
		n += b.Size
	}
	return n
}

// Platforms are those that the root's image is for, in the index's order,
// attestation manifests left out. A single image's platform is in its
// configuration, not here.
func (g *Graph) Platforms() []string {
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
	b := builder{w, &Graph{Root: root, byDigest: map[v1.Hash]*Node{}, Notices: w.told()}, map[v1.Hash]bool{}}
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
	blobs map[v1.Hash]bool
}

// visit adds children, then the node, then what is attached to it.
func (b builder) visit(digest v1.Hash) {
	n := b.walker.nodes[digest]
	if n == nil || b.byDigest[digest] != nil {
		return
	}
	b.byDigest[digest] = n
	for _, c := range n.Children {
		if b.walker.blobs[c.Digest] {
			b.blob(c)
		}
		b.visit(c.Digest)
	}
	for _, d := range n.Blobs {
		b.blob(d)
	}
	b.Nodes = append(b.Nodes, n)
	for _, a := range b.walker.attached[digest] {
		b.Attachments = append(b.Attachments, a)
		b.visit(a.Digest)
	}
}

func (b builder) blob(d v1.Descriptor) {
	if !b.blobs[d.Digest] {
		b.blobs[d.Digest] = true
		b.Blobs = append(b.Blobs, d)
	}
}
