package retry

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// finalError is an error of an operation that has its retries behind it.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }
func (finalError) Final()          {}

func answeringHost() *wire.Host {
	h := wire.NewHost("127.0.0.1:5000", 1, wire.DefaultRetryFor)
	h.Observe(&http.Response{StatusCode: http.StatusOK})
	return h
}

func TestPolicyLimits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err         error
		takes       time.Duration // each attempt
		times       int
		least, most time.Duration
	}{
		"damaged":                  {AfterDamage(io.EOF), 0, MaxDamaged, 0, 20 * time.Second},
		"mismatch":                 {wire.ErrMismatch, 0, MaxDamaged, 0, 20 * time.Second},
		"refused":                  {Error{Err: io.EOF, Reason: Refused}, 0, MaxRefused, 0, 5 * time.Second},
		"lagging":                  {Error{Err: io.EOF, Reason: Lagging}, 0, 0, 15 * time.Second, 19 * time.Second},
		"stalled":                  {wire.ErrStalled, wire.StallTimeout, MinAttempts, 0, 5 * time.Minute},
		"unavailable":              {wire.ErrHungUp, 0, 0, time.Minute, 64 * time.Second},
		"unavailable for long":     {wire.ErrHungUp, 5 * time.Minute, MinAttempts, 0, time.Hour},
		"unavailable, some longer": {wire.ErrHungUp, time.Minute, 0, maxElapsed * time.Minute, (maxElapsed + 3) * time.Minute},
		"invalid":                  {wire.Refusal("no"), 0, MaxInvalid, 0, 4 * time.Second},
		"too large":                {wire.InvalidError{Err: wire.ErrTooLarge}, 0, MaxInvalid, 0, 4 * time.Second},
		"token lost":               {Error{Err: io.EOF, Reason: TokenLost}, 0, MaxTokenLoss, 0, 20 * time.Second},
		"denied":                   {Error{Err: io.EOF, Reason: Denied}, 0, MaxDenied, 0, time.Second},
		"final":                    {wire.ErrTooManyRedirects, 0, 1, 0, 0},
		"an operation within":      {ExhaustedError{Error{Err: wire.ErrMismatch, Reason: Damaged}}, 0, 1, 0, 0},
		"another's, unavailable":   {finalError{wire.ErrHungUp}, 0, 1, 0, 0},
		"another's, damaged":       {finalError{wire.ErrMismatch}, 0, MaxDamaged, 0, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := answeringHost()
				p := New(h)
				began, times := time.Now(), 1
				for p.Wait(t.Context(), test.err) == nil {
					time.Sleep(test.takes)
					times++
				}
				if took := time.Since(began); took < test.least || took > test.most {
					t.Errorf("took %v, want between %v and %v", took, test.least, test.most)
				}
				if test.times != 0 && times != test.times {
					t.Errorf("%d attempts, want %d", times, test.times)
				}
			})
		})
	}
}

// A host that lags gets its time also after other trouble.
func TestLagAfterTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := answeringHost()
		p := New(h)
		if err := p.Wait(t.Context(), wire.ErrStalled); err != nil {
			t.Fatal(err)
		}
		time.Sleep(wire.StallTimeout)
		if err := p.Wait(t.Context(), Error{Err: io.EOF, Reason: Lagging}); err != nil {
			t.Error(err)
		}
	})
}

func TestBackoff_GrowsAndIsSpread(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 100 {
		for step := range 20 {
			full := min(100*time.Millisecond<<step, 4*time.Second)
			d := backoff(wire.DefaultRetryFor, step)
			if d < full/2 || d > full {
				t.Errorf("wait %d is %v, want between %v and %v", step, d, full/2, full)
			}
			seen[d] = true
		}
	}
	if len(seen) < 40 {
		t.Errorf("%d different waits: they come all at once", len(seen))
	}
}
