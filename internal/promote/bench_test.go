package promote_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// workload is what one benchmark promotes, again and again: images with all their
// attachments, over a network.
type workload struct {
	platforms, layers int
	rtt               time.Duration
	images            int
}

// usual is what a benchmark has of everything that it does not vary.
var usual = workload{platforms: 2, layers: 5, rtt: 10 * time.Millisecond, images: 1}

const (
	benchLayer     = 256 << 10   // bytes
	benchBandwidth = 100_000_000 // bytes per second of each connection and direction
)

func BenchmarkPlatforms(b *testing.B) {
	for _, n := range []int{1, 2, 8} {
		w := usual
		w.platforms = n
		b.Run(fmt.Sprintf("platforms=%d", n), w.across)
	}
}

func BenchmarkLayers(b *testing.B) {
	for _, n := range []int{1, 10, 40} {
		w := usual
		w.layers = n
		b.Run(fmt.Sprintf("layers=%d", n), w.across)
	}
}

func BenchmarkLatency(b *testing.B) {
	for _, rtt := range []time.Duration{0, 10 * time.Millisecond, 40 * time.Millisecond} {
		w := usual
		w.rtt = rtt
		b.Run("rtt="+rtt.String(), w.across)
	}
}

func BenchmarkImages(b *testing.B) {
	for _, n := range []int{1, 10, 40} {
		w := usual
		w.images = n
		b.Run(fmt.Sprintf("images=%d", n), w.across)
	}
}

// BenchmarkAgain promotes what is at the target already.
func BenchmarkAgain(b *testing.B) {
	r := usual.start(b)
	again := func(int) []promote.Item { return r.items(b, r.target, "copy", "prod") }
	r.promote(b, again(0), document.Promoted)
	r.measure(b, document.Unchanged, again)
}

func BenchmarkRetag(b *testing.B) {
	r := usual.start(b)
	r.measure(b, document.Promoted, func(op int) []promote.Item {
		return r.items(b, r.source, "acme", fmt.Sprintf("prod-%d", op))
	})
}

func BenchmarkMount(b *testing.B) {
	r := usual.start(b)
	r.measure(b, document.Promoted, func(op int) []promote.Item {
		return r.items(b, r.source, fmt.Sprintf("copy-%d", op), "prod")
	})
}

// across copies from one registry to the other, each time to repositories that
// are new.
func (w workload) across(b *testing.B) {
	r := w.start(b)
	b.SetBytes(r.bytes)
	r.measure(b, document.Promoted, func(op int) []promote.Item {
		return r.items(b, r.target, fmt.Sprintf("copy-%d", op), "prod")
	})
}

// running is a workload at its source.
type running struct {
	workload
	source, target *regtest.Registry
	bytes          int64 // of all blobs
}

func (w workload) start(b *testing.B) *running {
	b.Helper()
	o := regtest.Options{Network: &regtest.Network{RTT: w.rtt, BytesPerSecond: benchBandwidth}}
	r := &running{workload: w, source: regtest.Serve(b, o), target: regtest.Serve(b, o)}
	spec := regtest.Spec{Layers: w.layers, LayerSize: benchLayer, Provenance: true}
	for n := range w.platforms {
		spec.Platforms = append(spec.Platforms, fmt.Sprintf("linux/arm/v%d", n))
	}
	for n := range w.images {
		spec.Seed = fmt.Sprint("image ", n)
		image := regtest.BuildAttested(spec)
		push(b, image, r.source, imagePath("acme", n), "dev")
		r.bytes += image.Size()
	}
	return r
}

func imagePath(folder string, n int) string { return fmt.Sprintf("%s/image-%d", folder, n) }

// items are all images, each to its place below a folder of a registry.
func (r *running) items(b *testing.B, at *regtest.Registry, folder, tag string) (items []promote.Item) {
	b.Helper()
	for n := range r.images {
		items = append(items, item(b, r.source.Host()+"/"+imagePath("acme", n)+":dev", at.Host()+"/"+imagePath(folder, n)+":"+tag))
	}
	return items
}

func (r *running) promote(b *testing.B, items []promote.Item, want document.Result) {
	b.Helper()
	if d := promote.Run(b.Context(), anonymous(), requestOf(items...), &watcher{}); d.Result != want {
		b.Fatalf("result %s, want %s: %+v", d.Result, want, d.Faults)
	}
}

// measure promotes once an operation, as a run of its own, and reports how many
// requests one took at both registries.
func (r *running) measure(b *testing.B, want document.Result, items func(op int) []promote.Item) {
	b.Helper()
	r.source.ResetRequests()
	r.target.ResetRequests()
	op := 0
	for b.Loop() {
		r.promote(b, items(op), want)
		op++
	}
	b.ReportMetric(float64(len(ours(r.source))+len(ours(r.target)))/float64(op), "requests/op")
}

// BenchmarkRollback goes back, in one repository, to the image that was there before.
func BenchmarkRollback(b *testing.B) {
	for name, build := range map[string]func(regtest.Spec) *regtest.Image{"alone": regtest.Build, "attested": regtest.BuildAttested} {
		b.Run(name, func(b *testing.B) { benchmarkRollback(b, build) })
	}
}

func benchmarkRollback(b *testing.B, build func(regtest.Spec) *regtest.Image) {
	b.Helper()
	at := regtest.Serve(b, regtest.Options{Network: &regtest.Network{RTT: 40 * time.Millisecond, BytesPerSecond: benchBandwidth}})
	repo := at.Host() + "/acme/app"
	for _, seed := range []string{"good", "bad"} {
		push(b, build(regtest.Spec{
			Seed: seed, Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 10, LayerSize: benchLayer, Provenance: true,
		}), at, "acme/app", seed)
	}
	bring := func(tag string) {
		r := requestOf(item(b, repo+":"+tag, repo+":production"))
		r.TargetEnv = "production"
		promoted(b, r, document.Promoted)
	}
	bring("good")
	requests := 0
	for b.Loop() {
		b.StopTimer()
		bring("bad")
		at.ResetRequests()
		b.StartTimer()
		promoted(b, rollback(b, repo+":production"), document.RolledBack)
		requests += len(ours(at))
	}
	b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
}

func promoted(b *testing.B, r promote.Request, want document.Result) {
	b.Helper()
	if d := promote.Run(b.Context(), anonymous(), r, &watcher{}); d.Result != want {
		b.Fatalf("result %s, want %s: %+v", d.Result, want, d.Faults)
	}
}

// rollback is a request to go back, of the environment that the tag is named after.
func rollback(t testing.TB, target string) promote.Request {
	repo, tag := split(t, target)
	i := item(t, repo.Name()+":"+tag, target)
	i.Source = promote.Source{Text: repo.Name(), Repository: repo}
	r := requestOf(i)
	r.Mode, r.TargetEnv, r.Reason = promote.Rollback, tag, "INC-1"
	return r
}
