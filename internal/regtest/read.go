package regtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Tree is everything that was found below one reference, each piece read and hashed.
type Tree struct {
	// Root is the digest that the reference resolved to.
	Root string
	// Nodes are all manifests by digest: the root, its children, attachments and theirs.
	Nodes map[string]*Node
	// Blobs are all configs and layers by digest, with their sizes; foreign layers are not among them.
	Blobs map[string]int64
	// HasAPI says whether the registry has the referrers API.
	HasAPI bool
	// Listed holds what the referrers API lists for each subject, and Fallback what the fallback tag does; only
	// those that really name that subject, sorted.
	Listed, Fallback map[string][]string
	// DigestTags are cosign's tags of any manifest here, with the digests that they point at.
	DigestTags map[string]string
}

// Without takes the manifests of an artifact type out of the tree, with the layers that they alone name, and returns it.
func (t *Tree) Without(artifactType string) *Tree {
	for digest, n := range t.Nodes {
		if n.ArtifactType != artifactType {
			continue
		}
		delete(t.Nodes, digest)
		delete(t.Blobs, n.Blobs[len(n.Blobs)-1])
		for _, lists := range []map[string][]string{t.Listed, t.Fallback} {
			lists[n.Subject] = slices.DeleteFunc(lists[n.Subject], func(d string) bool { return d == digest })
		}
	}
	return t
}

// Node is one manifest.
type Node struct {
	Digest, MediaType string
	Size              int64
	ArtifactType      string
	// Subject is what it refers to, or empty.
	Subject string
	// Children are the manifests and Blobs the configs and layers that it names, in its order.
	Children, Blobs []string
}

// Referrers lists what refers to a subject, found in either way, sorted.
func (t *Tree) Referrers(subject string) []string {
	all := slices.Concat(t.Listed[subject], t.Fallback[subject])
	slices.Sort(all)
	return slices.Compact(all)
}

// Read walks everything below a tag or a digest: children, configs, layers, referrers by the API and by the
// fallback tag, cosign's tags, and all of that for the attachments too. It reads every manifest and every blob and
// hashes it. Any piece that is missing, or is not what its digest says, is an error.
func Read(ctx context.Context, from Access, repository, reference string) (*Tree, error) {
	s, err := from.open()
	if err != nil {
		return nil, err
	}
	defer s.close()
	w := &walk{session: s, repository: repository, tree: &Tree{
		Nodes: map[string]*Node{}, Blobs: map[string]int64{}, DigestTags: map[string]string{},
		Listed: map[string][]string{}, Fallback: map[string][]string{},
	}}
	if w.tags, err = s.tags(ctx, repository); err != nil {
		return nil, err
	}
	if w.tree.Root, err = w.resolve(ctx, reference); err != nil {
		return nil, err
	}
	if err := w.visit(ctx, w.tree.Root); err != nil {
		return nil, err
	}
	return w.tree, w.hashBlobs(ctx)
}

type walk struct {
	session    *session
	repository string
	tags       []string
	tree       *Tree
}

func (w *walk) resolve(ctx context.Context, reference string) (string, error) {
	_, text, err := w.session.getManifest(ctx, w.repository, reference)
	return digestOf(text), err
}

// anyManifest is what image manifests and indexes have in common, and what they do not.
type anyManifest struct {
	SchemaVersion int
	ArtifactType  string
	Config        *Descriptor
	Layers        []Descriptor
	Manifests     []Descriptor
	Subject       *Descriptor
}

// visit reads one manifest and all that hangs on it. Nothing is visited twice, so circles of attachments end.
func (w *walk) visit(ctx context.Context, digest string) error {
	if w.tree.Nodes[digest] != nil {
		return nil
	}
	mediaType, text, err := w.session.getManifest(ctx, w.repository, digest)
	if err != nil {
		return err
	}
	var m anyManifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("parse manifest %s: %w", digest, err)
	}
	if m.SchemaVersion != 2 {
		return fmt.Errorf("parse manifest %s: schema version %d", digest, m.SchemaVersion)
	}
	node := &Node{Digest: digest, MediaType: mediaType, Size: int64(len(text)), ArtifactType: m.ArtifactType}
	if m.Subject != nil {
		node.Subject = m.Subject.Digest
	}
	w.tree.Nodes[digest] = node
	if err := w.addBlobs(node, m); err != nil {
		return err
	}
	if err := w.visitChildren(ctx, node, m.Manifests); err != nil {
		return err
	}
	return w.visitAttachments(ctx, digest)
}

func (w *walk) addBlobs(node *Node, m anyManifest) error {
	blobs := m.Layers
	if m.Config != nil {
		blobs = append([]Descriptor{*m.Config}, blobs...)
	}
	for _, d := range blobs {
		if len(d.URLs) > 0 {
			continue
		}
		if size, seen := w.tree.Blobs[d.Digest]; seen && size != d.Size {
			return fmt.Errorf("read manifest %s: blob %s has %d bytes here and %d elsewhere", node.Digest, d.Digest, d.Size, size)
		}
		w.tree.Blobs[d.Digest] = d.Size
		node.Blobs = append(node.Blobs, d.Digest)
	}
	return nil
}

