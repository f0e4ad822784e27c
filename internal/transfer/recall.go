package transfer

import (
	"context"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Recall is what an observed tag held before a run moved it that was interrupted, as the ledger
// says: the zero digest, if it did not exist. The manifest is read by its digest, so that the tag
// can be put back to it.
func Recall(ctx context.Context, now Observation, before v1.Hash) (Observation, error) {
	o := now
	o.held = nil
	if before.Hex == "" {
		return o, nil
	}
	m, err := now.repo.GetManifest(ctx, before.String())
	if err != nil {
		return Observation{}, err
	}
	o.held = &m
	return o, nil
}

// Held is the manifest that the tag held, and whether it existed.
func (o Observation) Held() (m registry.Manifest, existed bool) {
	if o.held == nil {
		return registry.Manifest{}, false
	}
	return *o.held, true
}
