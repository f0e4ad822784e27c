package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const getReferrers = "^GET /v2/acme/app/referrers/"

// referrer is a manifest that names a subject.
func referrer(subject Manifest, n int) Manifest {
	return NewManifest(string(types.OCIImageIndex), fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"artifactType":"a/%d","subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
		types.OCIImageIndex, n, subject.MediaType, subject.Digest, len(subject.Raw)))
}

// attached starts a registry with an image that has referrers.
func attached(t *testing.T, n int, o regtest.Options) (*regtest.Registry, *Repository, Manifest) {
	t.Helper()
	reg := regtest.Serve(t, o)
	subject := tagged(t, reg, regtest.Access{}, "acme/app", "dev")
	for i := range n {
		m := referrer(subject, i)
		if err := regtest.PutManifest(t.Context(), reg.Access("", ""), "acme/app", m.Digest.String(), m.MediaType, m.Raw); err != nil {
			t.Fatal(err)
		}
	}
	return reg, target(t, reg, "acme/app"), subject
}

func TestReferrersOverPages(t *testing.T) {
	t.Parallel()
	reg, r, subject := attached(t, 12, regtest.Options{Referrers: true, ReferrersPage: 1000})
	list, err := r.Referrers(t.Context(), subject.Digest)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[v1.Hash]bool{}
	for _, d := range list {
		seen[d.Digest] = true
	}
	if len(list) != 12 || len(seen) != 12 {
		t.Errorf("%d referrers, %d different, want 12", len(list), len(seen))
	}
	if n := len(matching(reg, getReferrers)); n < 3 {
		t.Errorf("%d requests: that is no test of pages", n)
	}
	none, err := r.Referrers(t.Context(), list[0].Digest)
	if err != nil || len(none) != 0 {
		t.Errorf("%d referrers, error %v, of one that has none", len(none), err)
	}
}

func TestReferrersAfterAFault(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"503":       regtest.FailOnce(request(getReferrers), 503),
		"cut":       regtest.CutBody(request(getReferrers), 20),
		"corrupted": strikes(1, getReferrers, changed(func(b []byte) []byte { return b[1:] })),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg, r, subject := attached(t, 2, regtest.Options{Referrers: true, Wrap: wrap})
			if list, err := r.Referrers(t.Context(), subject.Digest); err != nil || len(list) != 2 {
				t.Errorf("%d referrers, error %v", len(list), err)
			}
			wantRequests(t, reg, getReferrers, 2)
		})
	}
}

// answered is a repository on a host that answers every page of referrers so.
func answered(t *testing.T, h http.HandlerFunc) *Repository {
	t.Helper()
	return target(t, serve(t, h), "acme/app")
}

func TestNoReferrersAPI(t *testing.T) {
	t.Parallel()
	digest := digestOf(nil)
	for _, code := range []int{400, 404, 405, 501} {
		r := answered(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		if _, err := r.Referrers(t.Context(), digest); !errors.Is(err, ErrNoReferrersAPI) {
			t.Errorf("%d: error %v, want ErrNoReferrersAPI", code, err)
		}
	}
	page := answered(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>welcome</html>")
	})
	if _, err := page.Referrers(t.Context(), digest); !errors.Is(err, ErrNoReferrersAPI) {
		t.Errorf("a web site: error %v, want ErrNoReferrersAPI", err)
	}
	for _, code := range []int{401, 403, 410} {
		r := answered(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		var e *Error
		if _, err := r.Referrers(t.Context(), digest); !errors.As(err, &e) || errors.Is(err, ErrNoReferrersAPI) || e.Status != code {
			t.Errorf("%d: error %v, want that status", code, err)
		}
	}
}

// index is a page with entries, or a broken one.
func index(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", string(types.OCIImageIndex))
	_, _ = io.WriteString(w, body)
}

// A failure after the first page does not mean that there is no API: its referrers would not be
// copied.
func TestListThatBreaksOff(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]http.HandlerFunc{
		"404":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"400":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) },
		"html": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := answered(t, func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Query().Get("page") == "2" {
					second(w, q)
					return
				}
				w.Header().Set("Link", `<`+q.URL.Path+`?page=2>; rel="next"`)
				index(w, `{"manifests":[]}`)
			})
			list, err := r.Referrers(t.Context(), digestOf(nil))
			if err == nil || errors.Is(err, ErrNoReferrersAPI) || list != nil {
				t.Errorf("%d referrers, error %v", len(list), err)
			}
		})
	}
}

