package registry

import (
	"context"
	"errors"
	"io"
	"net/url"
)

// ahead is a source that was asked for a blob while the target opens a session
// for it: each takes a round trip. The zero pointer is none.
type ahead struct {
	source *download
	cancel context.CancelCauseFunc
	over   bool // it was not taken in time
}

// askAhead asks the source, if it has room.
func (o *uploading) askAhead(ctx context.Context) *ahead {
	ctx, cancel := context.WithCancelCause(ctx)
	d, ok := o.From.OpenBlob(ctx, o.Blob).(*download)
	if !ok {
		cancel(nil)
		return nil
	}
	d.ahead()
	return &ahead{source: d, cancel: cancel}
}

// prepare takes a slot of the target. With the source's already held none may be
// waited for: the source is then let go and asked again in its turn.
func (o *uploading) prepare(ctx context.Context, u *url.URL, early *ahead) (*attempt, error) {
	if early != nil {
		try, err := o.repo.session.prepareNow(ctx, o.repo.need(), u, up)
		if err == nil {
			return try, nil
		}
		early.close()
		if !errors.Is(err, errBusy) {
			return nil, err
		}
	}
	return o.repo.session.prepare(ctx, o.repo.need(), u, up)
}

// open returns the source, which ends with the context.
func (a *ahead) open(ctx context.Context, open func(context.Context) io.ReadCloser) io.ReadCloser {
	if a == nil || a.over {
		return open(ctx)
	}
	stop := context.AfterFunc(ctx, func() { a.cancel(context.Cause(ctx)) })
	return &untied{a.source, func() { stop(); a.cancel(nil) }}
}

// close lets the source go.
func (a *ahead) close() {
	if a == nil || a.over {
		return
	}
	a.over = true
	a.cancel(nil)
	_ = a.source.Close()
}

// untied is a source that lets go of its context when it is closed.
type untied struct {
	*download
	release func()
}

func (u *untied) Close() error {
	defer u.release()
	return u.download.Close()
}
