package promote_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// nowhere is where a registry with a public name may not send anybody.
var nowhere = []string{
	"http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "http://[fd00:ec2::254]/latest/", "https://[fd00:ec2::254]/",
	"https://[fe80::1]/", "https://[::ffff:169.254.169.254]/", "http://127.0.0.1:5001/", "https://127.0.0.1/", "https://127.0.0.1:5001/", "https://[::1]/",
	"https://[::ffff:127.0.0.1]/", "https://0x7f000001/", "https://2130706433/", "https://127.1/", "https://0177.0.0.1/", "https://0/",
	"https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://10.0.0.1/", "https://[fd00::1]/", "https://0.0.0.0/",
	"http://source.example/v2/", "http://target.example/v2/", "http://storage.example/", "file:///etc/passwd", "gopher://storage.example/", "ftp://storage.example/",
	"https://robot:guess@storage.example/", "//169.254.169.254/", "https:///v2/", "https://%31%36%39.254.169.254/", "javascript:alert(1)", "https://storage.example:bad/",
}

// pointing is a way in which a registry sends somebody elsewhere.
type pointing struct {
	name, side string
	api        bool
	attack     func(to string) func(*wild, http.Handler) http.Handler
}

func redirects(to string) func(assault) {
	return answers(http.StatusTemporaryRedirect, "", "Location: "+to)
}

func pointings() []pointing {
	ping := func(r *http.Request) bool { return r.URL.Path == "/v2/" }
	return []pointing{
		{"a redirect of a manifest", "source", false, func(to string) func(*wild, http.Handler) http.Handler { return when(rootTag, redirects(to)) }},
		{"a redirect of a manifest", "target", false, func(to string) func(*wild, http.Handler) http.Handler { return when(rootTag, redirects(to)) }},
		{"a redirect of a blob", "source", false, func(to string) func(*wild, http.Handler) http.Handler { return when(get("/blobs/"), redirects(to)) }},
		{"a redirect of the first question", "source", false, func(to string) func(*wild, http.Handler) http.Handler { return when(ping, redirects(to)) }},
		{"a redirect of the question for a token", "target", false, func(to string) func(*wild, http.Handler) http.Handler {
			return when(in("/token"), redirects(to))
		}},
		{"the place of an upload", "target", false, func(to string) func(*wild, http.Handler) http.Handler {
			return when(posts, answers(http.StatusAccepted, "", "Location: "+to))
		}},
		{"the next page", "source", true, func(to string) func(*wild, http.Handler) http.Handler {
			return when(get("/referrers/"), answers(http.StatusOK, indexOf(), indexType, "Link: <"+to+`>; rel="next"`))
		}},
		{"a realm", "source", false, func(to string) func(*wild, http.Handler) http.Handler {
			return when(anything, answers(http.StatusUnauthorized, "", `WWW-Authenticate: Bearer realm="`+to+`",service="x"`))
		}},
		{"a realm", "target", false, func(to string) func(*wild, http.Handler) http.Handler {
			return when(anything, answers(http.StatusUnauthorized, "", `WWW-Authenticate: Bearer realm="`+to+`",service="x"`))
		}},
	}
}

// TestHostileNowhere: a registry with a public name sends nobody to an address of the inside, to another scheme, or to
// where a password is named; no connection is made there, and the error says so.
func TestHostileNowhere(t *testing.T) {
	long(t)
	for _, p := range pointings() {
		t.Run(p.side+"/"+p.name, func(t *testing.T) {
			for _, to := range nowhere {
				t.Run(to, func(t *testing.T) { p.tryNowhere(t, to) })
			}
		})
	}
}

func (p pointing) tryNowhere(t *testing.T, to string) {
	t.Helper()
	p.try(t, to, func(t *testing.T, w *wild, _ document.Report) {
		if len(w.trips) > 0 {
			t.Errorf("the program went to %q", w.trips)
		}
	})
}

func (p pointing) try(t *testing.T, to string, also func(*testing.T, *wild, document.Report)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWild(t, p.side, p.api, p.attack(to))
		defer w.close()
		began := time.Now()
		d, told := w.promote(t)
		said := fmt.Sprintf("%+v", d.Faults)
		if d.Result != document.Failed || !strings.Contains(said, "at the "+p.side+" "+p.side+".example/") {
			t.Errorf("%s: %s: %s", to, d.Result, said)
		}
		if passed := time.Since(began); passed > hostileTime || w.requests() > hostileRequests {
			t.Errorf("%s: %v, %d requests", to, passed, w.requests())
		}
		w.discreet(t, fmt.Sprintf("%+v\n%s", d, told))
		also(t, w, d)
	})
}

// discreet expects that no secret went astray.
func (w *wild) discreet(t *testing.T, all string) {
	t.Helper()
	for _, secret := range w.secrets(nil) {
		if strings.Contains(all, secret) {
			t.Errorf("%s is told", secret)
		}
	}
	if len(w.leaks) > 0 {
		t.Errorf("credentials were given away: %q", w.leaks)
	}
}

// TestHostileElsewhere: another host that is reached by https may be where a registry keeps its content. It gets no
// credential, and what it answers is believed no more than the registry is.
func TestHostileElsewhere(t *testing.T) {
	long(t)
	for _, p := range pointings() {
		if p.name == "a realm" || strings.Contains(p.name, "question") { // a token service gets the password: that is its use
			continue
		}
		t.Run(p.side+"/"+p.name, func(t *testing.T) {
			p.try(t, "https://storage.example/x", func(t *testing.T, w *wild, _ document.Report) {
				if p.name != "the next page" && !slices.Equal(w.trips, []string{"https://storage.example:443"}) {
					t.Errorf("the program went to %q", w.trips)
				}
			})
		})
	}
}

// TestHostileLoops: redirects that lead round, or on and on, end soon.
func TestHostileLoops(t *testing.T) {
	long(t)
	on := func(part string) func(string) func(*wild, http.Handler) http.Handler {
		return func(string) func(*wild, http.Handler) http.Handler {
			return when(in(part), func(a assault) {
				redirects(a.r.URL.Path + "?" + fmt.Sprint(a.hosts[hostileSource].requests.Load()))(a)
			})
		}
	}
	self := func(part string) func(string) func(*wild, http.Handler) http.Handler {
		return func(string) func(*wild, http.Handler) http.Handler {
			return when(in(part), func(a assault) { redirects(a.r.URL.Path)(a) })
		}
	}
	for _, p := range []pointing{
		{"a manifest's, on and on", "source", false, on("/manifests/")},
		{"a manifest's, to itself", "source", false, self("/manifests/")},
		{"a blob's, on and on", "source", false, on("/blobs/")},
		{"a blob's, to itself", "source", false, self("/blobs/")},
		{"a token's, to itself", "source", false, self("/token")},
		{"the first answer's, to itself", "target", false, self("/v2/")},
	} {
		t.Run(p.name, func(t *testing.T) {
			p.try(t, "", func(t *testing.T, w *wild, d document.Report) {
				if said := fmt.Sprint(d.Faults); !strings.Contains(said, "redirects") {
					t.Errorf("nobody speaks of redirects: %s", said)
				}
				if n := w.requests(); n > 300 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}
