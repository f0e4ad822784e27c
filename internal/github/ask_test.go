package github

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTroubleIsTriedAgain(t *testing.T) {
	for _, status := range []int{408, 429, 500, 502, 503, 504, 520} {
		for name, do := range ask {
			s := world()
			s.Fail(status, 3)
			bubble(t, s, func(t *testing.T, c *Client) {
				if err := do(t.Context(), c); err != nil {
					t.Errorf("%s after %d: %v", name, status, err)
				}
			})
		}
	}
}

// An answer that never gets better is the error, after a minute.
func TestTroubleThatGoesOn(t *testing.T) {
	s := world()
	s.Fail(503, 1000)
	bubble(t, s, func(t *testing.T, c *Client) {
		began := time.Now()
		err := ask["Compare"](t.Context(), c)
		wantError(t, err, "compare bbcd538 with 6dcb09b of acme/app: GitHub answered 503 Service Unavailable", "githubstatus.com")
		took(t, began, 50*time.Second, time.Minute)
		if e := errorOf(t, err); e.Status != 503 || e.Message != "Server Error" || e.Repository != repo {
			t.Errorf("%+v", e)
		}
	})
	if n := len(s.Requests()); n < 15 || n > 45 {
		t.Errorf("asked %d times", n)
	}
}

func TestRefusalsAreFinal(t *testing.T) {
	for status, want := range map[int]string{400: "400 Bad Request", 401: "401 Unauthorized", 403: "403 Forbidden", 404: "404 Not Found", 410: "410 Gone", 422: "422", 451: "451", 501: "501", 204: "204", 304: "304", 418: "418", 999: "999"} {
		s := world()
		s.Answer(1, func(w http.ResponseWriter) { w.WriteHeader(status) })
		bubble(t, s, func(t *testing.T, c *Client) {
			if status < 999 {
				began := time.Now()
				wantError(t, ask["Approvals"](t.Context(), c), "GitHub answered "+want)
				took(t, began, 0, 0)
			}
		})
	}
}

func TestBadCredentials(t *testing.T) {
	s := world()
	bubbleAs(t, Options{Token: secret + "x"}, s, func(t *testing.T, c *Client) {
		for _, do := range ask {
			err := do(t.Context(), c)
			wantError(t, err, "401 Unauthorized", "Bad credentials", "Check github-token")
			if !errors.Is(err, ErrNotAllowed) {
				t.Errorf("error %v", err)
			}
		}
	})
}

// Each kind of refusal has its advice.
func TestAdvice(t *testing.T) {
	for _, test := range []struct {
		status        int
		message       string
		header        string
		has, has2     string
		hasNot, hint2 string
	}{
		{403, "Resource not accessible by integration", "", "beside the permissions it has: actions: read", "", "GitHub asks for", "it has:\n  permissions:\n    actions: read"},
		{403, "Resource not accessible by integration", "actions=read; contents=read", "(GitHub asks for actions=read; contents=read)", "", "", ""},
		{403, "Resource not accessible by integration", "actions=read\"; rm", "actions: read", "", "GitHub asks for", ""},
		{403, "Resource not accessible by integration", strings.Repeat("a", 300) + "=read", "actions: read", "", "GitHub asks for", ""},
		{403, "Resource not accessible by personal access token", "", "personal access token in github-token", "actions: read", "Add to the job", ""},
		{403, "Resource protected by organization SAML enforcement.", "", "SAML enforcement", "", "permissions", ""},
		{404, "Not Found", "", "Run 42 or the repository is not there.", "actions: read", "", ""},
	} {
		h := answers(test.status, jsonType, fmt.Sprintf(`{"message":%q}`, test.message), "X-Accepted-GitHub-Permissions", test.header)
		bubble(t, h, func(t *testing.T, c *Client) {
			err := ask["Approvals"](t.Context(), c)
			wantError(t, err, test.has, test.has2)
			if test.hasNot != "" && strings.Contains(err.Error(), test.hasNot) {
				t.Errorf("error %q\nhas %q", err, test.hasNot)
			}
			if !strings.Contains(HintOf(err), test.hint2) {
				t.Errorf("hint %q lacks %q", HintOf(err), test.hint2)
			}
			whole := "read it: " + err.Error()
			if text := MessageOf(fmt.Errorf("read it: %w", err)); !strings.HasPrefix(whole, text) || (text == whole) != (HintOf(err) == "") {
				t.Errorf("message is %q, error %q", text, err)
			}
		})
	}
	if MessageOf(io.EOF) != io.EOF.Error() || HintOf(io.EOF) != "" {
		t.Error("a hint of another's error")
	}
}

