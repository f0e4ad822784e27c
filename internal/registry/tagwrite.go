package registry

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrOutdated says that a write was not sent, because the read that it rests on had become too
// old.
var ErrOutdated = errors.New("the read that the write rests on is too old")

// TagReading is what a tag pointed to at one moment.
type TagReading struct {
	Manifest Manifest  // zero if the tag does not exist
	Exists   bool      // whether the tag exists
	Began    time.Time // when the request began that was answered, by this machine's clock
	Clock    time.Time // when the registry answered, by its own clock, in seconds (RFC 9110, section 6.6.1); zero: it does not say
}

// ReadTag reads a tag with a request of its own: neither the cache nor another reader's request
// answers it. A tag that does not exist is not an error.
func (r *Repository) ReadTag(ctx context.Context, tag string) (TagReading, error) {
	var reading TagReading
	err := retry.Do(ctx, r.session.host, func(ctx context.Context) (err error) {
		reading, err = r.readTagOnce(ctx, tag)
		return err
	})
	var failure *Error
	switch a := retry.AnswerOf(err); {
	case err == nil:
		return reading, nil
	case errors.Is(err, ErrNotFound):
		return TagReading{Began: reading.Began, Clock: reading.Clock}, nil
	case errors.As(err, &failure): // made by an attempt
		return TagReading{}, failure
	case a != nil && ctx.Err() == nil: // the last retry was throttled or unavailable too
		return TagReading{}, r.refuse("read manifest", tag, a)
	}
	return TagReading{}, r.fail("read manifest", tag, err)
}

func (r *Repository) readTagOnce(ctx context.Context, tag string) (TagReading, error) {
	reading := TagReading{Began: time.Now()}
	c := r.call(http.MethodGet, "manifests/"+tag)
	c.header = acceptable
	c.limit = MaxManifest
	c.check = func(a *wire.Answer) (err error) {
		reading.Manifest, err = readManifest(a, tag)
		return err
	}
	a, err := r.session.sendOnce(ctx, c)
	if err != nil {
		return reading, err
	}
	if date, err := http.ParseTime(a.Header.Get("Date")); err == nil {
		reading.Clock = date
	}
	if a.Status != http.StatusOK {
		return reading, r.refuseRead(ctx, "read manifest", tag, a)
	}
	r.noteExists()
	reading.Exists = true
	return reading, nil
}

// WriteTag writes a manifest to a tag with a single attempt, which begins before notAfter, or
// fails with [ErrOutdated]. A repeated attempt could overwrite what somebody else wrote after the
// caller's last read: registries have no compare-and-swap. So after any error that is neither a
// refusal ([IsRefusal]) nor ErrOutdated, the write may have taken effect or may still do so, and
// the caller reads the tag and decides again.
//
// The error for an immutable tag is ErrTagImmutable, unless the tag points to the digest
// already.
func (r *Repository) WriteTag(ctx context.Context, tag string, m Manifest, notAfter time.Time) error {
	if err := r.confirmAssumedMissing(ctx, m); err != nil {
		return err
	}
	c := r.call(http.MethodPut, "manifests/"+tag)
	c.header = http.Header{"Content-Type": {m.MediaType}}
	c.body = m.Raw
	c.notAfter = notAfter
	c.check = func(a *wire.Answer) error { return checkStatedDigest(a, m) }
	c.judge = func(a *wire.Answer) error { return judgeManifest(a, v1.Hash{}) }
	r.session.cache.wroteManifest(r, tag)
	defer r.session.cache.wroteManifest(r, tag)
	a, err := r.session.sendOnce(ctx, c)
	if a := retry.AnswerOf(err); a != nil && wire.RetryAfter(a.Status, a.Header) > r.session.host.MaxThrottle() {
		refused := r.refusal(opWriteManifest, tag, a)
		refused.throttled = true
		return refused
	}
	if err != nil {
		return r.unclearWrite(ctx, tag, m, err)
	}
	if wasWritten(a) {
		r.noteExists()
		return nil
	}
	return r.refusedManifest(ctx, tag, m, a)
}

// unclearWrite is the error of a write to a tag that may pass when it is repeated. Some registries
// refuse to change a tag with the code of a damaged manifest (kaniko#1095).
func (r *Repository) unclearWrite(ctx context.Context, tag string, m Manifest, cause error) error {
	var refused retry.Error
	if errors.As(cause, &refused) && refused.Reason == retry.Refused && refused.Answer != nil {
		if err := r.refusedManifest(ctx, tag, m, refused.Answer); err == nil || errors.Is(err, ErrTagImmutable) {
			return err
		}
	}
	return r.fail(opWriteManifest, tag, retry.ExhaustedError{Err: cause})
}
