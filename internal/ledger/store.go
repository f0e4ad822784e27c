package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Store is a repository as a ledger needs it.
type Store interface {
	// ReadTag reads a tag with a request of its own. A tag that does not exist is not an error.
	ReadTag(ctx context.Context, tag string) (registry.TagReading, error)
	// WriteTag writes a tag with a single attempt that begins before notAfter. After an error
	// that is no refusal, the write may still take effect.
	WriteTag(ctx context.Context, tag string, m registry.Manifest, notAfter time.Time) error
	// PutBlob stores a blob.
	PutBlob(ctx context.Context, d v1.Descriptor, raw []byte) error
	// Reference is the full reference of a tag, for messages.
	Reference(tag string) string
}

// InRegistry is a repository of a registry as a store.
func InRegistry(repo *registry.Repository) Store { return repository{repo} }

type repository struct{ *registry.Repository }

func (r repository) PutBlob(ctx context.Context, d v1.Descriptor, raw []byte) error {
	_, err := r.Repository.PutBlob(ctx, registry.Upload{Blob: d, Open: func(context.Context) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(raw))
	}})
	return err
}

func digestOf(raw []byte) v1.Hash {
	sum := sha256.Sum256(raw)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
