package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
)

// RedirectError is that of a request to where a registry pointed.
type RedirectError struct {
	Host *Host
	Err  error
}

func (e RedirectError) Error() string {
	return fmt.Sprintf("at %q, where the registry points: %v", Cut(e.Host.Name, 100), e.Err)
}

func (e RedirectError) Unwrap() error { return e.Err }

// IsUnreachable tells a host that the registry points to and that takes no connections.
func (e RedirectError) IsUnreachable() bool {
	return errors.Is(e.Err, syscall.ECONNREFUSED) && !e.Host.HasAnswered()
}

// Cause prefers the reason for which the run or the attempt was ended to the
// context's bare word for it, and puts net/http's bare words into plainer ones.
func Cause(ctx context.Context, err error) error {
	var record tls.RecordHeaderError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == io.EOF: //nolint:errorlint // one deeper down is somebody else's
		return ErrHungUp
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return http.ErrSchemeMismatch
	default:
		return err
	}
}

var ErrHungUp = errors.New("the connection was closed without an answer")
