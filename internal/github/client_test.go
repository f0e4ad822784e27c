package github

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
)

func TestOptions(t *testing.T) {
	for _, url := range []string{"", "https://api.github.com", "https://api.github.com/", "https://ghe.example/api/v3", "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost"} {
		c, err := New(Options{URL: url, Token: secret})
		if err != nil {
			t.Errorf("%q: %v", url, err)
		} else if text := fmt.Sprintf("%v %+v %#v %s", c, c, c, c); strings.Contains(text, secret) {
			t.Errorf("the client prints the token: %s", text)
		}
	}
	for _, url := range []string{"http://api.github.com", "http://10.0.0.1", "http://127.0.0.1.example", "http://localhost.example", "ftp://127.0.0.1", "api.github.com",
		"https://", "https://me:pw@api.github.com", "https://api.github.com?x=1", "https://api.github.com?", "https://api.github.com#x", "https://a b", "\x1b"} {
		if _, err := New(Options{URL: url}); err == nil {
			t.Errorf("%q is taken", url)
		} else {
			wantClean(t, err)
		}
	}
	for _, token := range []string{secret + "\n", secret + " x", "tök", "\x00", strings.Repeat("a", 5000)} {
		if _, err := New(Options{Token: token}); err == nil {
			t.Errorf("token %q is taken", token)
		} else if strings.Contains(err.Error(), "ghs_") {
			t.Errorf("error %v", err)
		}
	}
}

// What is sent is what GitHub asks for, and the URL has no token.
func TestRequest(t *testing.T) {
	var got *http.Request
	h := func(w http.ResponseWriter, r *http.Request) {
		got = r
		answers(200, jsonType, `[]`)(w, r)
	}
	bubbleAs(t, Options{Token: secret, UserAgent: "promote/1.2"}, http.HandlerFunc(h), func(t *testing.T, c *Client) {
		if _, err := c.Approvals(t.Context(), repo, "42"); err != nil {
			t.Fatal(err)
		}
	})
	for header, want := range map[string]string{"Accept": "application/vnd.github+json", "X-Github-Api-Version": "2022-11-28", "User-Agent": "promote/1.2", "Authorization": "Bearer " + secret} {
		if got.Header.Get(header) != want {
			t.Errorf("%s: %q", header, got.Header.Get(header))
		}
	}
	if got.Method != http.MethodGet || got.URL.Path != "/repos/acme/app/actions/runs/42/approvals" || strings.Contains(got.RequestURI, secret) {
		t.Errorf("asked %s %s", got.Method, got.RequestURI)
	}
}

