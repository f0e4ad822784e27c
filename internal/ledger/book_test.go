package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// rig is a registry with images that records can be attached to.
type rig struct {
	*testing.T
	at     *regtest.Registry
	repo   *registry.Repository
	images []v1.Descriptor
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const env = "production"

func newRig(t *testing.T, o regtest.Options, images int) *rig {
	t.Helper()
	at, repo := open(t, o)
	g := &rig{T: t, at: at, repo: repo}
	g.push(images)
	return g
}

func (g *rig) push(images int) {
	g.Helper()
	for n := range images {
		image := regtest.Build(regtest.Spec{Seed: fmt.Sprint(n)})
		if err := image.Push(g.Context(), g.at.Access("", ""), path); err != nil {
			g.Fatal(err)
		}
		root := image.Manifest(image.Root)
		m := registry.NewManifest(root.MediaType, root.Bytes)
		g.images = append(g.images, v1.Descriptor{MediaType: types.MediaType(m.MediaType), Digest: m.Digest, Size: int64(len(m.Raw))})
	}
	g.at.ResetRequests()
}

// book is that of a new run.
func (g *rig) book() *Book {
	g.Helper()
	return g.bookOf(registry.New(registry.Options{}))
}

func (g *rig) bookOf(c *registry.Client) *Book {
	g.Helper()
	n, err := name.NewRepository(g.at.Host() + "/" + path)
	if err != nil {
		g.Fatal(err)
	}
	repo, err := c.Open(g.Context(), credential.Target, n, registry.Push)
	if err != nil {
		g.Fatal(err)
	}
	return Open(repo, referrer.NewFinder(repo), env)
}

// record is the nth run's, minutes after noon.
func (g *rig) record(n int, image v1.Descriptor, before string) document.Record {
	return document.Record{
		Version: "v1.0.0", Repository: g.at.Host() + "/" + path, Digest: image.Digest.String(),
		Mode: document.ModePromote, Environment: env,
		Source: document.Source{Reference: "ghcr.io/acme/app:dev", Repository: "ghcr.io/acme/app", Tag: "dev"},
		Tags: []document.RecordTag{
			{Name: "v1." + fmt.Sprint(n), Fixed: true, After: image.Digest.String()},
			{Name: env, Before: before, After: image.Digest.String()},
		},
		PreviousDigest: before, Reason: fmt.Sprint("TICKET-", n),
		Job:     document.Job{RunID: fmt.Sprint(n + 1), Attempt: "1", Name: "promote", Actor: "ada", URL: "https://github.com/acme/app/actions/runs/" + fmt.Sprint(n+1)},
		Started: noon.Add(time.Duration(n) * time.Minute), Ended: noon.Add(time.Duration(n)*time.Minute + time.Second),
	}
}

func (g *rig) read(b *Book) *Page {
	g.Helper()
	p, err := b.Read(g.Context())
	if err != nil {
		g.Fatal(err)
	}
	return p
}

func (g *rig) attach(b *Book, p *Page, r document.Record, image v1.Descriptor) Written {
	g.Helper()
	w, err := b.Attach(g.Context(), p, r, image)
	if err != nil {
		g.Fatal(err, registry.HintOf(err))
	}
	return w
}

func (g *rig) append(b *Book, p *Page, w Written, o document.Outcome) *Page {
	g.Helper()
	p, err := b.Append(g.Context(), p, w, o)
	if err != nil {
		g.Fatal(err, registry.HintOf(err))
	}
	return p
}

// promote is one run, start to end.
func (g *rig) promote(n int, image v1.Descriptor, before string) Written {
	g.Helper()
	b := g.book()
	p := g.read(b)
	w := g.attach(b, p, g.record(n, image, before), image)
	g.append(b, p, w, document.OutcomePromoted)
	return w
}

func (g *rig) history(b *Book) History {
	g.Helper()
	h, err := b.History(g.Context(), g.read(b), 0)
	if err != nil {
		g.Fatal(err)
	}
	return h
}

func (g *rig) tags() []string {
	g.Helper()
	tags, err := regtest.Tags(g.Context(), g.at.Access("", ""), path)
	if err != nil {
		g.Fatal(err)
	}
	return tags
}

// overwrite puts a manifest under a tag as anybody can who may push.
func (g *rig) overwrite(tag string, m registry.Manifest) {
	g.Helper()
	if err := regtest.PutManifest(g.Context(), g.at.Access("", ""), path, tag, m.MediaType, m.Raw); err != nil {
		g.Fatal(err)
	}
}

func recordsOf(lines []document.Line) []string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Record)
	}
	return all
}

