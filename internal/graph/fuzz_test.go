package graph_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// FuzzWalk: the registry is a stranger's too. What its bytes make of manifests, lists and tags is walked in a bounded
// number of requests, and what comes out hangs together.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "i\x00", "m\x00\x01", "m\x01i\x01\x00", "mmi\x00\x01i\x02\x02", "i\xff", "i\x00i\x01i\x02i\x03i\x04",
		"mr\x00r\x01", "mr\x00a\x01\x00", "mf\x00\x00", "ms\x00\x00", "mr\x00s\x00\x01", "x{\x00", "x[]\x00i\x00", "mi\x00d\x01",
		"mr\x00a\x00\x01a\x00\x00a\x01\x00", "mi\x00w\x00", "mmmmi\x00\x01\x02\x03r\x04a\x04\x05",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, recipe []byte, attachments bool) {
		s := cook(recipe[:min(len(recipe), 400)]) // longer ones only take long
		client := registry.New(registry.Options{Transport: s, RetryFor: time.Millisecond})
		n, err := name.NewRepository("stranger.example/" + repo)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := client.Open(t.Context(), credential.Source, n, registry.Pull)
		if err != nil {
			t.Fatal(err)
		}
		root := registry.NewManifest(string(s.types[s.root]), []byte(s.manifests[s.root]))
		w := graph.NewWalker(opened, attachments)
		err = w.Walk(t.Context(), root)
		if most := 200 * (len(s.manifests) + 8); s.asked > most {
			t.Errorf("%d requests for %d manifests", s.asked, len(s.manifests))
		}
		if err != nil {
			if len(err.Error()) > 8<<10 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		checkWalked(t, w.Graph(root.Digest), root.Digest, attachments)
	})
}

// checkWalked holds what is true of every graph.
func checkWalked(t *testing.T, g *graph.Graph, root v1.Hash, attachments bool) {
	checkOrder(t, g)
	if g.Node(root) == nil || !attachments && len(g.Attachments) > 0 {
		t.Fatalf("the graph of %s has %d nodes, %d attachments", root, len(g.Nodes), len(g.Attachments))
	}
	blobs, seen := map[v1.Hash]bool{}, map[v1.Hash]bool{}
	for _, b := range g.Blobs() {
		if blobs[b.Digest] {
			t.Errorf("blob %s twice", b.Digest)
		}
		blobs[b.Digest] = true
	}
	for _, n := range g.Nodes {
		if seen[n.Digest] || registry.NewManifest("", n.Raw).Digest != n.Digest {
			t.Errorf("node %s is there twice, or is not what it says", n.Digest)
		}
		seen[n.Digest] = true
		for _, c := range n.Children {
			if g.Node(c.Digest) == nil && !blobs[c.Digest] {
				t.Errorf("child %s is lost", c.Digest)
			}
		}
		for _, b := range n.Blobs {
			if !blobs[b.Digest] {
				t.Errorf("blob %s is lost", b.Digest)
			}
		}
	}
	for _, a := range g.Attachments {
		n := g.Node(a.Digest)
		if n == nil || g.Node(a.Subject) == nil && !blobs[a.Subject] || a.Tag == "" && n.Subject != a.Subject {
			t.Errorf("attachment %+v hangs in the air", a)
		}
	}
}

// stranger is a registry without a network: it answers what the recipe put in.
type stranger struct {
	manifests []string
	types     []types.MediaType
	root      int
	answers   map[string][]byte // by path below /v2/<repository>/
	kinds     map[string]types.MediaType

	mu    sync.Mutex
	asked int
}

