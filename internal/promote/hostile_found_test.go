package promote_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

// hostilesFound are the attacks that cost too much, or are not said well enough. The last two hang while the finder waits
// for a lock, which no bubble takes for waiting.
func hostilesFound() []hostile {
	digest := digestOf("nobody has it")
	return []hostile{
		{name: "an index of 20000 manifests, none there", says: []string{"which the source does not hold"}, side: "source", attack: when(get("/manifests/"), serves(indexOf(many(20_000)...), nil))},
		{name: "64 manifests of 4 MiB", says: []string{"not an image"}, side: "source", attack: when(get("/manifests/"), fat(64, strings.Repeat(" ", 4<<20-100), func(n int) string { return fmt.Sprintf(`{"n":%d,"layers":[]}`, n) }))},
		{name: "64 manifests of 90000 layers", says: []string{"read manifest"}, side: "source", attack: when(get("/manifests/"), fat(64, strings.Repeat("{},", 90_000)+"{}]}", func(n int) string { return fmt.Sprintf(`{"n":%d,"layers":[`, n) }))},
		{name: "a platform with a name of a megabyte", says: []string{"which the source does not hold"}, side: "source", attack: when(get("/manifests/"), serves(
			indexOf(`{"digest":"`+digest+`","size":1,"platform":{"os":"`+strings.Repeat("x", 1<<20)+`","architecture":"amd64"}}`), nil))},
		{name: "an upload's start that drips", says: []string{"write blob", "stalled"}, side: "target", attack: when(posts, drips(202, "x", "Location: /v2/prod/app/blobs/uploads/1"))},
		{name: "Retry-After at an upload", says: []string{"429 Too Many Requests"}, side: "target", attack: when(posts, answers(429, `{}`, "Retry-After: 31536000"))},
		{name: "referrers of a million lines", says: []string{"list referrers"}, api: true, attack: when(get("/referrers/"), answers(200, indexOf(strings.Repeat(`{},`, 1_000_000)+"{}"), indexType))},
		{name: "a list that drips", attack: when(get("/tags/list"), drips(200, " ")), want: document.Promoted},
	}
}

// TestHostileFound: as TestHostile.
func TestHostileFound(t *testing.T) {
	long(t)
	for _, h := range hostilesFound() {
		sides := []string{"source", "target"}
		if h.side != "" {
			sides = []string{h.side}
		}
		for _, side := range sides {
			t.Run(side+"/"+h.name, func(t *testing.T) { h.try(t, side) })
		}
	}
}

// TestHostileSpellings: net/http takes a name through IDNA before it dials it (UTS #46), which makes of other digits and
// full stops those of an address.
func TestHostileSpellings(t *testing.T) {
	long(t)
	for _, p := range pointings() {
		for _, to := range []string{
			"https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://ｌｏｃａｌｈｏｓｔ/", "https://１６９.２５４.１６９.２５４/",
		} {
			t.Run(p.side+"/"+p.name+"/"+to, func(t *testing.T) { p.tryNowhere(t, to) })
		}
	}
}

// TestHostileRealms: a token service is where the password goes. It is not on the loopback of whoever asks a registry with
// a public name, and has no user of its own.
func TestHostileRealms(t *testing.T) {
	long(t)
	for _, p := range pointings() {
		if p.name != "a realm" {
			continue
		}
		for _, to := range []string{"https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://robot:guess@storage.example/"} {
			t.Run(p.side+"/"+to, func(t *testing.T) { p.tryNowhere(t, to) })
		}
	}
}

// fat is a root with children that have little in common but their end.
func fat(children int, end string, begin func(n int) string) func(assault) {
	var once sync.Once
	var root string
	number := map[string]int{}
	return func(a assault) {
		once.Do(func() {
			var lines []string
			for n := range children {
				digest := digestOf(begin(n) + end)
				number[digest] = n
				lines = append(lines, descriptorOf(digest, len(begin(n)+end)))
			}
			root = indexOf(lines...)
			runtime.GC() // what was made for the digests
		})
		n, ok := number[a.r.URL.Path[strings.LastIndex(a.r.URL.Path, "/")+1:]]
		if !ok {
			serves(root, nil)(a)
			return
		}
		a.w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		for _, part := range []string{begin(n), end} {
			w, _ := io.WriteString(a.w, part)
			a.sent.Add(int64(w))
		}
	}
}
