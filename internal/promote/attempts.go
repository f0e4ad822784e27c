package promote

import (
	"context"
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
	r.began()
	return r.nameKnown()
}

// began finds when the first attempt began. Of a release it may have recorded some
// images only, and all have the same date in their tags.
func (r *run) began() {
	var first time.Time
	for _, p := range r.promotions {
		if p.earlier != nil && (first.IsZero() || p.earlier.Started.Before(first)) {
			first = p.earlier.Started
		}
	}
	for _, p := range r.promotions {
		p.began = first
	}
}

// dated is the time that is in the names of a promotion's tags.
func (p *promotion) dated(request Request) time.Time {
	switch {
	case p.continues():
		return p.earlier.Started
	case p.earlier == nil && !p.began.IsZero():
		return p.began
	default:
		return request.Started
	}
}

// continues reports whether an earlier attempt of this run promoted the same image,
// as far as that is known yet.
func (p *promotion) continues() bool {
	return p.earlier != nil && (p.root.Digest.Hex == "" || p.root.Digest.String() == p.earlier.Digest)
}