func TestListThatIsNoList(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"manifests":7}`, `{"manifests":[`, ``, `{}`, `{"Manifests":[]}`, `{"manifests":[` + strings.Repeat("{},", maxInvalid) + `{}]}`, `{"manifests":[]}x`} {
		h := open200(func(w http.ResponseWriter, _ *http.Request) { index(w, body) })
		bubble(t, h, func(t *testing.T, r *Repository) {
			list, err := r.Referrers(t.Context(), digestOf(nil))
			if err == nil || errors.Is(err, ErrNoReferrersAPI) || list != nil {
				t.Errorf("%s: %d referrers, error %v", body, len(list), err)
			}
		})
	}
	for _, body := range []string{`{"manifests":null}`, `{"manifests":[]}`} {
		r := answered(t, func(w http.ResponseWriter, _ *http.Request) { index(w, body) })
		if list, err := r.Referrers(t.Context(), digestOf(nil)); err != nil || len(list) != 0 {
			t.Errorf("%s: %d referrers, error %v", body, len(list), err)
		}
	}
}

func TestNextPage(t *testing.T) {
	t.Parallel()
	const at = "https://registry.example/v2/acme/app/referrers/sha256:00?n=1"
	for _, test := range []struct {
		link string
		want string // empty: no more; "refused"
	}{
		{``, ``},
		{`</v2/x?page=2>; rel="next"`, "https://registry.example/v2/x?page=2"},
		{`</v2/x?page=2>;rel=next`, "https://registry.example/v2/x?page=2"},
		{`<?page=2>; rel="next"`, "https://registry.example/v2/acme/app/referrers/sha256:00?page=2"},
		{`<https://registry.example:443/v2/x>; rel="next"`, "https://registry.example:443/v2/x"},
		{`</a>; rel="prev", </b>; rel="next"`, "https://registry.example/b"},
		{`</b>; title="a, b; c"; rel="next"`, "https://registry.example/b"},
		{`</b>; REL="Next"`, "https://registry.example/b"},
		{`</b>; rel="last next"`, "https://registry.example/b"},
		{`</b,c>; rel="next"`, "https://registry.example/b,c"},
		{"</a>; rel=\"prev\"\n</b>; rel=\"next\"", "https://registry.example/b"}, // in two headers
		{`</a>; rel="prev"`, ``},
		{`</a>; rel="nextish"`, ``},
		{`</a>; title="rel=next"`, ``},
		{`no link at all`, ``},
		{`<https://other.example/v2/x>; rel="next"`, "refused"},
		{`<//other.example/v2/x>; rel="next"`, "refused"},
		{`<http://registry.example/v2/x>; rel="next"`, "refused"},
		{`<https://registry.example:8443/v2/x>; rel="next"`, "refused"},
		{`<https://10.0.0.1/v2/x>; rel="next"`, "refused"},
		{`<>; rel="next"`, "refused"},
		{`<::>; rel="next"`, "refused"},
	} {
		a := &wire.Answer{URL: mustURL(t, at), Header: http.Header{"Link": strings.Split(test.link, "\n")}}
		next, err := nextPage(a)
		got := ""
		switch {
		case err != nil:
			got = "refused"
		case next != nil:
			got = next.String()
		}
		if got != test.want {
			t.Errorf("%s: %q, error %v, want %q", test.link, got, err, test.want)
		}
	}
}

func TestNextPageOnAnotherHost(t *testing.T) {
	t.Parallel()
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) { index(w, `{"manifests":[]}`) })
	r := answered(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Link", `<http://`+other.Host()+q.URL.Path+`>; rel="next"`)
		index(w, `{"manifests":[]}`)
	})
	_, err := r.Referrers(t.Context(), digestOf(nil))
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "another host")
	wantRequests(t, other, ".", 0)
}

func TestEndlessPages(t *testing.T) {
	t.Parallel()
	var pages atomic.Int32
	r := answered(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, q.URL.Path, pages.Add(1)))
		index(w, `{"manifests":[]}`)
	})
	if _, err := r.Referrers(t.Context(), digestOf(nil)); !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNoReferrersAPI) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	if pages.Load() != maxReferrerPages {
		t.Errorf("%d pages, want %d", pages.Load(), maxReferrerPages)
	}
}

