package graph_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const repo = "acme/app"

func open(t *testing.T, r *regtest.Registry) *registry.Repository {
	t.Helper()
	n, err := name.NewRepository(r.Host() + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := registry.New(registry.Options{}).Open(t.Context(), credential.Source, n, registry.Pull)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func push(t *testing.T, i *regtest.Image, to *regtest.Registry, tags ...string) {
	t.Helper()
	if err := i.Push(t.Context(), to.Access("", ""), repo, tags...); err != nil {
		t.Fatal(err)
	}
	to.ResetRequests()
}

// walk walks from a tag.
func walk(t *testing.T, r *regtest.Registry, tag string, attachments bool) (*graph.Graph, error) {
	t.Helper()
	opened := open(t, r)
	root, err := opened.GetManifest(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	w := graph.NewWalker(opened, attachments)
	if err := w.Walk(t.Context(), root); err != nil {
		return nil, err
	}
	return w.Graph(root.Digest), nil
}

func mustWalk(t *testing.T, r *regtest.Registry, tag string, attachments bool) *graph.Graph {
	t.Helper()
	g, err := walk(t, r, tag, attachments)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// everything is an index in an index, with attachments on every kind of node.
func everything() *regtest.Image {
	i := regtest.Build(regtest.Spec{
		Seed: "everything", Platforms: []string{"linux/amd64", "linux/arm64"}, Nested: true, Provenance: true, Layers: 2,
	})
	inner := i.Children()[0]
	for _, subject := range []string{i.Root, inner, childrenOf(i, inner)[0]} {
		bundle := i.Attach(subject, "application/vnd.example.bundle", "bundle")
		i.Attach(i.Attach(bundle, "application/vnd.example.counter", "counter"), "application/vnd.example.third", "third")
		i.Sign(i.Sign(subject, ".att", "on image"), ".sig", "on attestation")
		i.Sign(subject, ".sbom", "on image")
	}
	i.AttachIndex(i.Root, "application/vnd.example.tree", "index")
	return i
}

func childrenOf(i *regtest.Image, digest string) []string {
	var index struct{ Manifests []struct{ Digest string } }
	_ = json.Unmarshal(i.Manifest(digest).Bytes, &index)
	var digests []string
	for _, d := range index.Manifests {
		digests = append(digests, d.Digest)
	}
	return digests
}

func TestWalkFindsEverything(t *testing.T) {
	for _, api := range []bool{false, true} {
		for _, page := range []int64{0, 700} {
			t.Run(fmt.Sprintf("API %v pages of %d", api, page), func(t *testing.T) {
				t.Parallel()
				r := regtest.Serve(t, regtest.Options{Referrers: api, ReferrersPage: page})
				i := everything()
				for n := range 4 { // more than one page of them
					i.Attach(i.Root, "application/vnd.example.more", fmt.Sprint(n))
				}
				push(t, i, r, "dev")
				g := mustWalk(t, r, "dev", true)
				checkGraph(t, g, i)
				checkOrder(t, g)
				if len(g.Notices) > 0 {
					t.Error("notices:", g.Notices)
				}
			})
		}
	}
}

// checkGraph compares with the image as it was made.
func checkGraph(t *testing.T, g *graph.Graph, i *regtest.Image) {
	t.Helper()
	for _, m := range i.Manifests {
		h, _ := v1.NewHash(m.Digest)
		n := g.Node(h)
		if n == nil || !bytes.Equal(n.Raw, m.Bytes) || n.MediaType != m.MediaType {
			t.Errorf("manifest %s (tag %q, subject %q) is missing or different", m.Digest, m.Tag, m.Subject)
		}
		if m.Subject == "" && m.Tag == "" {
			continue
		}
		if !slices.ContainsFunc(g.Attachments, func(a graph.Attachment) bool {
			return a.Digest == h && a.Tag == m.Tag && (m.Subject == "" || a.Subject.String() == m.Subject)
		}) {
			t.Errorf("attachment %s (tag %q, subject %q) is not among %d", m.Digest, m.Tag, m.Subject, len(g.Attachments))
		}
	}
	for _, b := range i.Blobs {
		if !slices.ContainsFunc(g.Blobs(), func(d v1.Descriptor) bool { return d.Digest.String() == b.Digest && d.Size == b.Size }) {
			t.Errorf("blob %s is missing", b.Digest)
		}
	}
	if len(g.Blobs()) != len(i.Blobs) || g.Bytes() != i.Size() {
		t.Errorf("%d blobs of %d bytes, want %d of %d", len(g.Blobs()), g.Bytes(), len(i.Blobs), i.Size())
	}
}

// checkOrder: what a node needs stands before it, and nothing is there twice.
func checkOrder(t *testing.T, g *graph.Graph) {
	t.Helper()
	seen := map[v1.Hash]bool{}
	for _, n := range g.Nodes {
		for _, c := range n.Children {
			if g.Node(c.Digest) != nil && !seen[c.Digest] {
				t.Errorf("child %s stands after its index", c.Digest)
			}
		}
		if seen[n.Digest] {
			t.Errorf("%s stands there twice", n.Digest)
		}
		seen[n.Digest] = true
	}
}

func TestWalkWithoutAttachments(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Referrers: true})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm/v7"}, Provenance: true})
	i.Attach(i.Root, "application/x", "x")
	i.Sign(i.Root, ".sig", "x")
	push(t, i, r, "dev")
	g := mustWalk(t, r, "dev", false)
	if len(g.Attachments) != 0 || len(g.Nodes) != 5 {
		t.Errorf("%d attachments and %d nodes, want 0 and 5", len(g.Attachments), len(g.Nodes))
	}
	if got := g.Platforms(); !slices.Equal(got, []string{"linux/amd64", "linux/arm/v7"}) {
		t.Errorf("platforms %q", got)
	}
	if got := g.Images(); len(got) != 2 || got[0].Digest.String() != i.Children()[0] || got[1].Digest.String() != i.Children()[1] {
		t.Errorf("images %v", got)
	}
	for _, q := range r.Requests() {
		if strings.Contains(q.Path, "referrers") || strings.Contains(q.Path, "tags") || strings.Contains(q.Path, "sha256-") {
			t.Errorf("asked for attachments: %s %s", q.Method, q.Path)
		}
	}
}

func TestImagesOfASingleManifest(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{})
	push(t, i, r, "dev")
	g := mustWalk(t, r, "dev", true)
	if all := g.Images(); len(all) != 1 || all[0].Digest.String() != i.Root || len(g.Platforms()) != 0 {
		t.Errorf("images %v, platforms %q", all, g.Platforms())
	}
}

// TestWalkTogether: what two images share is read once, and each graph has its own.
func TestWalkTogether(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}})
	i.Sign(i.Children()[0], ".sig", "x")
	push(t, i, r, "both")
	one := index(t, r, "one", i.Manifest(i.Children()[0]))
	opened := open(t, r)
	a, err := opened.GetManifest(t.Context(), "both")
	if err != nil {
		t.Fatal(err)
	}
	b, err := opened.GetManifest(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	r.ResetRequests()
	w := graph.NewWalker(opened, true)
	if err := w.Walk(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Graph(a.Digest).Nodes); n != 4 {
		t.Errorf("the first graph has %d nodes, want 4", n)
	}
	g := w.Graph(b.Digest)
	if n := len(g.Nodes); n != 3 || b.Digest.String() != one {
		t.Errorf("the second graph has %d nodes, want 3", n)
	}
	if len(g.Attachments) != 1 {
		t.Errorf("the shared child has %d attachments, want 1", len(g.Attachments))
	}
	times := map[string]int{}
	for _, q := range r.Requests() {
		times[q.Path]++
	}
	for path, n := range times {
		if strings.Contains(path, "/manifests/sha256:") && n > 1 {
			t.Errorf("%s was read %d times", path, n)
		}
	}
}

