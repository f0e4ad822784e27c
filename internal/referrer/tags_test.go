package referrer_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// changed answers the nth request for a list of tags with other tags than there are.
func changed(nth int32, old, changed string) func(http.Handler) http.Handler {
	var n atomic.Int32
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.UserAgent() == regtest.Agent || !strings.HasSuffix(q.URL.Path, "/tags/list") || n.Add(1) != nth {
				next.ServeHTTP(w, q)
				return
			}
			got := httptest.NewRecorder()
			next.ServeHTTP(got, q)
			_, _ = w.Write(bytes.ReplaceAll(got.Body.Bytes(), []byte(old), []byte(changed)))
		})
	}
}

// TestListOfTagsDamagedOnTheWay: whichever of the two lists lacks a tag, what is
// under it is found.
func TestListOfTagsDamagedOnTheWay(t *testing.T) {
	image := regtest.Build(regtest.Spec{})
	image.Sign(image.Root, ".sig", "x")
	for nth := range int32(2) {
		r := regtest.Serve(t, regtest.Options{Wrap: changed(nth+1, ".sig", ".sib")})
		if err := image.Push(t.Context(), r.Access("", ""), repo, "dev"); err != nil {
			t.Fatal(err)
		}
		found, err := finder(t, r).Find(t.Context(), parse(t, image.Root), false, nil)
		if err != nil || len(found.Tagged) != 1 {
			t.Errorf("list %d damaged: found %v, error %v", nth+1, found.Tagged, err)
		}
	}
}

// TestAttachInAnEmptyRepository: where there was no tag, a list is written
// without being read before, once; and what is then there is added to.
func TestAttachInAnEmptyRepository(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	image := regtest.Build(regtest.Spec{})
	if err := image.Push(t.Context(), r.Access("", ""), repo); err != nil {
		t.Fatal(err)
	}
	s := parse(t, image.Root)
	f := finder(t, r)
	if !f.Empty(t.Context()) {
		t.Fatal("a repository without tags does not pass for empty")
	}
	r.ResetRequests()
	var untagged []v1.Descriptor
	for _, seed := range []string{"one", "two"} {
		other := regtest.Build(regtest.Spec{Seed: seed})
		if err := other.Push(t.Context(), r.Access("", ""), repo); err != nil {
			t.Fatal(err)
		}
		m := other.Manifest(other.Root)
		untagged = append(untagged, describe(t, m.MediaType, m.Bytes))
	}
	one, two := untagged[0], untagged[1]
	for _, d := range []struct {
		add   v1.Descriptor
		reads int
	}{{one, 1}, {two, 1}} { // each once it was written: what was just read is not read again before
		r.ResetRequests()
		if _, err := f.Attach(t.Context(), s, []v1.Descriptor{d.add}); err != nil {
			t.Fatal(err)
		}
		reads := 0
		for _, q := range r.Requests() {
			if q.Method == http.MethodGet && strings.HasSuffix(q.Path, "/"+referrer.FallbackTag(s)) {
				reads++
			}
		}
		if reads != d.reads {
			t.Errorf("%s: the list was read %d times, want %d", d.add.Digest, reads, d.reads)
		}
	}
	if missing, err := finder(t, r).Missing(t.Context(), s, []v1.Descriptor{one, two}); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, error %v", missing, err)
	}
	if finder(t, r).Empty(t.Context()) {
		t.Error("a repository with a list passes for empty")
	}
}

// TestTagsOfTheFinder: what it has been told already it does not ask for again, and where one answer is not all, it goes on.
func TestTagsOfTheFinder(t *testing.T) {
	for name, test := range map[string]struct {
		pages    []string // bodies; each but the last links to the next
		status   int
		want     string
		all      bool
		fails    bool
		requests int32 // for the tags, asked for twice, after the first question took two
	}{
		"one page":    {pages: []string{`{"tags":["b","a"]}`}, status: 200, want: "[a b]", all: true},
		"three pages": {pages: []string{`{"tags":["a","b"]}`, `{"tags":["b","c"]}`, `{"tags":["d"]}`}, status: 200, want: "[a b c d]", all: true, requests: 3},
		"refused":     {pages: []string{``}, status: 403, want: "[]", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			r := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if !strings.HasSuffix(q.URL.Path, "/tags/list") {
						next.ServeHTTP(w, q)
						return
					}
					requests.Add(1)
					page := len(q.FormValue("last"))
					if page < len(test.pages)-1 {
						w.Header().Set("Link", `<`+q.URL.Path+`?last=`+strings.Repeat("x", page+1)+`>; rel="next"`)
					}
					w.WriteHeader(test.status)
					_, _ = w.Write([]byte(test.pages[page]))
				})
			}})
			f := finder(t, r)
			f.Prepare(t.Context())
			before := requests.Load()
			for range 2 {
				tags, all, err := f.Tags(t.Context())
				if fmt.Sprint(tags) != test.want || all != test.all || (err != nil) != test.fails {
					t.Errorf("%v, all %v, error %v", tags, all, err)
				}
			}
			if n := requests.Load() - before; n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
		})
	}
}

// A web page in place of the referrers API is said: attachments that only the API lists are
// left behind.
func TestPageInPlaceOfTheAPI(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Referrers: true, Traits: []regtest.Trait{regtest.LoginPage(func(q *http.Request) bool {
		return strings.Contains(q.URL.Path, "/referrers/")
	})}})
	f := referrer.NewFinder(open(t, registry.New(registry.Options{}), reg))
	if api, err := f.HasAPI(t.Context(), v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)}); api || err != nil {
		t.Errorf("API %v, error %v", api, err)
	}
	if n := f.Notices(); len(n) != 1 || !strings.Contains(n[0], "answers with a web page") {
		t.Errorf("notices %q", n)
	}
}
