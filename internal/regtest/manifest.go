package regtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func (s *session) getManifest(ctx context.Context, repository, reference string) (mediaType string, text []byte, err error) {
	answer, err := s.do(ctx, call{
		method: http.MethodGet, url: s.url("/v2/" + repository + "/manifests/" + url.PathEscape(reference)),
		header: map[string]string{"Accept": acceptManifests},
	}, http.StatusOK)
	if err != nil {
		return "", nil, fmt.Errorf("read manifest %s: %w", reference, err)
	}
	defer drop(answer.Body)
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxManifest+1))
	if err != nil {
		return "", nil, fmt.Errorf("read manifest %s: %w", reference, err)
	}
	if len(text) > maxManifest {
		return "", nil, fmt.Errorf("read manifest %s: more than %d bytes", reference, maxManifest)
	}
	if strings.HasPrefix(reference, "sha256:") && digestOf(text) != reference {
		return "", nil, fmt.Errorf("read manifest %s: its bytes hash to %s", reference, digestOf(text))
	}
	return answer.Header.Get("Content-Type"), text, nil
}

// tags lists the tags of a repository, none when it does not exist.
func (s *session) tags(ctx context.Context, repository string) ([]string, error) {
	var tags []string
	err := s.pages(ctx, "/v2/"+repository+"/tags/list", func(page []byte) error {
		var body struct{ Tags []string }
		err := json.Unmarshal(page, &body)
		tags = append(tags, body.Tags...)
		return err
	})
	if isMissing(err) {
		return nil, nil
	}
	slices.Sort(tags)
	return tags, err
}

// maxPages ends a walk in circles.
const maxPages = 10_000

// pages reads a list and follows its Link headers (RFC 8288).
func (s *session) pages(ctx context.Context, path string, page func([]byte) error) error {
	next := s.url(path)
	for range maxPages {
		answer, err := s.do(ctx, call{method: http.MethodGet, url: next}, http.StatusOK)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(answer.Body, maxManifest))
		drop(answer.Body)
		if err != nil {
			return err
		}
		if err := page(text); err != nil {
			return fmt.Errorf("parse %s: %w", path, err)
		}
		link := answer.Header.Get("Link")
		if link == "" {
			return nil
		}
		if next, err = follow(answer.Request.URL, link); err != nil {
			return err
		}
	}
	return fmt.Errorf("read %s: more than %d pages", path, maxPages)
}

func follow(from *url.URL, link string) (string, error) {
	address, _, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok {
		return "", fmt.Errorf("follow Link %q: no address in it", link)
	}
	next, err := from.Parse(address)
	if err != nil {
		return "", fmt.Errorf("follow Link %q: %w", link, err)
	}
	return next.String(), nil
}

// with opens a session for one small job.
func with(a Access, job func(*session) error) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close()
	return job(s)
}

// TagDigest hashes what a tag points at.
func TagDigest(ctx context.Context, at Access, repository, tag string) (digest string, exists bool, err error) {
	err = with(at, func(s *session) error {
		_, text, err := s.getManifest(ctx, repository, tag)
		digest = digestOf(text)
		return err
	})
	if isMissing(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return digest, true, nil
}

// Tags lists the tags of a repository in order, none when it does not exist.
func Tags(ctx context.Context, at Access, repository string) (tags []string, err error) {
	err = with(at, func(s *session) error {
		tags, err = s.tags(ctx, repository)
		return err
	})
	return tags, err
}

// GetManifest reads a manifest by tag or digest.
func GetManifest(ctx context.Context, at Access, repository, reference string) (mediaType string, text []byte, err error) {
	err = with(at, func(s *session) error {
		mediaType, text, err = s.getManifest(ctx, repository, reference)
		return err
	})
	return mediaType, text, err
}

// PutManifest writes bytes under a tag or their digest, whatever they are.
func PutManifest(ctx context.Context, at Access, repository, reference, mediaType string, text []byte) error {
	return with(at, func(s *session) error {
		_, err := s.putManifest(ctx, repository, reference, mediaType, text)
		return err
	})
}

// PutTag points a tag at what another tag or a digest names.
func PutTag(ctx context.Context, at Access, repository, tag, reference string) error {
	return with(at, func(s *session) error {
		mediaType, text, err := s.getManifest(ctx, repository, reference)
		if err != nil {
			return err
		}
		_, err = s.putManifest(ctx, repository, tag, mediaType, text)
		return err
	})
}

// PutBlob uploads bytes and returns their digest.
func PutBlob(ctx context.Context, at Access, repository string, text []byte) (digest string, err error) {
	b := textBlob("", text)
	return b.Digest, with(at, func(s *session) error { return s.pushBlob(ctx, repository, b) })
}

// GetBlob reads a blob, which may be small only, and checks its digest.
func GetBlob(ctx context.Context, at Access, repository, digest string) (text []byte, err error) {
	err = with(at, func(s *session) error {
		answer, err := s.do(ctx, call{method: http.MethodGet, url: s.url("/v2/" + repository + "/blobs/" + digest)}, http.StatusOK)
		if err != nil {
			return err
		}
		defer drop(answer.Body)
		text, err = io.ReadAll(io.LimitReader(answer.Body, maxManifest))
		if err == nil && digestOf(text) != digest {
			err = fmt.Errorf("read blob %s: its bytes hash to %s", digest, digestOf(text))
		}
		return err
	})
	return text, err
}

// DeleteManifest deletes a tag, or by digest a manifest: so an index loses a child.
func DeleteManifest(ctx context.Context, at Access, repository, reference string) error {
	return deleted(ctx, at, "/v2/"+repository+"/manifests/"+url.PathEscape(reference))
}

// DeleteBlob deletes a blob, whoever still needs it.
func DeleteBlob(ctx context.Context, at Access, repository, digest string) error {
	return deleted(ctx, at, "/v2/"+repository+"/blobs/"+digest)
}

func deleted(ctx context.Context, at Access, path string) error {
	return with(at, func(s *session) error {
		answer, err := s.do(ctx, call{method: http.MethodDelete, url: s.url(path)}, http.StatusAccepted, http.StatusOK)
		if err != nil {
			return err
		}
		drop(answer.Body)
		return nil
	})
}