// index pushes an index of manifests that are there.
func index(t *testing.T, r *regtest.Registry, tag string, children ...*regtest.Manifest) string {
	t.Helper()
	var lines []string
	for _, m := range children {
		lines = append(lines, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, m.MediaType, m.Digest, len(m.Bytes)))
	}
	return put(t, r, tag, types.OCIImageIndex, `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[`+strings.Join(lines, ",")+`]}`)
}

func put(t *testing.T, r *regtest.Registry, tag string, mediaType types.MediaType, body string) string {
	t.Helper()
	if err := regtest.PutManifest(t.Context(), r.Access("", ""), repo, tag, string(mediaType), []byte(body)); err != nil {
		t.Fatal(err)
	}
	return registry.NewManifest("", []byte(body)).Digest.String()
}

func TestMissingChild(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Delete: true})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm/v7"}})
	push(t, i, r, "dev")
	gone := i.Children()[1]
	if err := regtest.DeleteManifest(t.Context(), r.Access("", ""), repo, gone); err != nil {
		t.Fatal(err)
	}
	_, err := walk(t, r, "dev", true)
	var missing *graph.MissingError
	if !errors.As(err, &missing) || missing.Index.String() != i.Root || missing.Child.String() != gone || missing.Platform != "linux/arm/v7" {
		t.Fatalf("error %v, want one about child %s", err, gone)
	}
	if !errors.Is(err, registry.ErrNotFound) || !strings.Contains(err.Error(), gone) || !strings.Contains(err.Error(), "linux/arm/v7") {
		t.Errorf("error %v", err)
	}
}

