package github

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
	"github.com/artifact-promotion/promote/internal/regtest"
)

const (
	repo   = "acme/app"
	secret = "ghs_0123456789abcdefABCDEF"
	sha    = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	older  = "bbcd538c8e72b8c175046e27cc8f907076331401"
	config = ".github/promotion.yml"
)

// bubble runs a test where waits take no time and are measured all the same.
func bubble(t *testing.T, h http.Handler, test func(t *testing.T, c *Client)) {
	t.Helper()
	bubbleAs(t, Options{Token: secret}, h, test)
}

func bubbleAs(t *testing.T, o Options, h http.Handler, test func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := regtest.NewPipes()
		server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(network)
		}()
		transport := newTransport(nil)
		transport.DialContext, transport.Proxy = network.DialContext, nil
		defer func() {
			transport.CloseIdleConnections()
			_ = server.Close()
			<-served
			time.Sleep(time.Minute) // longer than net/http lingers on a connection
		}()
		o.URL, o.Transport = "http://127.0.0.1:1", transport
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		test(t, c)
	})
}

// answers answers every request so.
func answers(status int, kind, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const jsonType = "application/json; charset=utf-8"

// ask asks everything that a client can, by what it is called.
var ask = map[string]func(context.Context, *Client) error{
	"Checks": func(ctx context.Context, c *Client) error {
		_, err := c.Checks(ctx, repo, sha, []string{"e2e"})
		return err
	},
	"Approvals": func(ctx context.Context, c *Client) error { _, err := c.Approvals(ctx, repo, "42"); return err },
	"Compare":   func(ctx context.Context, c *Client) error { _, err := c.Compare(ctx, repo, older, sha); return err },
	"File":      func(ctx context.Context, c *Client) error { _, _, err := c.File(ctx, repo, config, "main"); return err },
}

// world is a server that has an answer to each of them.
func world() *githubtest.Server {
	s := githubtest.Unstarted(secret)
	s.AddCheckRun(repo, sha, githubtest.CheckRun{Name: "e2e", Conclusion: "success"})
	s.Approve(repo, "42", "production", "mona", "approved")
	s.SetCompare(repo, older, sha, "ahead")
	s.SetFile(repo, "main", config, []byte("environments: {}\n"))
	return s
}

// wantError checks an error's texts, and that none holds the token.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q\nlacks %q", err, part)
		}
	}
	wantClean(t, err)
}

// wantClean checks that an error can be shown.
func wantClean(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{err.Error(), HintOf(err)} {
		if strings.Contains(text, secret) {
			t.Errorf("the token is in %q", text)
		}
		for _, r := range text {
			if r != '\n' && r != '…' && (r < ' ' || r > '~') {
				t.Errorf("%q has the character %q", text, r)
			}
		}
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 2000 {
		t.Errorf("an error of %d bytes: %q", len(err.Error()), err)
	}
}

func wantRequests(t *testing.T, s *githubtest.Server, want int) {
	t.Helper()
	if got := s.Requests(); len(got) != want {
		t.Errorf("%d requests, want %d: %v", len(got), want, got)
	}
}

func took(t *testing.T, since time.Time, least, most time.Duration) {
	t.Helper()
	if d := time.Since(since); d < least || d > most {
		t.Errorf("took %v, want between %v and %v", d, least, most)
	}
}

func errorOf(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v of type %T", err, err)
	}
	return e
}

var discard = log.New(io.Discard, "", 0)