// Lists are bounded by the memory that they take.
func TestHugeLists(t *testing.T) {
	long(t)
	entry := `{"digest":"` + sha(nil) + `"}`
	for name, test := range map[string]struct {
		body  string
		pages int32
	}{
		"many on one page": {`{"manifests":[` + entry + strings.Repeat(","+entry, maxReferrers) + `]}`, 1},
		"many pages":       {`{"manifests":[` + entry + strings.Repeat(","+entry, 9_999) + `]}`, 3},
		"large pages":      {`{"manifests":[],"x":"` + strings.Repeat("x", 3<<20) + `"}`, 3},
	} {
		t.Run(name, func(t *testing.T) {
			var pages atomic.Int32
			r := answered(t, func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, q.URL.Path, pages.Add(1)))
				index(w, test.body)
			})
			runtime.GC()
			used := allocated(func() {
				if _, err := r.Referrers(t.Context(), digestOf(nil)); !errors.Is(err, ErrTooLarge) {
					t.Errorf("error %v, want ErrTooLarge", err)
				}
			})
			if used > 96<<20 {
				t.Errorf("%d MiB allocated", used>>20)
			}
			if pages.Load() != test.pages {
				t.Errorf("%d pages, want %d", pages.Load(), test.pages)
			}
		})
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	r := target(t, reg, "acme/app")
	for _, tag := range []string{"dev", "staging"} {
		tagged(t, reg, regtest.Access{}, "acme/app", tag)
	}
	for _, list := range []func(context.Context) ([]string, bool, error){r.FirstTags, r.Tags} {
		tags, all, err := list(t.Context())
		if err != nil || !all || fmt.Sprint(tags) != "[dev staging]" {
			t.Errorf("%v, all %v, error %v", tags, all, err)
		}
	}
	if n := len(matching(reg, "tags/list$")); n != 2 {
		t.Errorf("%d requests, want one for each", n)
	}
	if got, want := matching(reg, "tags/list$")[0].Query, (url.Values{"n": {fmt.Sprint(TagPage)}}).Encode(); got != want {
		t.Errorf("asked with %s, want %s", got, want)
	}
}

func TestTagListThatIsNotAll(t *testing.T) {
	long(t)
	t.Parallel()
	many := `{"tags":["t"` + strings.Repeat(`,"t"`, TagPage-1) + `]}`
	for _, test := range []struct {
		name   string
		status int
		link   string
		body   string
		tags   int
		all    bool
		fails  bool
	}{
		{"all", 200, "", `{"tags":["a","b"]}`, 2, true, false},
		{"none", 200, "", `{"tags":null}`, 0, true, false},
		{"a page", 200, `</v2/acme/app/tags/list?last=b>; rel="next"`, `{"tags":["a","b"]}`, 2, false, false},
		{"as many as asked for", 200, "", many, TagPage, false, false},
		{"no repository", 404, "", `{"errors":[{"code":"NAME_UNKNOWN"}]}`, 0, true, false},
		{"no list", 404, "", `404 page not found`, 0, false, false},
		{"denied", 403, "", ``, 0, false, true},
		{"a web site", 200, "", `<html>`, 0, false, true},
		{"endless", 200, "", `{"tags":["` + strings.Repeat("a", 2<<20) + `"]}`, 0, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := answered(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", test.link)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			for _, list := range []func(context.Context) ([]string, bool, error){r.FirstTags, r.Tags} {
				tags, all, err := list(t.Context())
				if len(tags) != test.tags || all != test.all || (err != nil) != test.fails {
					t.Errorf("%d tags, all %v, error %v", len(tags), all, err)
				}
			}
		})
	}
}