// TestChildThatIsABlob is a build cache's index.
func TestChildThatIsABlob(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	digest, err := regtest.PutBlob(t.Context(), r.Access("", ""), repo, []byte("a layer"))
	if err != nil {
		t.Fatal(err)
	}
	list := func(mediaType types.MediaType) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":7}]}`, types.OCIImageIndex, mediaType, digest)
	}
	put(t, r, "cache", types.OCIImageIndex, list(types.OCILayer))
	g := mustWalk(t, r, "cache", true)
	if len(g.Blobs()) != 1 || g.Blobs()[0].Digest.String() != digest || len(g.Nodes) != 1 {
		t.Errorf("blobs %v of %d nodes", g.Blobs(), len(g.Nodes))
	}
	put(t, r, "lie", types.OCIImageIndex, list(types.OCIManifestSchema1)) // the same, called a manifest
	var missing *graph.MissingError
	if _, err := walk(t, r, "lie", true); !errors.As(err, &missing) {
		t.Errorf("error %v, want a MissingError", err)
	}
}

// TestBlobThatCannotBeLookedFor: what was not answered is not missing.
func TestBlobThatCannotBeLookedFor(t *testing.T) {
	refused := regtest.Answer(func(q *http.Request) bool { return strings.Contains(q.URL.Path, "/blobs/") }, http.StatusForbidden, "application/json", nil)
	strict := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.UserAgent() == regtest.Agent {
				next.ServeHTTP(w, q)
				return
			}
			refused(next).ServeHTTP(w, q)
		})
	}})
	digest, err := regtest.PutBlob(t.Context(), strict.Access("", ""), repo, []byte("a layer"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, strict, "cache", types.OCIImageIndex, fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":7}]}`, types.OCILayer, digest))
	_, err = walk(t, strict, "cache", true)
	var missing *graph.MissingError
	if errors.As(err, &missing) || !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("error %v, want ErrUnauthorized", err)
	}
}

