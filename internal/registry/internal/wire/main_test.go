package wire

import (
	"errors"
	"net/url"
	"testing"
	"time"
)

var errTimeUp = errors.New("the time is up")

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// took fails unless the time since then is d, on the virtual clock.
func took(t *testing.T, since time.Time, d time.Duration) {
	t.Helper()
	if got := time.Since(since); got != d {
		t.Errorf("took %v, want %v", got, d)
	}
}
