package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// listed is a registry with a few tags and a vendor's trait of listing them.
func listed(t *testing.T, trait regtest.Trait) (*regtest.Registry, *Repository) {
	t.Helper()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{trait}})
	for _, tag := range []string{"dev", "staging"} {
		tagged(t, reg, regtest.Access{}, "acme/app", tag)
	}
	return reg, target(t, reg, "acme/app")
}

// A refused size of a page is reduced once for the whole run.
func TestSmallerPagesOfTags(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]string{500: "n=1000 n=100 n=100", 50: "n=1000 n=100  "} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			reg, r := listed(t, regtest.PageLimit(most))
			for range 2 {
				tags, all, err := r.Tags(t.Context())
				if err != nil || !all || fmt.Sprint(tags) != "[dev staging]" {
					t.Errorf("%v, all %v, error %v", tags, all, err)
				}
			}
			var asked []string
			for _, q := range matching(reg, "tags/list$") {
				asked = append(asked, q.Query)
			}
			if got := strings.Join(asked, " "); got != want {
				t.Errorf("asked %q, want %q", got, want)
			}
		})
	}
}

// If a registry refuses pages of every size, that is the error.
func TestTagListThatIsRefused(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	r := answered(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusBadRequest)
	})
	if _, _, err := r.Tags(t.Context()); err == nil || requests.Load() != 3 {
		t.Errorf("error %v after %d requests, want one after 3", err, requests.Load())
	}
}

// Fields beside the tags are skipped, whatever their size.
func TestTagListWithEveryManifest(t *testing.T) {
	t.Parallel()
	_, r := listed(t, regtest.ListWithManifests(3<<20))
	if tags, all, err := r.Tags(t.Context()); err != nil || !all || fmt.Sprint(tags) != "[dev staging]" {
		t.Errorf("%v, all %v, error %v", tags, all, err)
	}
}

func TestTagsThatAreNull(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.TagsNull()}})
	r := target(t, reg, "acme/app")
	if tags, all, err := r.Tags(t.Context()); err != nil || !all || len(tags) != 0 {
		t.Errorf("%v, all %v, error %v", tags, all, err)
	}
}

// A full page without Link, at a registry that refuses last, is the end. The list may be incomplete.
func TestFullPageOfTagsWithoutLink(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusNotImplemented} {
		r := answered(t, func(w http.ResponseWriter, q *http.Request) {
			if q.FormValue("last") != "" {
				w.WriteHeader(code)
				return
			}
			_, _ = io.WriteString(w, `{"tags":["t"`+strings.Repeat(`,"t"`, TagPage-1)+`]}`)
		})
		if tags, all, err := r.Tags(t.Context()); err != nil || all || len(tags) != TagPage {
			t.Errorf("%d: %d tags, all %v, error %v", code, len(tags), all, err)
		}
	}
}

// FirstTags is retried for some seconds, Tags for a minute.
func TestTagListThatTimesOut(t *testing.T) {
	t.Parallel()
	h := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) }
	bubble(t, h, func(t *testing.T, r *Repository) {
		began := time.Now()
		if _, _, err := r.FirstTags(t.Context()); err == nil {
			t.Error("no error")
		}
		took(t, began, time.Second, 15*time.Second)
		began = time.Now()
		if _, _, err := r.Tags(t.Context()); err == nil {
			t.Error("no error")
		}
		took(t, began, 30*time.Second, 2*time.Minute)
	})
}

func TestRepositoryThatExists(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		status        int
		body          string
		exists, known bool
		fails         bool
	}{
		{"tags", 200, `{"tags":["a"]}`, true, true, false},
		{"none", 200, `{"tags":[]}`, true, true, false},
		{"unknown name", 404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, false, true, false},
		{"no list", 404, `404 page not found`, true, false, false},
		{"denied", 403, `{"errors":[{"code":"DENIED"}]}`, true, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := answered(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			exists, known, err := r.Exists(t.Context())
			if exists != test.exists || known != test.known || (err != nil) != test.fails {
				t.Errorf("exists %v, known %v, error %v", exists, known, err)
			}
		})
	}
}

func TestExtractTags(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"name":"a","tags":["x","y"],"manifest":{"a":{"tag":["z"]}}}`: `{"tags":["x","y"]}`,
		`{"child":[[{}],"tags"],"tags":[]}`:                            `{"tags":[]}`,
		`{"tags":null}`:                                                `{"tags":null}`,
		`{"Tags":["x"]}`:                                               `{}`,
		`{"a":{"tags":[]}}`:                                            `{}`,
		`{"tags":["x",1]}`:                                             "", `{"tags":{}}`: "", `{"tags":["x"]`: "", `{"tags":["x"]} {}`: "", `[]`: "", ``: "", `<html>`: "",
		`{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`: "",
		`{"tags":["t"` + strings.Repeat(`,"t"`, maxTags+1) + `]}`:           "",
	} {
		got, err := extractTags(strings.NewReader(body))
		if string(got) != want || (err != nil) != (want == "") {
			t.Errorf("%.60s gives %s, error %v", body, got, err)
		}
	}
	broken := errors.New("connection lost")
	if _, err := extractTags(io.MultiReader(strings.NewReader(`{"tags":["x"`), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the connection", err)
	}
}