// TestEntriesThatDoNotHold: what a list claims is checked against the manifests.
func TestEntriesThatDoNotHold(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Seed: "one"})
	good := i.Attach(i.Root, "application/vnd.example.good", "good")
	push(t, i, r, "dev")
	other := regtest.Build(regtest.Spec{Seed: "other"})
	foreign := other.Attach(other.Root, "application/vnd.example.foreign", "foreign")
	push(t, other, r, "other")
	both := put(t, r, "odd", types.OCIImageIndex, `{"schemaVersion":2,"manifests":[],"layers":[],"subject":`+describe(i.Manifest(i.Root))+`}`)
	gone := registry.NewManifest("", []byte("gone"))
	lines := []string{
		describe(i.Manifest(good)), describe(other.Manifest(foreign)), describe(other.Manifest(other.Root)),
		`{"mediaType":"` + string(types.OCIManifestSchema1) + `","digest":"` + gone.Digest.String() + `","size":4}`,
		`{"mediaType":"` + string(types.OCIImageIndex) + `","digest":"` + both + `","size":4}`,
	}
	// olareg looks whether what an index lists is there.
	list := `{"schemaVersion":2,"mediaType":"` + string(types.OCIImageIndex) + `","manifests":[` + strings.Join(lines, ",") + `]}`
	tag := strings.Replace(i.Root, ":", "-", 1)
	lying := regtest.Serve(t, regtest.Options{Backend: regtest.Answer(func(q *http.Request) bool {
		return strings.HasSuffix(q.URL.Path, "/manifests/"+tag)
	}, http.StatusOK, string(types.OCIImageIndex), []byte(list))(forward(r))})
	g := mustWalk(t, lying, "dev", true)
	if len(g.Nodes) != 2 || len(g.Attachments) != 1 || g.Attachments[0].Digest.String() != good {
		t.Errorf("%d nodes and attachments %v, want 2 and %s", len(g.Nodes), g.Attachments, good)
	}
	for digest, reason := range map[string]string{
		foreign: "does not name it", other.Root: "does not name it", gone.Digest.String(): "is gone", both: "cannot be read",
	} {
		if !slices.ContainsFunc(g.Notices, func(s string) bool {
			return strings.Contains(s, digest) && strings.Contains(s, reason) && strings.Contains(s, "left out")
		}) {
			t.Errorf("no notice that %s %s: %q", digest, reason, g.Notices)
		}
	}
	if len(g.Notices) != 4 {
		t.Errorf("notices: %q", g.Notices)
	}
}

// TestListedIndex: what was read already for another reason is no attachment
// either, unless it says so itself.
func TestListedIndex(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}})
	push(t, i, r, "dev")
	put(t, r, strings.Replace(i.Children()[0], ":", "-", 1), types.OCIImageIndex,
		`{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[`+describe(i.Manifest(i.Root))+`]}`)
	g := mustWalk(t, r, "dev", true)
	if len(g.Attachments) != 0 || len(g.Notices) != 1 || !strings.Contains(g.Notices[0], i.Root) {
		t.Errorf("attachments %v, notices %q", g.Attachments, g.Notices)
	}
}

func describe(m *regtest.Manifest) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, m.MediaType, m.Digest, len(m.Bytes))
}

// forward sends requests on to a registry.
func forward(to *regtest.Registry) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		out, err := http.NewRequestWithContext(q.Context(), q.Method, "http://"+to.Host()+q.URL.RequestURI(), q.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		out.Header = q.Header
		answer, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		for key, values := range answer.Header {
			w.Header()[key] = values
		}
		w.WriteHeader(answer.StatusCode)
		var b bytes.Buffer
		_, _ = b.ReadFrom(answer.Body)
		_ = answer.Body.Close()
		_, _ = w.Write(b.Bytes())
	})
}

