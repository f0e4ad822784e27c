package retry

import (
	"context"
	"errors"
)

// Final is an error after which nothing is retried: its retries are over, or none help.
type Final interface {
	error
	Final()
}

// ExhaustedError is an error whose retries are over. An operation around it does not
// retry it, or attempts would multiply.
type ExhaustedError struct{ Err error }

func (e ExhaustedError) Error() string { return e.Err.Error() }
func (e ExhaustedError) Unwrap() error { return e.Err }

// Final marks it as one that is not retried.
func (ExhaustedError) Final() {}

// SiblingError says that work was ended because something beside it failed. Nobody may
// take that failure for the answer to his own question, such as that something is not
// found: it does not unwrap.
type SiblingError struct{ Failure error }

func (e SiblingError) Error() string { return e.Failure.Error() }

// Original returns the failure that ended what err is of, where it was ended by something
// beside it; else err itself. It is for who asked for all of it.
func Original(err error) error {
	var sibling SiblingError
	for errors.As(err, &sibling) {
		err = sibling.Failure
	}
	return err
}

// InterruptedError says that an operation was ended from outside.
type InterruptedError struct{ Err error }

func (e InterruptedError) Error() string { return e.Err.Error() }
func (e InterruptedError) Unwrap() error { return e.Err }

// Interrupted returns why the context ended, where nothing has failed yet.
func Interrupted(ctx context.Context) error {
	if sibling := siblingFailure(ctx); sibling != nil {
		return sibling
	}
	return InterruptedError{context.Cause(ctx)}
}

// siblingFailure returns the failure of something beside this that ended the context; nil
// where the run itself was ended.
func siblingFailure(ctx context.Context) error {
	var failure Final
	if cause := context.Cause(ctx); errors.As(cause, &failure) {
		return SiblingError{cause}
	}
	return nil
}
