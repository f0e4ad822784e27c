package retry

import (
	"context"
	"errors"
)

// Final is an error that is not retried: its retries are over, or do not help.
type Final interface {
	error
	Final()
}

// ExhaustedError is an error whose retries are over. An outer operation must not retry it,
// because attempts would multiply.
type ExhaustedError struct{ Err error }

func (e ExhaustedError) Error() string { return e.Err.Error() }
func (e ExhaustedError) Unwrap() error { return e.Err }

// Final marks it as one that is not retried.
func (ExhaustedError) Final() {}

// SiblingError says that an operation was canceled because another one of the same group failed.
// It does not unwrap, because the failure of the other operation, such as "not found", is not
// an answer to this one.
type SiblingError struct{ Failure error }

func (e SiblingError) Error() string { return e.Failure.Error() }

// Original returns the failure of the sibling that canceled an operation, or err itself if no
// sibling did. It is for the caller that started all siblings.
func Original(err error) error {
	var sibling SiblingError
	for errors.As(err, &sibling) {
		err = sibling.Failure
	}
	return err
}

// InterruptedError says that the run ended during an operation: it was canceled or timed out.
type InterruptedError struct{ Err error }

func (e InterruptedError) Error() string { return e.Err.Error() }
func (e InterruptedError) Unwrap() error { return e.Err }

// Interrupted returns why the context ended, for an operation that has not failed before.
func Interrupted(ctx context.Context) error {
	if sibling := siblingFailure(ctx); sibling != nil {
		return sibling
	}
	return InterruptedError{context.Cause(ctx)}
}

// siblingFailure returns the failure of the sibling that ended the context; nil if the run itself
// ended.
func siblingFailure(ctx context.Context) error {
	var failure Final
	if cause := context.Cause(ctx); errors.As(cause, &failure) {
		return SiblingError{cause}
	}
	return nil
}
