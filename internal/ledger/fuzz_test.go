package ledger

import (
	"reflect"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/google/go-containerregistry/pkg/name"
)

// What is taken of a ledger asks nothing of a registry that may not be asked, and is written as it was read.
func FuzzPage(f *testing.F) {
	p := (&Page{}).with(testEntry(0)).with(testEntry(1))
	f.Add(p.manifest(env).Raw)
	p.older, p.part, p.rebuilt, p.serial = digest(7), 3, true, 12
	f.Add(p.manifest(env).Raw)
	f.Add([]byte(strings.Replace(string(p.manifest(env).Raw), "promoted", "lost", 1)))
	f.Add([]byte(strings.Replace(string(p.manifest(env).Raw), "sha256", "sha512", 1)))
	f.Add(garbage.Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := parsePage(registry.NewManifest("", raw), env)
		if err != nil {
			return
		}
		for _, l := range p.Lines() {
			if l.Fault != "" {
				continue
			}
			for _, tag := range append(l.Tags, l.RecordTag) {
				if _, err := name.NewTag("host/path:" + tag); err != nil && tag != "" {
					t.Errorf("%q is taken for a tag", tag)
				}
			}
			for _, d := range []string{p.older, l.Digest, l.PreviousDigest, l.PreviousRecord, l.Record} {
				if _, err := name.NewDigest("host/path@" + d); err != nil && strings.HasPrefix(d, "sha256:") {
					t.Errorf("%q is taken for a digest", d)
				}
			}
			if l.Size < 1 || l.Size > document.MaxRecord {
				t.Errorf("a record of %d bytes is taken", l.Size)
			}
		}
		again, err := parsePage(p.manifest(env), env)
		if err != nil || !reflect.DeepEqual(again.Lines(), p.Lines()) || again.older != p.older || again.number() != p.number() || again.serial != p.serial || again.settled != p.settled && p.older != "" {
			t.Errorf("%+v is read again as %+v, error %v", p, again, err)
		}
		Replay(p.Lines())
		Check(History{Lines: p.Lines()}, nil)
		if u := union(p, again); u.changed && len(u.entries) == len(p.entries) {
			t.Error("joined with itself it is another")
		}
	})
}