// hostile serves manifests that no registry would take. It counts the requests.
type hostile struct {
	manifests map[string]registry.Manifest // by digest and by tag
	requests  atomic.Int64
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	h.requests.Add(1)
	switch {
	case q.URL.Path == "/v2/":
		return
	case strings.HasSuffix(q.URL.Path, "/tags/list"): // so that every tag is asked for
		w.WriteHeader(http.StatusForbidden)
		return
	}
	ref := q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]
	m, ok := h.manifests[ref]
	if !ok || !strings.Contains(q.URL.Path, "/manifests/") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", m.MediaType)
	_, _ = w.Write(m.Raw)
}

func (h *hostile) add(mediaType types.MediaType, body string, names ...string) registry.Manifest {
	if h.manifests == nil {
		h.manifests = map[string]registry.Manifest{}
	}
	m := registry.NewManifest(string(mediaType), []byte(body))
	for _, n := range append(names, m.Digest.String()) {
		h.manifests[n] = m
	}
	return m
}

// indexOf is an index with lines as they are.
func indexOf(lines ...string) string { return `{"manifests":[` + strings.Join(lines, ",") + `]}` }

func numbered(n int) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%064x", n)} }

func numberedLines(mediaType types.MediaType, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = `{"mediaType":"` + string(mediaType) + `","digest":"` + numbered(i).String() + `","size":1}`
	}
	return lines
}

// TestBounds: an image made to exhaust the program is refused after few requests.
func TestBounds(t *testing.T) {
	long(t)
	tests := []struct {
		name string
		make func(h *hostile)
		most int64 // requests
	}{
		{"indexes in indexes", func(h *hostile) {
			m := h.add(types.OCIImageIndex, indexOf())
			for range 2 * graph.MaxDepth {
				m = h.add(types.OCIImageIndex, indexOf(line(types.OCIImageIndex, m.Digest, "")), "dev")
			}
		}, 200},
		{"attachments of attachments", func(h *hostile) {
			m := h.add(types.OCIManifestSchema1, `{"layers":[]}`, "dev")
			for range 2 * graph.MaxDepth {
				next := h.add(types.OCIManifestSchema1, `{"layers":[],"subject":`+line(types.OCIManifestSchema1, m.Digest, "")+`}`)
				h.add(types.OCIImageIndex, indexOf(line(types.OCIManifestSchema1, next.Digest, "")), strings.Replace(m.Digest.String(), ":", "-", 1))
				m = next
			}
		}, 300},
		{"an index of many children", func(h *hostile) {
			h.add(types.OCIImageIndex, indexOf(numberedLines("a/b", graph.MaxManifests+1)...), "dev")
		}, 10},
		{"a list of many attachments", func(h *hostile) {
			m := h.add(types.OCIManifestSchema1, `{"layers":[]}`, "dev")
			h.add(types.OCIImageIndex, indexOf(numberedLines("a/b", graph.MaxManifests+1)...), strings.Replace(m.Digest.String(), ":", "-", 1))
		}, 10},
		{"many blobs", func(h *hostile) {
			var children []string
			for i := range 5 {
				lines := numberedLines("a/b", graph.MaxBlobs/5+1)
				m := h.add(types.OCIManifestSchema1, `{"annotations":{"n":"`+fmt.Sprint(i)+`"},"layers":[`+strings.Join(lines, ",")+`]}`)
				children = append(children, line(types.OCIManifestSchema1, m.Digest, ""))
			}
			h.add(types.OCIImageIndex, indexOf(children...), "dev")
		}, 50},
		{"large manifests", func(h *hostile) {
			var children []string
			for i := range 11 {
				m := h.add(types.OCIManifestSchema1, `{"layers":[],"annotations":{"n":"`+fmt.Sprint(i)+strings.Repeat("x", 3<<20)+`"}}`)
				children = append(children, line(types.OCIManifestSchema1, m.Digest, ""))
			}
			h.add(types.OCIImageIndex, indexOf(children...), "dev")
		}, 150},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := &hostile{}
			test.make(h)
			_, err := walk(t, regtest.Serve(t, regtest.Options{Backend: h}), "dev", true)
			var refused *registry.Error
			if !errors.As(err, &refused) || refused.Op != "walk" {
				t.Errorf("error %v, want one about the bounds", err)
			}
			if n := h.requests.Load(); n > test.most {
				t.Errorf("%d requests, want at most %d", n, test.most)
			}
		})
	}
}