func (w *walk) visitChildren(ctx context.Context, node *Node, children []Descriptor) error {
	for _, d := range children {
		node.Children = append(node.Children, d.Digest)
		if err := w.visit(ctx, d.Digest); err != nil {
			return fmt.Errorf("child of %s: %w", node.Digest, err)
		}
		if child := w.tree.Nodes[d.Digest]; child.Size != d.Size || child.MediaType != d.MediaType {
			return fmt.Errorf("child %s of %s: is %d bytes of %s, described as %d of %s",
				d.Digest, node.Digest, child.Size, child.MediaType, d.Size, d.MediaType)
		}
	}
	return nil
}

func (w *walk) visitAttachments(ctx context.Context, digest string) error {
	listed, err := w.listed(ctx, digest)
	if err != nil {
		return err
	}
	fallback, err := w.fallback(ctx, digest)
	if err != nil {
		return err
	}
	if w.tree.Listed[digest], err = w.visitReferrers(ctx, digest, listed); err != nil {
		return err
	}
	if w.tree.Fallback[digest], err = w.visitReferrers(ctx, digest, fallback); err != nil {
		return err
	}
	return w.visitDigestTags(ctx, digest)
}

// listed asks the referrers API, page by page.
func (w *walk) listed(ctx context.Context, subject string) (digests []string, err error) {
	path := "/v2/" + w.repository + "/referrers/" + subject
	err = w.session.pages(ctx, path, func(page []byte) error {
		w.tree.HasAPI = true
		found, err := listedIn(page)
		digests = append(digests, found...)
		return err
	})
	if isMissing(err) {
		return nil, nil
	}
	return digests, err
}

// fallback reads what the fallback tag lists.
func (w *walk) fallback(ctx context.Context, subject string) ([]string, error) {
	_, text, err := w.session.getManifest(ctx, w.repository, cosignTag(subject, ""))
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return listedIn(text)
}

func listedIn(index []byte) ([]string, error) {
	var body struct{ Manifests []Descriptor }
	if err := json.Unmarshal(index, &body); err != nil {
		return nil, err
	}
	return digestsOf(body.Manifests), nil
}

// visitReferrers keeps those that name the subject: lists can be stale, and the fallback tag's name can be used for
// an image, whose children then look like referrers.
func (w *walk) visitReferrers(ctx context.Context, subject string, candidates []string) ([]string, error) {
	var found []string
	for _, digest := range candidates {
		refers, err := w.refers(ctx, digest, subject)
		if err != nil {
			return nil, fmt.Errorf("referrer of %s: %w", subject, err)
		}
		if !refers {
			continue
		}
		if err := w.visit(ctx, digest); err != nil {
			return nil, fmt.Errorf("referrer of %s: %w", subject, err)
		}
		found = append(found, digest)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

func (w *walk) refers(ctx context.Context, digest, subject string) (bool, error) {
	if node := w.tree.Nodes[digest]; node != nil {
		return node.Subject == subject, nil
	}
	_, text, err := w.session.getManifest(ctx, w.repository, digest)
	if err != nil {
		return false, err
	}
	var m anyManifest
	err = json.Unmarshal(text, &m)
	return m.Subject != nil && m.Subject.Digest == subject, err
}

var digestTag = regexp.MustCompile(`^(sha256-[0-9a-f]{64})\.(sig|att|sbom)$`)

func (w *walk) visitDigestTags(ctx context.Context, digest string) error {
	for _, tag := range w.tags {
		m := digestTag.FindStringSubmatch(tag)
		if m == nil || strings.Replace(m[1], "-", ":", 1) != digest {
			continue
		}
		attached, err := w.resolve(ctx, tag)
		if err != nil {
			return err
		}
		w.tree.DigestTags[tag] = attached
		if err := w.visit(ctx, attached); err != nil {
			return fmt.Errorf("tag %s: %w", tag, err)
		}
	}
	return nil
}

func (w *walk) hashBlobs(ctx context.Context) error {
	var digests []string
	for digest := range w.tree.Blobs {
		digests = append(digests, digest)
	}
	slices.Sort(digests)
	return parallel(ctx, pushWidth, digests, func(ctx context.Context, digest string) error {
		if err := w.hashBlob(ctx, digest, w.tree.Blobs[digest]); err != nil {
			return fmt.Errorf("read blob %s: %w", digest, err)
		}
		return nil
	})
}

func (w *walk) hashBlob(ctx context.Context, digest string, size int64) error {
	url := w.session.url("/v2/" + w.repository + "/blobs/" + digest)
	answer, err := w.session.do(ctx, call{method: http.MethodGet, url: url}, http.StatusOK)
	if err != nil {
		return err
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(answer.Body, size+1))
	err = errors.Join(err, answer.Body.Close())
	if err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(hash.Sum(nil)); n != size || got != digest {
		return fmt.Errorf("its %d bytes hash to %s, described as %d bytes", n, got, size)
	}
	return nil
}
