package promote

import (
	"context"
	"errors"
	"fmt"

	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// attachRecord attaches the record of a promotion to its image, where the registry has the referrers
// API or the environment asks for it. It is for people and other tools: the ledger has the record in
// any case, so that a failure is a notice.
func (r *run) attachRecord(ctx context.Context, p *promotion) {
	err := p.ledger.attachErr
	if err == nil && !p.ledger.attaches {
		return
	}
	if err == nil {
		err = p.attach(ctx)
	}
	if err != nil {
		r.note(fmt.Sprintf("The record %s is in the ledger, and could not be attached to the image: %v", p.ledger.digest, err))
	}
}

// askToAttach finds out whether the record is to be attached to the image, while its entry is written.
func (r *run) askToAttach(ctx context.Context, p *promotion) {
	api, err := p.ledger.finder.SupportsAPI(ctx, p.root.Digest)
	p.ledger.attaches, p.ledger.attachErr = api || r.request.AttachRecords, err
}

func (p *promotion) attach(ctx context.Context) error {
	image := v1.Descriptor{MediaType: types.MediaType(p.root.MediaType), Digest: p.root.Digest, Size: int64(len(p.root.Raw))}
	m, d := ledger.RecordManifest(p.ledger.ledger.Key(), p.ledger.stored.blob, image)
	indexed, err := p.target.PutManifest(ctx, m.Digest.String(), m)
	if err != nil || indexed {
		return err
	}
	_, err = p.ledger.finder.Attach(ctx, p.root.Digest, []v1.Descriptor{d})
	if errors.Is(err, registry.ErrTagImmutable) {
		return fmt.Errorf("%w; exclude sha256-* from immutability", err)
	}
	return err
}