// requests are those of the program.
func (g *rig) requests() (all []string) {
	for _, q := range g.at.Requests() {
		if q.Agent != regtest.Agent {
			all = append(all, fmt.Sprint(q.Method, " ", q.Path, " ", q.Status))
		}
	}
	return all
}

// withAndWithout runs a test on a registry with the referrers API and on one without.
func withAndWithout(t *testing.T, test func(t *testing.T, o regtest.Options)) {
	for _, api := range []bool{true, false} {
		t.Run(map[bool]string{true: "referrers API", false: "fallback tag"}[api], func(t *testing.T) {
			test(t, regtest.Options{Referrers: api})
		})
	}
}

// TestOneAfterTheOther: each run finds what those before it wrote, in order and chained, and the records hang on the
// images.
func TestOneAfterTheOther(t *testing.T) {
	withAndWithout(t, func(t *testing.T, o regtest.Options) {
		g := newRig(t, o, 3)
		before, want := "", []string(nil)
		for n, image := range g.images {
			want = append(want, g.promote(n, image, before).Digest())
			before = image.Digest.String()
		}
		b := g.book()
		h := g.history(b)
		if got := recordsOf(h.Lines); !slices.Equal(got, want) || !h.Whole || h.Rebuilt {
			t.Fatalf("the ledger lists %v (%+v), want %v", got, h, want)
		}
		raws := map[string][]byte{}
		for n, line := range h.Lines {
			r, raw, err := b.Record(t.Context(), line)
			if err != nil {
				t.Fatal(err)
			}
			raws[line.Record] = raw
			if r.Digest != g.images[n].Digest.String() || line.Digest != r.Digest || line.Outcome != document.OutcomePromoted ||
				!line.Time.Equal(r.Ended) || line.Reason != fmt.Sprint("TICKET-", n) || line.Actor != "ada" || !slices.Equal(line.Tags, []string{env, fmt.Sprint("v1.", n)}) {
				t.Errorf("line %+v of record %+v", line, r)
			}
			found, err := b.finder.Find(t.Context(), g.images[n].Digest, true)
			if err != nil || len(found.Referrers) != 1 || found.Referrers[0].ArtifactType != RecordType ||
				found.Referrers[0].Annotations[notes+"record"] != line.Record {
				t.Errorf("attached: %+v, error %v", found, err)
			}
		}
		if findings := Check(h, raws); len(findings) > 0 {
			t.Errorf("findings: %+v", findings)
		}
	})
}

// TestCost: what a record costs on top of a promotion that knows nothing else of the repository yet, and what is left to
// do once the tags have moved.
func TestCost(t *testing.T) {
	for api, most := range map[bool]int{true: 11, false: 14} {
		g := newRig(t, regtest.Options{Referrers: api}, 2)
		for n, image := range g.images { // the first has to make the ledger
			b := g.book()
			p := g.read(b)
			g.at.ResetRequests()
			w := g.attach(b, p, g.record(n, image, ""), image)
			soFar := len(g.requests())
			g.append(b, p, w, document.OutcomePromoted)
			all := g.requests()
			if len(all) > most {
				t.Errorf("API %v, promotion %d: %d requests, want at most %d:\n%s", api, n, len(all), most, strings.Join(all, "\n"))
			}
			if after := all[soFar:]; len(after) > 2 {
				t.Errorf("API %v, promotion %d: %d requests after the tags have moved, want at most 2:\n%s", api, n, len(after), strings.Join(after, "\n"))
			}
			t.Logf("API %v: %d requests, %d of them after the tags have moved", api, len(all), len(all)-soFar)
		}
	}
}