// What hangs up, is cut short or hangs is tried again.
func TestConnectionsThatBreak(t *testing.T) {
	breaks := map[string]func(w http.ResponseWriter){
		"hung up": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"cut": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Content-Type", jsonType)
			_, _ = io.WriteString(w, `[]`)
			panic(http.ErrAbortHandler)
		},
	}
	for name, answer := range breaks {
		s := world()
		s.Answer(2, answer)
		bubble(t, s, func(t *testing.T, c *Client) {
			if err := ask["Approvals"](t.Context(), c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		wantRequests(t, s, 3)
		s.Answer(1000, answer)
		bubble(t, s, func(t *testing.T, c *Client) {
			began := time.Now()
			err := ask["Approvals"](t.Context(), c)
			wantError(t, err, "read the approvals of run 42 of acme/app: ", "EOF")
			took(t, began, 50*time.Second, time.Minute)
		})
	}
}

func TestServerThatHangs(t *testing.T) {
	var asked atomic.Int32
	h := func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-r.Context().Done()
	}
	bubble(t, http.HandlerFunc(h), func(t *testing.T, c *Client) {
		began := time.Now()
		wantError(t, ask["Approvals"](t.Context(), c), "no whole answer within 30s")
		took(t, began, time.Minute, 2*time.Minute)
	})
	if asked.Load() < 2 {
		t.Errorf("asked %d times", asked.Load())
	}
}

var errTimeUp = errors.New("the run's time is up")

// broken gives no answer.
type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// A wait ends with the context, and says why and what the time went for.
func TestContextEndsTheWait(t *testing.T) {
	s := world()
	s.Fail(500, 1000)
	bubble(t, s, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Second, func() { cancel(errTimeUp) })
		began := time.Now()
		err := ask["Compare"](ctx, c)
		wantError(t, err, "the run's time is up; last attempt: GitHub answered 500 Internal Server Error")
		if !errors.Is(err, errTimeUp) {
			t.Errorf("error %v", err)
		}
		took(t, began, 10*time.Second, 10*time.Second)
	})
	bubble(t, s, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Second, func() { cancel(errTimeUp) })
		c.http.Transport = broken{}
		wantError(t, ask["Compare"](ctx, c), "the run's time is up; last attempt: "+io.ErrUnexpectedEOF.Error())
	})
	bubble(t, s, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errTimeUp)
		for _, do := range ask {
			if err := do(ctx, c); !errors.Is(err, errTimeUp) {
				t.Errorf("error %v", err)
			}
		}
	})
}

// A certificate of nobody's, or a name that is not there, is final.
func TestConnectionsThatCannotBe(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = discard
	s.StartTLS()
	defer s.Close()
	c, err := New(Options{URL: s.URL, Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, ask["Compare"](t.Context(), c), "certificate")

	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if c, err = New(Options{URL: s.URL, Token: secret, Roots: roots}); err != nil {
		t.Fatal(err)
	}
	wantError(t, ask["Compare"](t.Context(), c), "404 Not Found")
	c.http.CloseIdleConnections()

	for _, err := range []error{&net.DNSError{IsNotFound: true}, context.Canceled, http.ErrSchemeMismatch, x509.UnknownAuthorityError{}, refusal("no")} {
		if temporary(fmt.Errorf("dial: %w", err)) {
			t.Errorf("%v is tried again", err)
		}
	}
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, &net.DNSError{IsTemporary: true}, context.DeadlineExceeded} {
		if !temporary(err) {
			t.Errorf("%v is not tried again", err)
		}
	}
}

func TestWaitsGrowAndAreSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 50 {
		for made := range 30 {
			a := attempts{patience: time.Minute, made: made}
			full := min(100*time.Millisecond<<min(made, 10), 4*time.Second)
			d := a.pause(time.Time{})
			if d < full/2 || d > full {
				t.Errorf("wait %d is %v", made, d)
			}
			seen[d] = true
		}
	}
	if len(seen) < 100 {
		t.Errorf("%d different waits: they come all at once", len(seen))
	}
	tiny := attempts{patience: 1}
	if d := tiny.pause(time.Time{}); d <= 0 {
		t.Errorf("a wait of %v", d)
	}
}

func TestServerMayAskForAWait(t *testing.T) {
	s := world()
	s.Answer(1, func(w http.ResponseWriter) { answers(503, "text/plain", "", "Retry-After", "33")(w, nil) })
	bubble(t, s, func(t *testing.T, c *Client) {
		began := time.Now()
		if err := ask["Compare"](t.Context(), c); err != nil {
			t.Error(err)
		}
		took(t, began, 33*time.Second, 33*time.Second)
	})
}
