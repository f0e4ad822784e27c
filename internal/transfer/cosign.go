package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// merged is a cosign artifact that holds what both sides held under its tag.
// cosign copy and regclient overwrite the target's.
type merged struct {
	tag      string
	manifest registry.Manifest
	config   v1.Descriptor
	raw      []byte // of the configuration
	from     *graph.Node
}

// surveyTags reads the target's tags of cosign's scheme that the source has too,
// and decides what each is to hold. It writes nothing: what cannot be merged is
// refused here.
func (c *copying) surveyTags(ctx context.Context) error {
	c.merges = map[string]*merged{}
	q, ctx := queue.WithContext(ctx, queue.Width)
	for _, a := range c.graph.Attachments {
		if a.Tag != "" {
			q.Go(func() error { return c.surveyTag(ctx, a) })
		}
	}
	return q.Wait()
}

func (c *copying) surveyTag(ctx context.Context, a graph.Attachment) error {
	theirs, err := c.target.tag(ctx, a.Tag)
	s := c.nodes[a.Digest]
	switch {
	case err != nil:
		return err
	case theirs == nil:
		return c.name(s, a.Tag)
	case theirs.Digest == a.Digest:
		c.found(s)
		return c.settle(a.Tag, a.Digest, a.Digest)
	}
	m, err := merge(a.Tag, *theirs, s.Node)
	if err != nil {
		return &registry.Error{Op: "merge attachments", Side: c.target.repo.Side(), Ref: c.target.repo.Reference(a.Tag), Err: err,
			Hint: "The source and the target hold different artifacts under this tag, and neither is overwritten. Delete the tag that is not wanted, or promote with attachments: none."}
	}
	if m.manifest.Digest != theirs.Digest {
		c.mu.Lock()
		c.merges[a.Tag] = m
		c.mu.Unlock()
	}
	there, err := c.target.holds(ctx, s.Digest)
	if err != nil {
		return err
	}
	if there {
		c.found(s)
	}
	return c.settle(a.Tag, theirs.Digest, m.manifest.Digest)
}

// found notes that the target holds a manifest.
func (c *copying) found(s *step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.there = true
}

func (c *copying) name(s *step, tag string) error {
	c.mu.Lock()
	s.tags = append(s.tags, tag)
	c.mu.Unlock()
	return c.settle(tag, v1.Hash{}, s.Digest)
}

// settle notes what a tag holds, and what it must hold once the copy is done. Two sources of one run
// may attach different artifacts to one digest: the second is refused before it
// takes the first's place.
func (c *copying) settle(tag string, before, want v1.Hash) error {
	c.target.mu.Lock()
	defer c.target.mu.Unlock()
	if other, ok := c.target.tagged[tag]; ok && other.want != want {
		return &registry.Error{Op: "merge attachments", Side: c.target.repo.Side(), Ref: c.target.repo.Reference(tag),
			Err:  fmt.Errorf("two sources of this run hold different artifacts under this tag, %s and %s", other.want, want),
			Hint: "Promote the images one after the other: the artifacts are then merged."}
	}
	c.target.tagged[tag] = tagged{before, want}
	return nil
}

// merge adds to the target's artifact the layers of the source's that it lacks:
// cosign keeps one signature or attestation in a layer and its annotations. An
// SBOM's tag holds one document; two cannot be one.
func merge(tag string, theirs registry.Manifest, ours *graph.Node) (*merged, error) {
	if !types.MediaType(theirs.MediaType).IsImage() || ours.IsIndex() {
		return nil, errors.New("it is not an artifact with layers")
	}
	if referrer.Suffix(tag) == ".sbom" {
		return nil, fmt.Errorf("the target holds another SBOM, %s", theirs.Digest)
	}
	var base, add struct {
		Layers []json.RawMessage `json:"layers"`
	}
	if err := errors.Join(json.Unmarshal(theirs.Raw, &base), json.Unmarshal(ours.Raw, &add)); err != nil {
		return nil, fmt.Errorf("read artifact: %w", err)
	}
	layers := union(base.Layers, add.Layers)
	if len(layers) == len(base.Layers) {
		return &merged{manifest: theirs}, nil
	}
	return assemble(tag, theirs, ours, layers)
}

// union compares layers with their annotations: one payload signed by two keys
// is two layers of one digest.
func union(base, add []json.RawMessage) []json.RawMessage {
	all := base[:len(base):len(base)]
	known := map[string]bool{}
	for _, layer := range base {
		known[string(canonical(layer))] = true
	}
	for _, layer := range add {
		if key := string(canonical(layer)); !known[key] {
			known[key] = true
			all = append(all, layer)
		}
	}
	return all
}

func canonical(raw json.RawMessage) []byte {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	b, err := json.Marshal(v) // object members sorted
	if err != nil {
		return raw
	}
	return b
}

// assemble writes the merged artifact as cosign does: the configuration lists
// the layers' digests, which are those of uncompressed payloads.
func assemble(tag string, theirs registry.Manifest, ours *graph.Node, layers []json.RawMessage) (*merged, error) {
	var config v1.ConfigFile
	config.RootFS.Type = "layers"
	for _, layer := range layers {
		var d v1.Descriptor
		if err := json.Unmarshal(layer, &d); err != nil {
			return nil, fmt.Errorf("read artifact's layer: %w", err)
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d.Digest)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	members := map[string]any{}
	if err := json.Unmarshal(theirs.Raw, &members); err != nil {
		return nil, fmt.Errorf("read artifact: %w", err)
	}
	kind := types.OCIConfigJSON
	if old := configType(theirs.Raw); old != "" {
		kind = old
	}
	blob := registry.NewManifest("", raw)
	descriptor := v1.Descriptor{MediaType: kind, Digest: blob.Digest, Size: int64(len(raw))}
	members["config"], members["layers"] = descriptor, layers
	body, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	if len(body) > registry.MaxManifest {
		return nil, fmt.Errorf("both together would be %d bytes, and a manifest has at most %d", len(body), registry.MaxManifest)
	}
	return &merged{tag: tag, manifest: registry.NewManifest(theirs.MediaType, body), config: descriptor, raw: raw, from: ours}, nil
}

func configType(manifest []byte) types.MediaType {
	var m struct {
		Config v1.Descriptor `json:"config"`
	}
	_ = json.Unmarshal(manifest, &m)
	return m.Config.MediaType
}

// merge writes a merged artifact, once the source's own is at the target.
func (c *copying) merge(ctx context.Context, m *merged) error {
	if err := c.written(ctx, m.from.Digest); err != nil {
		return err
	}
	put := func() error { return c.target.putMerged(ctx, m) }
	err := put()
	if lacksBlob(err) {
		err = c.withBlobs(ctx, m.from.Blobs, err, put)
	}
	if err != nil {
		return err
	}
	c.count(func(n *document.Copied) { n.Manifests++ })
	return nil
}

func (t *target) putMerged(ctx context.Context, m *merged) error {
	_, err := t.repo.PutBlob(ctx, registry.Upload{
		Blob: m.config,
		Open: func(context.Context) io.ReadCloser { return io.NopCloser(strings.NewReader(string(m.raw))) },
	})
	if err != nil {
		return err
	}
	_, err = t.repo.PutManifest(ctx, m.tag, m.manifest)
	return immutable(err, "Exclude sha256-* from its immutability, or promote with attachments: none.\n"+
		"The source's attachment has to be added to the target's, under one tag.")
}
