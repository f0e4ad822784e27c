package regtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// uploadChunk is less than nginx takes by default (client_max_body_size 1m).
const uploadChunk = 512 << 10

// upload sends a blob in one request.
func (s *session) upload(ctx context.Context, repository string, b *Blob) error {
	location, err := s.openUpload(ctx, repository)
	if err != nil {
		return err
	}
	return s.closeUpload(ctx, location, b, b.Size, b.Open)
}

// uploadChunks sends a blob in requests of uploadChunk: a proxy refused it in one.
func (s *session) uploadChunks(ctx context.Context, repository string, b *Blob) error {
	location, err := s.openUpload(ctx, repository)
	if err != nil {
		return err
	}
	content := b.Open()
	defer func() { _ = content.Close() }()
	for start := int64(0); start < b.Size; start += uploadChunk {
		chunk := make([]byte, min(uploadChunk, b.Size-start))
		if _, err := io.ReadFull(content, chunk); err != nil {
			return err
		}
		answer, err := s.do(ctx, call{
			method: http.MethodPatch, url: location.String(), size: int64(len(chunk)), body: bodyOf(chunk),
			header: map[string]string{
				"Content-Type":  "application/octet-stream",
				"Content-Range": strconv.FormatInt(start, 10) + "-" + strconv.FormatInt(start+int64(len(chunk))-1, 10),
			},
		}, http.StatusAccepted)
		if err != nil {
			return err
		}
		drop(answer.Body)
		if location, err = s.location(answer); err != nil {
			return err
		}
	}
	return s.closeUpload(ctx, location, b, 0, nil)
}

func (s *session) openUpload(ctx context.Context, repository string) (*url.URL, error) {
	answer, err := s.do(ctx, call{method: http.MethodPost, url: s.url("/v2/" + repository + "/blobs/uploads/")}, http.StatusAccepted)
	if err != nil {
		return nil, err
	}
	drop(answer.Body)
	return s.location(answer)
}

func (s *session) closeUpload(ctx context.Context, location *url.URL, b *Blob, size int64, body func() io.ReadCloser) error {
	query := location.Query()
	query.Set("digest", b.Digest)
	location.RawQuery = query.Encode()
	answer, err := s.do(ctx, call{
		method: http.MethodPut, url: location.String(), size: size, body: body,
		header: map[string]string{"Content-Type": "application/octet-stream"},
	}, http.StatusCreated)
	if err != nil {
		return err
	}
	drop(answer.Body)
	return nil
}

// location is where an upload goes on. A registry behind a TLS proxy that does not tell it so names http: there
// that host would be asked for plain http on its TLS port.
func (s *session) location(answer *http.Response) (*url.URL, error) {
	location, err := answer.Location()
	if err != nil {
		return nil, fmt.Errorf("read Location: %w", err)
	}
	asked := answer.Request.URL
	if asked.Scheme == "https" && location.Host == asked.Host {
		location.Scheme = "https"
	}
	return location, nil
}

func isTooLarge(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == http.StatusRequestEntityTooLarge
}
