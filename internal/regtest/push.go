package regtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
)

// pushWidth is how many blobs move at once.
const pushWidth = 6

// Push brings the image and its attachments to a repository and gives it the tags. A referrer that the registry
// does not index by itself is listed under the fallback tag of its subject (distribution specification, "Referrers
// Tag Schema").
func (i *Image) Push(ctx context.Context, to Access, repository string, tags ...string) error {
	s, err := to.open()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.pushBlobs(ctx, repository, i.Blobs, func(b *Blob) bool { return !b.Foreign }); err != nil {
		return err
	}
	for _, m := range i.Manifests {
		if err := s.pushManifest(ctx, repository, m); err != nil {
			return err
		}
	}
	for _, tag := range tags {
		if err := s.put(ctx, repository, tag, i.Manifest(i.Root)); err != nil {
			return err
		}
	}
	return nil
}

// PushForeign uploads the foreign layers alone. olareg refuses a manifest whose foreign layers it does not have:
// they have to be there before Push, and at the target before the product comes.
func (i *Image) PushForeign(ctx context.Context, to Access, repository string) error {
	s, err := to.open()
	if err != nil {
		return err
	}
	defer s.close()
	return s.pushBlobs(ctx, repository, i.Blobs, func(b *Blob) bool { return b.Foreign })
}

func (s *session) pushBlobs(ctx context.Context, repository string, blobs []*Blob, want func(*Blob) bool) error {
	return parallel(ctx, pushWidth, slices.Collect(func(yield func(*Blob) bool) {
		for _, b := range blobs {
			if want(b) && !yield(b) {
				return
			}
		}
	}), func(ctx context.Context, b *Blob) error {
		if err := s.pushBlob(ctx, repository, b); err != nil {
			return fmt.Errorf("push blob %s: %w", b.Digest, err)
		}
		return nil
	})
}

func (s *session) pushBlob(ctx context.Context, repository string, b *Blob) error {
	head := call{method: http.MethodHead, url: s.url("/v2/" + repository + "/blobs/" + b.Digest)}
	answer, err := s.do(ctx, head, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return err
	}
	drop(answer.Body)
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	err = s.upload(ctx, repository, b)
	if isTooLarge(err) {
		return s.uploadChunks(ctx, repository, b)
	}
	return err
}

func (s *session) pushManifest(ctx context.Context, repository string, m *Manifest) error {
	reference := m.Digest
	if m.Tag != "" {
		reference = m.Tag
	}
	indexed, err := s.putManifest(ctx, repository, reference, m.MediaType, m.Bytes)
	if err != nil || m.Subject == "" || indexed {
		return err
	}
	return s.listReferrer(ctx, repository, m)
}

func (s *session) put(ctx context.Context, repository, reference string, m *Manifest) error {
	_, err := s.putManifest(ctx, repository, reference, m.MediaType, m.Bytes)
	return err
}

// putManifest says whether the registry indexed the manifest as a referrer.
func (s *session) putManifest(ctx context.Context, repository, reference, mediaType string, text []byte) (bool, error) {
	c := call{
		method: http.MethodPut, url: s.url("/v2/" + repository + "/manifests/" + url.PathEscape(reference)),
		header: map[string]string{"Content-Type": mediaType},
		size:   int64(len(text)),
		body:   bodyOf(text),
	}
	answer, err := s.do(ctx, c, http.StatusCreated)
	if err != nil {
		return false, fmt.Errorf("push manifest %s: %w", reference, err)
	}
	drop(answer.Body)
	return answer.Header.Get("OCI-Subject") != "", nil
}

func (s *session) listReferrer(ctx context.Context, repository string, m *Manifest) error {
	tag := cosignTag(m.Subject, "")
	list := indexBody{SchemaVersion: 2, MediaType: ociIndex, Manifests: []Descriptor{}}
	_, text, err := s.getManifest(ctx, repository, tag)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &list); err != nil {
			return fmt.Errorf("parse fallback tag %s: %w", tag, err)
		}
	case !isMissing(err):
		return err
	}
	if slices.ContainsFunc(list.Manifests, func(d Descriptor) bool { return d.Digest == m.Digest }) {
		return nil
	}
	d := m.descriptor()
	d.ArtifactType, d.Annotations = m.artifactType, m.annotations
	list.Manifests = append(list.Manifests, d)
	_, err = s.putManifest(ctx, repository, tag, ociIndex, marshal(list))
	return err
}

func bodyOf(text []byte) func() io.ReadCloser {
	return func() io.ReadCloser { return io.NopCloser(bytes.NewReader(text)) }
}
