package promote

import (
	"context"
	"slices"
	"time"
)

// recollect finds what an earlier attempt of this run has recorded. Run again, a
// job is the same promotion: its tags have the same dates in them, and a rollback goes
// to the same image.
func (r *run) recollect(ctx context.Context) error {
	job := r.request.Job
	if !r.keepsRecords() || job.RunID == "" || job.Attempt == "" || job.Attempt == "1" {
		return nil
	}
	if err := r.readLedgers(ctx); err != nil {
		return err
	}
	g, ctx := group(ctx)
	for _, p := range r.promotions {
		if p.ledger.book == nil { // its name is in the image
			continue
		}
		g.Go(func() (err error) {
			p.earlier, err = p.ledger.book.Earlier(ctx, p.ledger.page, job, r.recordMode())
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.joinEarlier()
	return r.nameKnown()
}

// joinEarlier has those of a release go on with it whose records that attempt could not
// write.
func (r *run) joinEarlier() {
	at := slices.IndexFunc(r.promotions, func(p *promotion) bool { return p.earlier != nil })
	if at < 0 {
		return
	}
	for _, p := range r.promotions {
		if p.earlier == nil {
			p.joins = r.promotions[at]
		}
	}
}

// dated is the time that is in the names of a promotion's tags.
func (p *promotion) dated(request Request) time.Time {
	switch {
	case p.continues():
		return p.earlier.Started
	case p.joins != nil && p.joins.continues():
		return p.joins.earlier.Started
	default:
		return request.Started
	}
}

// continues reports whether an earlier attempt of this run promoted the same image,
// as far as that is known yet.
func (p *promotion) continues() bool {
	return p.earlier != nil && (p.root.Digest.Hex == "" || p.root.Digest.String() == p.earlier.Digest)
}