// TestSharedChildrenDoNotMultiply: a graph whose paths are as many as 4^12 has 12 nodes.
func TestSharedChildrenDoNotMultiply(t *testing.T) {
	h := &hostile{}
	m := h.add(types.OCIManifestSchema1, `{"layers":[]}`)
	for range 12 {
		l := line(types.OCIManifestSchema1, m.Digest, "")
		m = h.add(types.OCIImageIndex, indexOf(l, l, l, l), "dev")
	}
	g := mustWalk(t, regtest.Serve(t, regtest.Options{Backend: h}), "dev", false)
	if len(g.Nodes) != 13 || len(g.Images()) != 1 {
		t.Errorf("%d nodes and %d images, want 13 and 1", len(g.Nodes), len(g.Images()))
	}
	if n := h.requests.Load(); n > 15 {
		t.Errorf("%d requests", n)
	}
}

// TestNoticesAreFew: a long list of what is gone makes no long report.
func TestNoticesAreFew(t *testing.T) {
	long(t)
	h := &hostile{}
	m := h.add(types.OCIManifestSchema1, `{"layers":[]}`, "dev")
	h.add(types.OCIImageIndex, indexOf(numberedLines("a/b", 500)...), strings.Replace(m.Digest.String(), ":", "-", 1))
	g := mustWalk(t, regtest.Serve(t, regtest.Options{Backend: h}), "dev", true)
	if len(g.Notices) != 21 || !strings.HasPrefix(g.Notices[20], "480 more") {
		t.Errorf("%d notices, the last %q", len(g.Notices), g.Notices[len(g.Notices)-1])
	}
}

// TestTagThatNamesTheRoot: a cosign tag can hold anything, what it hangs on included.
func TestTagThatNamesTheRoot(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}})
	push(t, i, r, "dev")
	tag := strings.Replace(i.Children()[0], ":", "-", 1) + ".sig"
	if err := regtest.PutTag(t.Context(), r.Access("", ""), repo, tag, "dev"); err != nil {
		t.Fatal(err)
	}
	g := mustWalk(t, r, "dev", true)
	if len(g.Nodes) != 2 || len(g.Attachments) != 1 || g.Attachments[0].Digest.String() != i.Root || g.Attachments[0].Tag != tag {
		t.Errorf("%d nodes, attachments %v", len(g.Nodes), g.Attachments)
	}
	checkOrder(t, g)
}

// TestListDamagedOnTheWay: a line of the API's list that names nothing is asked
// for again before it is given up.
func TestListDamagedOnTheWay(t *testing.T) {
	i := regtest.Build(regtest.Spec{})
	hex := strings.TrimPrefix(i.Attach(i.Root, "application/x", "x"), "sha256:")
	damaged := "0" + hex[1:]
	if damaged == hex {
		damaged = "1" + hex[1:]
	}
	var answers atomic.Int32
	r := regtest.Serve(t, regtest.Options{Referrers: true, Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if !strings.HasSuffix(q.URL.Path, "/referrers/"+i.Root) || answers.Add(1) > 1 {
				next.ServeHTTP(w, q)
				return
			}
			got := httptest.NewRecorder()
			next.ServeHTTP(got, q)
			w.Header().Set("Content-Type", got.Header().Get("Content-Type"))
			_, _ = w.Write(bytes.ReplaceAll(got.Body.Bytes(), []byte(hex), []byte(damaged)))
		})
	}})
	push(t, i, r, "dev")
	answers.Store(0)
	g := mustWalk(t, r, "dev", true)
	if len(g.Attachments) != 1 || len(g.Notices) > 0 {
		t.Errorf("attachments %v, notices %q", g.Attachments, g.Notices)
	}
	if answers.Load() != 2 {
		t.Errorf("the list was asked for %d times", answers.Load())
	}
}

