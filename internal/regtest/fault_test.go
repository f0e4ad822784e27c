package regtest_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

func isPut(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
}

func isGet(r *http.Request) bool { return r.Method == http.MethodGet }

func TestFailOnce(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Wrap: regtest.FailOnce(isPut, http.StatusServiceUnavailable)})
	i := regtest.Build(regtest.Spec{})
	if err := i.Push(t.Context(), r.Access("", ""), "acme/app", "v1"); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("first push: %v", err)
	}
	if exists := tagExists(t, r, "v1"); exists {
		t.Error("a tag after a failed push")
	}
	push(t, i, r.Access("", ""), "acme/app", "v1")
}

func tagExists(t *testing.T, r *regtest.Registry, tag string) bool {
	t.Helper()
	_, exists, err := regtest.TagDigest(t.Context(), r.Access("", ""), "acme/app", tag)
	if err != nil {
		t.Fatal(err)
	}
	return exists
}

func isTagPut(r *http.Request) bool { return isPut(r) && strings.HasSuffix(r.URL.Path, "/v1") }

func TestResets(t *testing.T) {
	far := &regtest.Network{RTT: 2 * time.Millisecond}
	tests := map[string]struct {
		fault func(func(*http.Request) bool) func(http.Handler) http.Handler
		done  bool
	}{
		"before": {regtest.ResetBefore, false},
		"after":  {regtest.ResetAfter, true},
	}
	for name, test := range tests {
		for _, options := range []regtest.Options{{}, {Network: far}, {TLS: true}, {TLS: true, Network: far}} {
			options.Wrap = test.fault(isTagPut)
			r := regtest.Serve(t, options)
			i := regtest.Build(regtest.Spec{})
			if err := i.Push(t.Context(), r.Access("", ""), "acme/app", "v1"); err == nil {
				t.Errorf("%s: the connection was not cut", name)
			}
			requests := r.Requests()
			if last := requests[len(requests)-1]; last.Status != 0 || last.Method != http.MethodPut {
				t.Errorf("%s: last request is %+v, want one with no answer", name, last)
			}
			if done := tagExists(t, r, "v1"); done != test.done {
				t.Errorf("%s: tag written %v, want %v", name, done, test.done)
			}
			push(t, i, r.Access("", ""), "acme/app", "v1")
		}
	}
}

func TestCutBody(t *testing.T) {
	isBlob := func(r *http.Request) bool { return isGet(r) && strings.Contains(r.URL.Path, "/blobs/") }
	for _, after := range []int64{0, 1, 50_000} {
		r := regtest.Serve(t, regtest.Options{Wrap: regtest.CutBody(isBlob, after)})
		i := regtest.Build(regtest.Spec{LayerSize: 200_000})
		push(t, i, r.Access("", ""), "acme/app", "v1")
		layer := i.Blobs[0]
		address := "http://" + r.Host() + "/v2/acme/app/blobs/" + layer.Digest
		if n, err := fetched(t, address); err == nil || n != after {
			t.Errorf("%d bytes and %v, want %d and an error", n, err, after)
		}
		if n, err := fetched(t, address); err != nil || n != layer.Size {
			t.Errorf("again: %d bytes and %v", n, err)
		}
	}
}

func fetched(t *testing.T, address string) (int64, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	var text bytes.Buffer
	return text.ReadFrom(answer.Body)
}

func TestAnswerServesWhatNoRegistryTakes(t *testing.T) {
	const schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	match := func(r *http.Request) bool { return isGet(r) && strings.HasSuffix(r.URL.Path, "/old") }
	r := regtest.Serve(t, regtest.Options{Wrap: regtest.Answer(match, 200, schema1, []byte(`{"schemaVersion":1}`))})
	mediaType, text, err := regtest.GetManifest(t.Context(), r.Access("", ""), "acme/app", "old")
	if err != nil || mediaType != schema1 || string(text) != `{"schemaVersion":1}` {
		t.Errorf("%s %s %v", mediaType, text, err)
	}
	if tagExists(t, r, "new") {
		t.Error("every tag is answered")
	}
}

func TestChainKeepsOrder(t *testing.T) {
	label := func(name string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Add("Layer", name)
				next.ServeHTTP(w, r)
			})
		}
	}
	r := regtest.Serve(t, regtest.Options{Wrap: regtest.Chain(label("outer"), label("inner"))})
	answer, _ := ask(t, "GET", "http://"+r.Host()+"/v2/", nil, "")
	if got := strings.Join(answer.Header.Values("Layer"), " "); got != "outer inner" {
		t.Errorf("layers %s", got)
	}
}