// cook reads a recipe. Each letter makes a manifest, of what the numbers after it name of those before:
//
//	m an image     i an index of those    r an image attached to one, which says so
//	x raw text     a a list of referrers of the first, of the others    f the same as a tag
//	s a cosign tag of the first, for the second    d what a digest answers is another manifest
//	w a child that is a blob
func cook(recipe []byte) *stranger {
	s := &stranger{answers: map[string][]byte{}, kinds: map[string]types.MediaType{}}
	for len(recipe) > 0 {
		op := recipe[0]
		args := recipe[1:]
		end := bytes.IndexFunc(args, func(r rune) bool { return r >= 'a' && r <= 'z' })
		if end < 0 {
			end = len(args)
		}
		s.add(op, args[:end])
		recipe = args[end:]
	}
	if len(s.manifests) == 0 {
		s.manifest("{}", types.OCIManifestSchema1)
	}
	s.root = len(s.manifests) - 1
	return s
}

func (s *stranger) add(op byte, args []byte) {
	var lines []string
	for _, n := range args {
		lines = append(lines, line(s.typeOf(n), s.digest(n), ""))
	}
	list := `{"schemaVersion":2,"mediaType":"` + string(types.OCIImageIndex) + `","manifests":[` + strings.Join(lines, ",") + `]}`
	switch op {
	case 'i':
		s.manifest(list, types.OCIImageIndex)
	case 'm':
		s.manifest(fmt.Sprintf(`{"config":%s,"layers":[%s],"n":%q}`, config(numbered(1)), strings.Join(lines, ","), args), types.OCIManifestSchema1)
	case 'r':
		for _, n := range args {
			s.manifest(fmt.Sprintf(`{"config":%s,"layers":[],"subject":%s}`, config(numbered(2)), line(s.typeOf(n), s.digest(n), "")), types.OCIManifestSchema1)
		}
	case 'x':
		s.manifest(string(args), types.OCIImageIndex)
	case 'w':
		s.manifest(`{"manifests":[`+strings.Join(append(lines, layer(numbered(3))), ",")+`]}`, types.OCIImageIndex)
		s.answer("blobs/"+numbered(3).String(), []byte("x"), types.OCILayer)
	}
	if len(args) < 2 {
		return
	}
	subject, second := s.digest(args[0]), s.digest(args[1])
	tag := "manifests/" + strings.Replace(subject.String(), ":", "-", 1)
	switch op {
	case 'a':
		s.answer("referrers/"+subject.String(), []byte(list), types.OCIImageIndex)
	case 'f':
		s.answer(tag, []byte(list), types.OCIImageIndex)
	case 's':
		s.answer(tag+".sig", s.answers["manifests/"+second.String()], types.OCIManifestSchema1)
	case 'd':
		s.answer("manifests/"+subject.String(), s.answers["manifests/"+second.String()], s.typeOf(args[1]))
	}
}

func (s *stranger) manifest(body string, kind types.MediaType) {
	s.manifests, s.types = append(s.manifests, body), append(s.types, kind)
	s.answer("manifests/"+registry.NewManifest("", []byte(body)).Digest.String(), []byte(body), kind)
}

func (s *stranger) answer(path string, body []byte, kind types.MediaType) {
	s.answers[path], s.kinds[path] = body, kind
}

// digest is that of a manifest, or of nothing.
func (s *stranger) digest(n byte) v1.Hash {
	if int(n) < len(s.manifests) {
		return registry.NewManifest("", []byte(s.manifests[n])).Digest
	}
	return numbered(int(n) + 100)
}

func (s *stranger) typeOf(n byte) types.MediaType {
	if int(n) < len(s.types) {
		return s.types[n]
	}
	return []types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex, types.OCILayer, ""}[n%4]
}

func (s *stranger) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	path := strings.TrimPrefix(r.URL.Path, "/v2/"+repo+"/")
	body, ok := s.answers[path]
	resp := &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	switch {
	case ok:
		resp.StatusCode = http.StatusOK
		resp.Header.Set("Content-Type", string(s.kinds[path]))
	case r.URL.Path == "/v2/":
		resp.StatusCode = http.StatusOK
	case path == "tags/list":
		resp.StatusCode, body = http.StatusForbidden, []byte(`{}`)
	}
	if r.Method == http.MethodHead {
		body = nil
	}
	resp.ContentLength = int64(len(body))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