// Over a real connection, with the transport that ships, below a path.
func TestRealConnection(t *testing.T) {
	s := githubtest.New(secret)
	defer s.Close()
	s.SetCompare(repo, older, sha, "ahead")
	c, err := New(Options{URL: s.URL(), Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	if relation, err := c.Compare(t.Context(), repo, older, sha); relation != "ahead" || err != nil {
		t.Errorf("%q, error %v", relation, err)
	}
	c.http.CloseIdleConnections()
}

func TestPathOfTheServer(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v3/repos/acme/app/actions/runs/42/approvals" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		answers(200, jsonType, `[]`)(w, r)
	}
	bubble(t, http.HandlerFunc(h), func(t *testing.T, c *Client) {
		c.base.Path = "/api/v3"
		if err := ask["Approvals"](t.Context(), c); err != nil {
			t.Error(err)
		}
	})
}

// What cannot be a name is not asked for.
func TestNames(t *testing.T) {
	s := world()
	bubble(t, s, func(t *testing.T, c *Client) {
		ctx := t.Context()
		for _, bad := range []string{"", "app", "acme/", "/app", "acme/app/x", "acme/..", "acme/.", "../app", "acme/a pp", "acme/app?x", "acme/app#x", "-a/b", "acme/%2e%2e", "acme/\x1b", "acme/" + strings.Repeat("a", 101)} {
			for _, err := range []error{
				second(c.Checks(ctx, bad, sha, []string{"e2e"})), second(c.Approvals(ctx, bad, "42")),
				second(c.Compare(ctx, bad, older, sha)), third(c.File(ctx, bad, config, "main")),
			} {
				wantError(t, err, "expected owner/name")
			}
		}
		for _, bad := range []string{"", "main", sha[:7], sha[:39], sha + "0", strings.Repeat("g", 40), sha[:38] + "..", "\x1b" + sha} {
			wantError(t, second(c.Checks(ctx, repo, bad, []string{"e2e"})), "expected all 40")
			wantError(t, second(c.Compare(ctx, repo, bad, sha)), "expected all 40")
			wantError(t, second(c.Compare(ctx, repo, sha, bad)), "expected all 40")
		}
		for _, bad := range []string{"", "0", "-1", "1.5", "01", "42/approvals", "9999999999999999999999", "４２"} {
			wantError(t, second(c.Approvals(ctx, repo, bad)), "GITHUB_RUN_ID")
		}
		for _, bad := range []string{"", "/etc/passwd", "a/../b", "..", "./a", "a//b", "a/", `a\b`, "a\x00", "a\u202eb", "a\xff", strings.Repeat("a", 1025)} {
			wantError(t, third(c.File(ctx, repo, bad, "main")), "path of a file")
		}
		for _, bad := range []string{"", "a b", "a..b", "/main", "main/", "a//b", "-x", "a~1", "a^", "a:b", "a?b", "a*", "a[", `a\b`, "a@{1}", "a.lock", ".a", "a.", "a/.b", "a\x1b", strings.Repeat("a", 256)} {
			wantError(t, third(c.File(ctx, repo, config, bad)), "is no ref")
		}
		wantError(t, third(c.File(ctx, repo, config, "refs/pull/1/merge")), "neither a branch nor a tag")
	})
	wantRequests(t, s, 0)
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// A commit may be written in capitals, and may have a SHA-256.
func TestFullCommit(t *testing.T) {
	for _, good := range []string{sha, strings.ToUpper(sha), strings.Repeat("ab", 32)} {
		if got, err := fullCommit(good); err != nil || got != strings.ToLower(good) {
			t.Errorf("%s: %s, error %v", good, got, err)
		}
	}
}

func TestRenamedRepositoryIsFollowed(t *testing.T) {
	for name, do := range ask {
		s := world()
		s.Rename(repo, "acme/renamed")
		bubble(t, s, func(t *testing.T, c *Client) {
			if err := do(t.Context(), c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		for _, r := range s.Requests() {
			if !r.Authorized {
				t.Errorf("%s: %s without the token", name, r.Path)
			}
		}
	}
}

// A redirect that leads elsewhere is not followed, so nobody else sees the token.
func TestRedirectElsewhereIsRefused(t *testing.T) {
	for _, to := range []string{"http://evil.example/", "https://127.0.0.1:1/", "http://127.0.0.1:2/", "http://sub.127.0.0.1:1/", "//evil.example/x", "http://a:b@127.0.0.1:1/", "http://\u202eevil.example/", "http://127.0.0.1:1/repos/"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			asked := 0
			h := func(w http.ResponseWriter, r *http.Request) {
				asked++
				if r.Host != "127.0.0.1:1" {
					t.Errorf("%s: %s was asked, with %q", to, r.Host, r.Header.Get("Authorization"))
				}
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			}
			bubble(t, http.HandlerFunc(h), func(t *testing.T, c *Client) {
				wantError(t, ask["Compare"](t.Context(), c), "redirects")
			})
			if want := 1; to != "http://127.0.0.1:1/repos/" && asked != want {
				t.Errorf("%s: asked %d times", to, asked)
			} else if asked > maxRedirects+1 {
				t.Errorf("%s: followed %d times", to, asked)
			}
		}
	}
}

func TestTokenMayBeMissing(t *testing.T) {
	s := world()
	bubbleAs(t, Options{}, s, func(t *testing.T, c *Client) {
		for name, do := range ask {
			err := do(t.Context(), c)
			wantError(t, err, "401 Unauthorized", "No github-token was given")
			if !errors.Is(err, ErrNotAllowed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	for _, r := range s.Requests() {
		if r.Authorized {
			t.Errorf("%s had a token", r.Path)
		}
	}
}
