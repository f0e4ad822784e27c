package promote_test

import (
	"context"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
)

// silent observes nothing but failures of the test itself.
type silent struct{ t *testing.T }

func (s silent) Step(title string)                              { s.t.Log("#", title) }
func (s silent) Info(text string)                               { s.t.Log(text) }
func (s silent) Notice(text string)                             { s.t.Log("notice:", text) }
func (s silent) Warning(text string)                            { s.t.Log("warning:", text) }
func (s silent) Progress(int64, int64, int, int, time.Duration) {}

func start(t *testing.T, o regtest.Options) *regtest.Registry {
	t.Helper()
	r, err := regtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func repository(t *testing.T, text string) name.Repository {
	t.Helper()
	r, err := name.NewRepository(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustTemplate(t *testing.T, text string) template.Template {
	t.Helper()
	parsed, err := template.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// request promotes one tag to another.
func request(t *testing.T, source, sourceTag, target, targetTag string) promote.Request {
	t.Helper()
	return promote.Request{
		Items: []promote.Item{{
			Source: promote.Source{Text: source + ":" + sourceTag, Repository: repository(t, source), Tag: sourceTag},
			Targets: []promote.Target{{
				Repository: repository(t, target),
				Tags:       []promote.Tag{{Template: mustTemplate(t, targetTag)}},
			}},
		}},
		Attachments: true, Verify: transfer.Blobs, Started: time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC),
	}
}

func run(t *testing.T, r promote.Request) document.Report {
	t.Helper()
	return promote.Run(context.Background(), registry.New(registry.Options{}), r, silent{t})
}

func TestReferenceImage(t *testing.T) {
	for _, api := range []bool{false, true} {
		source := start(t, regtest.Options{Referrers: api})
		target := start(t, regtest.Options{Referrers: !api})
		image := regtest.ReferenceImage()
		if err := image.Push(t.Context(), regtest.Access{Host: source.Host()}, "acme/app", "dev"); err != nil {
			t.Fatal(err)
		}
		source.ResetRequests()
		report := run(t, request(t, source.Host()+"/acme/app", "dev", target.Host()+"/prod/app", "production"))
		t.Logf("%+v", report.Result)
		t.Logf("%+v", report.Faults)
		t.Logf("%d requests at the source, %d at the target", len(source.Requests()), len(target.Requests()))
		a, err := regtest.Read(t.Context(), regtest.Access{Host: source.Host()}, "acme/app", "dev")
		if err != nil {
			t.Fatal(err)
		}
		b, err := regtest.Read(t.Context(), regtest.Access{Host: target.Host()}, "prod/app", "production")
		if err != nil {
			t.Fatal(err)
		}
		if diff := regtest.Diff(a, b); len(diff) > 0 {
			t.Error(diff)
		}
		target.ResetRequests()
		source.ResetRequests()
		report = run(t, request(t, source.Host()+"/acme/app", "dev", target.Host()+"/prod/app", "production"))
		t.Logf("%+v", report.Result)
		t.Logf("again: %d requests at the source, %d at the target", len(source.Requests()), len(target.Requests()))
	}
}