// Pages of tags are followed on the same host, up to a limit.
func TestPagesOfTags(t *testing.T) {
	long(t)
	t.Parallel()
	page := func(from, n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("%q", fmt.Sprintf("t%06d", from+i))
		}
		return `{"tags":[` + strings.Join(names, ",") + `]}`
	}
	last := func(q *http.Request) int {
		if q.FormValue("last") == "" {
			return 0
		}
		n, _ := strconv.Atoi(q.FormValue("last")[1:])
		return n + 1
	}
	for _, test := range []struct {
		name     string
		answer   func(q *http.Request) (status int, link, body string)
		tags     int
		requests int32
		all      bool
		fails    bool
	}{
		{"by last, the end a short page", func(q *http.Request) (int, string, string) {
			return 200, "", page(last(q), min(TagPage, 2500-last(q)))
		}, 2500, 3, true, false},
		{"by last, the end an empty page", func(q *http.Request) (int, string, string) {
			return 200, "", page(last(q), min(TagPage, 2000-last(q)))
		}, 2000, 3, true, false},
		{"by Link, short pages", func(q *http.Request) (int, string, string) {
			if at := last(q); at < 20 {
				return 200, fmt.Sprintf(`</v2/acme/app/tags/list?n=10&last=t%06d>; rel="next"`, at+9), page(at, 10)
			}
			return 200, "", page(20, 3)
		}, 23, 3, true, false},
		{"last is ignored", func(*http.Request) (int, string, string) { return 200, "", page(0, TagPage) }, TagPage, 2, false, false},
		{"all at once, more than asked for", func(*http.Request) (int, string, string) { return 200, "", page(0, 3000) }, 3000, 2, false, false},
		{"Link in a circle", func(*http.Request) (int, string, string) {
			return 200, `</v2/acme/app/tags/list?last=x>; rel="next"`, page(0, 7)
		}, 7, 2, false, false},
		{"without an end", func(q *http.Request) (int, string, string) { return 200, "", page(last(q), TagPage) }, 100_000, 100, false, false},
		{"without an end, in small pages", func(q *http.Request) (int, string, string) {
			return 200, fmt.Sprintf(`</v2/acme/app/tags/list?last=t%06d>; rel="next"`, last(q)), page(last(q), 1)
		}, 100, 100, false, false},
		{"without an end, in great pages", func(q *http.Request) (int, string, string) { return 200, "", page(last(q), 30_000) }, 100_000, 4, false, false},
		{"to another host", func(*http.Request) (int, string, string) {
			return 200, `<http://192.0.2.1/v2/acme/app/tags/list?last=b>; rel="next"`, page(0, 2)
		}, 0, 1, false, true},
		{"to another host, later", func(q *http.Request) (int, string, string) {
			if last(q) > 0 {
				return 200, `<//elsewhere.example/v2/acme/app/tags/list?last=b>; rel="next"`, page(last(q), 2)
			}
			return 200, "", page(0, TagPage)
		}, TagPage, 2, false, true},
		{"refused later", func(q *http.Request) (int, string, string) {
			if last(q) > 0 {
				return 403, "", ""
			}
			return 200, "", page(0, TagPage)
		}, TagPage, 2, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			r := answered(t, func(w http.ResponseWriter, q *http.Request) {
				requests.Add(1)
				status, link, body := test.answer(q)
				w.Header().Set("Link", link)
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			})
			tags, all, err := r.Tags(t.Context())
			if len(tags) != test.tags || all != test.all || (err != nil) != test.fails || requests.Load() != test.requests {
				t.Errorf("%d tags, all %v, error %v, %d requests; want %d, %v, %v, %d", len(tags), all, err, requests.Load(), test.tags, test.all, test.fails, test.requests)
			}
			if !slices.IsSorted(tags) || len(slices.Compact(tags)) != test.tags {
				t.Error("some come twice, or out of order")
			}
		})
	}
}

// AwaitReferrers waits for the referrers of the same subject that this run is writing.
func TestAwaitReferrers(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	r := answered(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPut {
			close(began)
			<-goOn
		}
		w.WriteHeader(http.StatusCreated)
	})
	subject := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	m := referrer(subject, 1)
	written := make(chan error)
	go func() {
		_, err := r.PutManifest(t.Context(), m.Digest.String(), m)
		written <- err
	}()
	<-began
	if err := r.AwaitReferrers(t.Context(), m.Digest); err != nil {
		t.Error(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := r.AwaitReferrers(ended, subject.Digest); err == nil {
		t.Error("it does not wait")
	}
	close(goOn)
	if err := errors.Join(<-written, r.AwaitReferrers(t.Context(), subject.Digest)); err != nil {
		t.Error(err)
	}
}

// Invalid entries are left out and named, after a second read had the same ones.
func TestEntriesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	right := `{"digest":"` + sha(nil) + `","size":0}`
	long := `{"digest":"sha512:` + strings.Repeat("0", 128) + `","size":0}`
	for entry, name := range map[string]string{
		`{"digest":"blake3:` + strings.Repeat("0", 64) + `"}`: "blake3:" + strings.Repeat("0", 64),
		`{"digest":"sha256:short"}`:                           "sha256:short",
		`{"Digest":"` + sha(nil) + `"}`:                       sha(nil),
		`{"digest":"a\u001b[31m"}`:                            "a\ufffd[31m",
		`{}`:                                                  "{}", `[]`: "[]", `7`: "7",
	} {
		for _, body := range []string{entry + "," + right + "," + long, right + "," + long + "," + entry} {
			var asked atomic.Int32
			h := open200(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				index(w, `{"manifests":[`+body+`]}`)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				list, odd, err := r.ReadableReferrers(t.Context(), digestOf(nil))
				if err != nil || len(list) != 2 || len(odd) != 1 || !strings.HasPrefix(odd[0], name) {
					t.Errorf("%s: %d referrers, left out %q, error %v", body, len(list), odd, err)
				}
				if asked.Load() != 2 {
					t.Errorf("asked %d times", asked.Load())
				}
			})
		}
	}
}
