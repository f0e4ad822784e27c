package referrer_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestWaitingForAnothersQuestionEnds: who waits because somebody else asks a silent registry is not kept past the end of
// his own context.
func TestWaitingForAnothersQuestionEnds(t *testing.T) {
	asked, release := make(chan struct{}, 9), make(chan struct{})
	silent := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.UserAgent() != regtest.Agent && strings.Contains(r.URL.Path, "/referrers/") {
				asked <- struct{}{}
				<-release
			}
			next.ServeHTTP(w, r)
		})
	}
	r := regtest.Serve(t, regtest.Options{Wrap: silent})
	s, _ := subject(t, r, 0)
	f := finder(t, r)
	first := make(chan error, 1)
	go func() {
		_, err := f.HasAPI(t.Context(), s)
		first <- err
	}()
	<-asked
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("the run is over")
	cancel(over)
	second := make(chan error, 1)
	go func() {
		_, err := f.HasAPI(ctx, s)
		second <- err
	}()
	select {
	case err := <-second:
		if !errors.Is(err, over) {
			t.Errorf("error %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it still waits")
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}
