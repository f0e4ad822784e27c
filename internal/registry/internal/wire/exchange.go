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

// RedirectError is the error of a request to the host of a redirect.
type RedirectError struct {
	Host *Host
	Err  error
}

func (e RedirectError) Error() string {
	return fmt.Sprintf("redirected to %q: %v", Cut(e.Host.Name, 100), e.Err)
}

func (e RedirectError) Unwrap() error { return e.Err }

// IsUnreachable reports whether the host of the redirect has never accepted a connection.
func (e RedirectError) IsUnreachable() bool {
	return errors.Is(e.Err, syscall.ECONNREFUSED) && !e.Host.HasAnswered()
}

// Cause returns the cause of a context that ended, and otherwise replaces two errors of net/http
// that do not say what happened.
func Cause(ctx context.Context, err error) error {
	var record tls.RecordHeaderError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == io.EOF: //nolint:errorlint // a wrapped EOF has another meaning
		return ErrHungUp
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return http.ErrSchemeMismatch
	default:
		return err
	}
}

// ErrHungUp is net/http's io.EOF.
var ErrHungUp = errors.New("the connection was closed without an answer")
