package regtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// ErrUnfit is an image that a registry refuses to hold.
var ErrUnfit = errors.New("the registry refuses such an image")

// Offer is Push for a registry that may refuse some attachments: they are left out, with what hangs on them, as they
// would be missing outside. Where the image itself is refused it says ErrUnfit.
func (i *Image) Offer(ctx context.Context, to Access, repository string, tags ...string) error {
	err := with(to, func(s *session) error {
		if err := s.pushBlobs(ctx, repository, i.Blobs, func(b *Blob) bool { return !b.Foreign }); err != nil {
			return err
		}
		left := map[string]bool{}
		for _, m := range i.Manifests {
			if err := s.offer(ctx, repository, m, left); err != nil {
				return err
			}
		}
		if left[i.Root] {
			return ErrUnfit
		}
		for _, tag := range tags {
			if err := s.put(ctx, repository, tag, i.Manifest(i.Root)); err != nil {
				return err
			}
		}
		return nil
	})
	if isRefused(err) {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	return err
}

// offer writes a manifest, or notes that it is left out.
func (s *session) offer(ctx context.Context, repository string, m *Manifest, left map[string]bool) error {
	if left[m.Subject] {
		left[m.Digest] = true
		return nil
	}
	err := s.pushManifest(ctx, repository, m)
	if isRefused(err) {
		left[m.Digest] = true
		return nil
	}
	return err
}

// isRefused says whether a registry found fault with what it was given.
func isRefused(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status >= http.StatusBadRequest && status.status != http.StatusUnauthorized
}
