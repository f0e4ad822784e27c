package regtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
)

// Descriptor points at a manifest or a blob (OCI image specification, descriptor.md).
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// Platform is what a child of an index runs on.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// Manifest is an image manifest or an index, as bytes that are never written anew.
type Manifest struct {
	Digest, MediaType string
	Bytes             []byte
	// Subject is what a referrer refers to, Tag the name that cosign gives to an artifact; empty otherwise.
	Subject, Tag string

	artifactType string
	annotations  map[string]string
}

func (m *Manifest) descriptor() Descriptor {
	return Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Bytes))}
}

// Blob is a config or a layer. Its bytes are made each time that they are read: an image of any size takes no memory.
type Blob struct {
	Digest, MediaType string
	Size              int64
	// Foreign blobs are described with a URL. Push uploads them only when told to (see Image.PushForeign).
	Foreign bool

	open func() io.Reader
}

// Open gives the blob's bytes from the beginning.
func (b *Blob) Open() io.ReadCloser { return io.NopCloser(b.open()) }

func (b *Blob) descriptor() Descriptor {
	return Descriptor{MediaType: b.MediaType, Digest: b.Digest, Size: b.Size}
}

// Image is everything that belongs to one digest, in the order in which it can be pushed.
type Image struct {
	// Root is the digest of the index, or of the single manifest.
	Root string
	// Manifests has children before the index that lists them and subjects before their referrers.
	Manifests []*Manifest
	// Blobs has each digest once.
	Blobs []*Blob

	known map[string]bool
}

// Manifest finds a manifest of the image or of its attachments; nil when there is none.
func (i *Image) Manifest(digest string) *Manifest {
	for _, m := range i.Manifests {
		if m.Digest == digest {
			return m
		}
	}
	return nil
}

// Children lists the digests that the root index names, in its order; none for a single manifest.
func (i *Image) Children() []string {
	var index struct{ Manifests []Descriptor }
	_ = json.Unmarshal(i.Manifest(i.Root).Bytes, &index) // made by Build: a single manifest has none
	var digests []string
	for _, d := range index.Manifests {
		digests = append(digests, d.Digest)
	}
	return digests
}

// Size is the number of bytes in all blobs, foreign ones left out.
func (i *Image) Size() int64 {
	var size int64
	for _, b := range i.Blobs {
		if !b.Foreign {
			size += b.Size
		}
	}
	return size
}

func (i *Image) addBlob(b *Blob) Descriptor {
	if !i.known[b.Digest] {
		i.known[b.Digest] = true
		i.Blobs = append(i.Blobs, b)
	}
	return b.descriptor()
}

func (i *Image) addManifest(m *Manifest) Descriptor {
	if !i.known[m.Digest+m.Tag] {
		i.known[m.Digest+m.Tag] = true
		i.Manifests = append(i.Manifests, m)
	}
	return m.descriptor()
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// noise is a blob of bytes that no compression makes smaller, the same for the same name.
func noise(mediaType string, size int64, name string) *Blob {
	seed := sha256.Sum256([]byte(name))
	open := func() io.Reader { return io.LimitReader(rand.NewChaCha8(seed), size) }
	hash := sha256.New()
	_, _ = io.Copy(hash, open()) // neither side can fail
	return &Blob{Digest: "sha256:" + hex.EncodeToString(hash.Sum(nil)), MediaType: mediaType, Size: size, open: open}
}

func textBlob(mediaType string, text []byte) *Blob {
	return &Blob{
		Digest: digestOf(text), MediaType: mediaType, Size: int64(len(text)),
		open: func() io.Reader { return bytes.NewReader(text) },
	}
}

// marshal writes plain values of this package, which always can be written.
func marshal(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", value, err))
	}
	return text
}
