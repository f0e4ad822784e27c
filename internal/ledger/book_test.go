package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	w, err := attach(g.Context(), b, p, r, image)
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

// manifest is an image's as it was pushed.
func (g *rig) manifest(image v1.Descriptor) registry.Manifest {
	g.Helper()
	m, err := g.book().repo.GetManifest(g.Context(), image.Digest.String())
	if err != nil {
		g.Fatal(err)
	}
	return m
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
			found, err := b.finder.Find(t.Context(), g.images[n].Digest, true, nil)
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

// twoSteps is a registry that takes a blob in two requests, as distribution does.
func twoSteps(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.UserAgent() != regtest.Agent && strings.HasSuffix(r.URL.Path, "/blobs/uploads/") {
			r.URL.RawQuery, r.Body, r.ContentLength = "", http.NoBody, 0
		}
		next.ServeHTTP(w, r)
	})
}

// TestCost: what a record costs on top of a promotion that knows nothing else of the repository yet, and what is left to
// do once the tags have moved.
func TestCost(t *testing.T) {
	for api, most := range map[bool]int{true: 11, false: 14} {
		for name, wrap := range map[string]func(http.Handler) http.Handler{"": nil, " in two steps": twoSteps} {
			g := newRig(t, regtest.Options{Referrers: api, Wrap: wrap}, 3)
			g.overwrite("dev", g.manifest(g.images[0])) // what is not empty may have a list already
			for n, image := range g.images {            // the first has to make the ledger
				b := g.book()
				if _, err := b.repo.HasManifest(t.Context(), image.Digest); err != nil { // it has spoken with the registry before
					t.Fatal(err)
				}
				g.at.ResetRequests()
				p := g.read(b)
				tags, all, err := b.finder.Tags(t.Context())
				if err != nil || !all {
					t.Fatal(all, err)
				}
				p, caught, err := b.CatchUp(t.Context(), p, Sources{Tags: tags})
				if err != nil || len(caught.Lines) > 0 {
					t.Fatal(caught, err)
				}
				r := g.record(n, image, "")
				if n > 0 { // ahead of time, or not
					if err := errors.Join(b.Prepare(t.Context(), r.Job, r.Mode), probe(b, t, image.Digest)); err != nil {
						t.Fatal(err)
					}
				}
				prepared := len(g.requests())
				w := g.attach(b, p, r, image)
				soFar := len(g.requests())
				g.append(b, p, w, document.OutcomePromoted)
				asked := g.requests()
				if len(asked) > most {
					t.Errorf("API %v%s, promotion %d: %d requests, want at most %d:\n%s", api, name, n, len(asked), most, strings.Join(asked, "\n"))
				}
				if after := asked[soFar:]; len(after) > 2 {
					t.Errorf("API %v%s, promotion %d: %d requests after the tags have moved, want at most 2:\n%s", api, name, n, len(after), strings.Join(after, "\n"))
				}
				t.Logf("API %v%s, promotion %d: %d requests; to attach %d, after the tags have moved %d", api, name, n, len(asked), soFar-prepared, len(asked)-soFar)
			}
		}
	}
}

// TestPrepared: what was done ahead is not done again, and nobody sees it.
func TestPrepared(t *testing.T) {
	withAndWithout(t, func(t *testing.T, o regtest.Options) {
		g := newRig(t, o, 1)
		b, r := g.book(), g.record(0, g.images[0], "")
		r.Job.Attempt = "2" // so that it looks
		p := g.read(b)
		if err := errors.Join(b.Prepare(t.Context(), r.Job, r.Mode), probe(b, t, g.images[0].Digest)); err != nil {
			t.Fatal(err)
		}
		prepared := g.requests()
		for _, q := range prepared {
			if !strings.Contains(q, "GET") {
				t.Errorf("%s before the record", q)
			}
		}
		w := g.attach(b, p, r, g.images[0])
		posts := 0
		for _, q := range g.requests()[len(prepared):] {
			if strings.Contains(q, "POST") {
				posts++
			}
			if !strings.Contains(q, "sha256-") && slices.Contains(prepared, q) && !strings.Contains(q, "POST") {
				t.Errorf("%s was done twice", q)
			}
			if strings.Contains(q, "GET") && (strings.Contains(q, recordPrefix) || strings.Contains(q, "/referrers/")) {
				t.Errorf("%s was not done ahead", q)
			}
		}
		if posts != 2 {
			t.Errorf("%d uploads, want the record's and the empty configuration's", posts)
		}
		if p = g.append(b, p, w, document.OutcomePromoted); p.Last() != w.Digest() {
			t.Errorf("lines %+v", p.Lines())
		}
	})
}

// TestRecordOfTheSameRun: what the list of tags did not show is found where the registry refuses to write it twice, and
// what this run has written it knows.
func TestRecordOfTheSameRun(t *testing.T) {
	for _, fixed := range []bool{true, false} {
		attempt := "1"
		if !fixed {
			attempt = "2"
		}
		g := newRig(t, regtest.Options{Immutable: func(string, string) bool { return fixed }}, 2)
		b := g.book()
		if tags, all, err := b.finder.Tags(t.Context()); len(tags) > 0 || !all || err != nil {
			t.Fatal(tags, all, err)
		}
		other := g.book() // of another attempt that has asked before
		if _, _, err := other.finder.Tags(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := g.attach(b, &Page{}, g.record(0, g.images[0], ""), g.images[0])
		again := g.record(0, g.images[0], "")
		again.Started = again.Started.Add(time.Second)
		if own := g.attach(b, &Page{}, again, g.images[0]); !own.Reused || own.Digest() != first.Digest() {
			t.Errorf("immutable %v: %+v, want %s, which this run has written", fixed, own, first.Digest())
		}
		again.Job.Attempt = attempt
		second := g.attach(other, &Page{}, again, g.images[0])
		if !second.Reused || second.Digest() != first.Digest() {
			t.Errorf("immutable %v: %+v, want %s again", fixed, second, first.Digest())
		}
		third := g.attach(other, &Page{}, g.record(0, g.images[1], ""), g.images[1])
		if third.Reused || third.line.RecordTag == first.line.RecordTag {
			t.Errorf("immutable %v: another image has the record %+v", fixed, third)
		}
	}
}

// attach writes a record at once.
func attach(ctx context.Context, b *Book, p *Page, r document.Record, image v1.Descriptor) (Written, error) {
	d, err := b.Draft(ctx, p, r)
	if err != nil {
		return Written{}, err
	}
	w, err := b.Attach(ctx, d, image)
	if err == nil {
		err = b.Settle(ctx, w)
	}
	return w, err
}

// probe asks how the registry lists what is attached, as a promotion does ahead.
func probe(b *Book, t *testing.T, image v1.Hash) error {
	t.Helper()
	_, err := b.finder.HasAPI(t.Context(), image)
	return err
}
