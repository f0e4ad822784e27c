package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// smallBlobReader reads a small blob: whole, at the first Read.
type smallBlobReader struct {
	ctx  context.Context // of the transfer; a reader has no other way to end with it
	repo *Repository
	blob v1.Descriptor
	rest *bytes.Reader // nil: not asked for yet
	err  error
}

func (m *smallBlobReader) Read(p []byte) (int, error) {
	if m.err == nil && m.rest == nil && len(p) > 0 {
		var b []byte
		if b, m.err = m.repo.readSmall(m.ctx, m.blob); m.err == nil {
			m.rest = bytes.NewReader(b)
		}
	}
	if m.err != nil || m.rest == nil {
		return 0, m.err
	}
	return m.rest.Read(p)
}

// Close ends the reading.
func (m *smallBlobReader) Close() error {
	m.rest = nil
	if m.err == nil {
		m.err = errors.New("download is closed")
	}
	return nil
}

// readSmall reads a blob into memory, again if it is not what its digest says.
func (r *Repository) readSmall(ctx context.Context, blob v1.Descriptor) ([]byte, error) {
	c := r.call(http.MethodGet, "blobs/"+blob.Digest.String())
	c.limit, c.blob, c.raw = blob.Size, &blob, true
	c.whole = func(body []byte) bool { return isBlob(blob, body) == nil }
	c.check = func(a *wire.Answer) error {
		if a.Status != http.StatusOK {
			return nil
		}
		if err := isBlob(blob, a.Body); err == nil || a.Header.Get("Content-Encoding") == "" {
			return err
		}
		// The digest decides: compressed content is sent under that header as well.
		decoded := &http.Response{Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body))}
		if err := wire.Decode(decoded, blob.Size); err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(decoded.Body, blob.Size+1))
		if err != nil {
			return fmt.Errorf("decompress blob: %w", err)
		}
		a.Body = body
		return isBlob(blob, body)
	}
	a, err := r.session.send(ctx, c)
	if errors.Is(err, ErrTooLarge) {
		err = longer(blob)
	}
	if err != nil {
		return nil, r.fail("read blob", blob.Digest.String(), err)
	}
	if a.Status != http.StatusOK {
		return nil, r.refuse("read blob", blob.Digest.String(), a)
	}
	return a.Body, nil
}

// isBlob fails unless bytes are those of a descriptor.
func isBlob(blob v1.Descriptor, b []byte) error {
	switch n := int64(len(b)); {
	case n > blob.Size:
		return longer(blob)
	case n < blob.Size:
		return fmt.Errorf("%w: %d bytes, not the %d of its descriptor", ErrMismatch, n, blob.Size)
	}
	_, err := matches(b, blob.Digest.String())
	return err
}

func longer(blob v1.Descriptor) error {
	return fmt.Errorf("%w: more than the %d bytes of its descriptor", ErrMismatch, blob.Size)
}

// readSource reads what an upload's source gives into memory.
func readSource(ctx context.Context, u Upload) ([]byte, error) {
	source := u.Open(ctx)
	defer source.Close() //nolint:errcheck // it was only read
	if m, ok := source.(*smallBlobReader); ok && m.blob.Digest == u.Blob.Digest && m.rest == nil && m.err == nil {
		return m.repo.readSmall(m.ctx, m.blob)
	}
	b := bytes.NewBuffer(make([]byte, 0, u.Blob.Size+bytes.MinRead))
	if _, err := b.ReadFrom(io.LimitReader(source, u.Blob.Size+1)); err != nil {
		return nil, err
	}
	return b.Bytes(), isBlob(u.Blob, b.Bytes())
}
