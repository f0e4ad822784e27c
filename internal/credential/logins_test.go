package credential

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

func TestLoginsOnce(t *testing.T) {
	refused := errors.New("refused")
	for _, want := range []error{nil, refused} {
		var all logins
		var calls atomic.Int32
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				_, err := all.once(t.Context(), "host", func(context.Context) (authn.AuthConfig, error) {
					calls.Add(1)
					return authn.AuthConfig{Username: "u"}, want
				})
				if !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
			})
		}
		group.Wait()
		if calls.Load() != 1 {
			t.Errorf("logged in %d times", calls.Load())
		}
	}
}

func TestLoginsPerHost(t *testing.T) {
	var all logins
	for _, host := range []string{"a", "b"} {
		got, err := all.once(t.Context(), host, func(context.Context) (authn.AuthConfig, error) {
			return authn.AuthConfig{Username: host}, nil
		})
		if err != nil || got.Username != host {
			t.Errorf("%s: %+v, %v", host, got.Username, err)
		}
	}
}

// TestCancelledLoginIsNotRemembered: who comes next tries again.
func TestCancelledLoginIsNotRemembered(t *testing.T) {
	var all logins
	cause := errors.New("cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := all.once(ctx, "host", func(ctx context.Context) (authn.AuthConfig, error) {
		cancel(cause)
		return authn.AuthConfig{}, ctx.Err()
	})
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want the cause", err)
	}
	got, err := all.once(t.Context(), "host", func(context.Context) (authn.AuthConfig, error) {
		return authn.AuthConfig{Username: "u"}, nil
	})
	if err != nil || got.Username != "u" {
		t.Errorf("then %+v, %v", got.Username, err)
	}
}

// TestLoginTime holds a login to its bound, and a waiter to its own context.
func TestLoginTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all logins
		began := time.Now()
		first := make(chan error)
		go func() {
			_, err := all.once(t.Context(), "host", func(ctx context.Context) (authn.AuthConfig, error) {
				<-ctx.Done()
				return authn.AuthConfig{}, context.Cause(ctx)
			})
			first <- err
		}()
		synctest.Wait()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := all.once(impatient, "host", func(context.Context) (authn.AuthConfig, error) {
			t.Error("logged in beside the first")
			return authn.AuthConfig{}, nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("the waiter got %v after %s", err, time.Since(began))
		}
		if err := <-first; err == nil || err.Error() != "no answer within 30s" || time.Since(began) != loginTime {
			t.Errorf("the login got %v after %s", err, time.Since(began))
		}
	})
}