// TestUntypedChild has the type that its index gives it, where neither it nor the registry
// states one that a manifest has; and its own where it states one.
func TestUntypedChild(t *testing.T) {
	t.Parallel()
	for _, served := range []string{"text/plain", "application/octet-stream", "", "application/json; charset=utf-8"} {
		for stated, want := range map[string]string{
			"": string(types.DockerManifestSchema2),
			`"mediaType":"` + string(types.OCIManifestSchema1) + `",`: string(types.OCIManifestSchema1),
		} {
			child := []byte(`{` + stated + `"schemaVersion":2,"config":{"mediaType":"` + string(types.DockerConfigJSON) + `","size":2,"digest":"` + digest([]byte("{}")) + `"},"layers":[]}`)
			index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"size":%d,"digest":%q}]}`,
				types.DockerManifestList, types.DockerManifestSchema2, len(child), digest(child))
			r := regtest.Serve(t, regtest.Options{Backend: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case strings.HasSuffix(q.URL.Path, "/manifests/dev"), strings.HasSuffix(q.URL.Path, digest(index)):
					w.Header().Set("Docker-Content-Digest", digest(index))
					_, _ = w.Write(index)
				case strings.HasSuffix(q.URL.Path, digest(child)):
					w.Header().Set("Content-Type", served)
					_, _ = w.Write(child)
				case q.URL.Path != "/v2/":
					http.NotFound(w, q)
				}
			})})
			g, err := walk(t, r, "dev", false)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range g.Nodes {
				if n.Digest.String() == digest(child) && n.MediaType != want {
					t.Errorf("served as %q: %s, want %s", served, n.MediaType, want)
				}
			}
			if len(g.Nodes) != 2 {
				t.Errorf("%d manifests", len(g.Nodes))
			}
		}
	}
}

func digest(b []byte) string { return registry.NewManifest("", b).Digest.String() }

// TestOddEntries of a list of what is attached are left out with a notice, by the API and
// in a fallback tag; the rest is carried.
func TestOddEntries(t *testing.T) {
	t.Parallel()
	odd := `{"mediaType":"a/b","size":1,"digest":"blake3:` + strings.Repeat("0", 64) + `"}`
	i := regtest.Build(regtest.Spec{})
	i.Attach(i.Root, "application/x", "x")
	for name, o := range map[string]regtest.Options{
		"API":      {Referrers: true, Traits: []regtest.Trait{regtest.OddReferrers(odd, `{"digest":7}`)}},
		"fallback": {},
	} {
		r := regtest.Serve(t, o)
		push(t, i, r, "dev")
		if !o.Referrers {
			list := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s,{"mediaType":%q,"digest":%q,"size":%d}]}`,
				types.OCIImageIndex, odd, types.OCIManifestSchema1, i.Manifests[len(i.Manifests)-1].Digest, len(i.Manifests[len(i.Manifests)-1].Bytes))
			r = regtest.Serve(t, regtest.Options{Wrap: regtest.Answer(func(q *http.Request) bool {
				return strings.HasSuffix(q.URL.Path, "/manifests/"+strings.Replace(i.Root, ":", "-", 1)) && q.UserAgent() != regtest.Agent
			}, http.StatusOK, string(types.OCIImageIndex), []byte(list))})
			push(t, i, r, "dev")
		}
		g, err := walk(t, r, "dev", true)
		if err != nil {
			t.Fatal(name, err)
		}
		if len(g.Attachments) != 1 || len(g.Notices) == 0 || !strings.Contains(strings.Join(g.Notices, "\n"), "blake3:") {
			t.Errorf("%s: %d attachments, notices %q", name, len(g.Attachments), g.Notices)
		}
	}
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}
