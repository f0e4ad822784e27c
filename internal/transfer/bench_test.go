package transfer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
)

// The engine alone, with a graph that was walked before: what a whole promotion
// takes is measured beside promote.Run.

func BenchmarkCopyLayers(b *testing.B) {
	for _, n := range []int{1, 10, 40} {
		b.Run(fmt.Sprintf("layers=%d", n), func(b *testing.B) {
			bench(b, regtest.Spec{Layers: n, LayerSize: 256 << 10}, 10*time.Millisecond).copy(b)
		})
	}
}

func BenchmarkCopySizes(b *testing.B) {
	for _, size := range []int64{1 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			bench(b, regtest.Spec{Layers: 4, LayerSize: size}, 10*time.Millisecond).copy(b)
		})
	}
}

func BenchmarkCopyLatency(b *testing.B) {
	for _, rtt := range []time.Duration{0, 10 * time.Millisecond, 40 * time.Millisecond} {
		b.Run("rtt="+rtt.String(), func(b *testing.B) {
			bench(b, regtest.Spec{Layers: 5, LayerSize: 256 << 10}, rtt).copy(b)
		})
	}
}

// BenchmarkCopyMount copies within one registry, which mounts.
func BenchmarkCopyMount(b *testing.B) {
	e := bench(b, regtest.Spec{Layers: 5, LayerSize: 256 << 10}, 10*time.Millisecond)
	e.to, e.bytes = e.from, 0
	e.copy(b)
}

// BenchmarkCopyAgain copies what is there.
func BenchmarkCopyAgain(b *testing.B) {
	e := bench(b, regtest.Spec{Layers: 5, LayerSize: 256 << 10}, 10*time.Millisecond)
	e.once(b, "prod/app")
	e.bytes = 0
	e.measure(b, func(int) { e.once(b, "prod/app") })
}

// BenchmarkVerify reads back what is there, after a copy that found it so.
func BenchmarkVerify(b *testing.B) {
	for _, level := range []transfer.Level{transfer.Manifests, transfer.Blobs, transfer.Content} {
		b.Run(string(level), func(b *testing.B) {
			e := bench(b, regtest.Spec{Layers: 5, LayerSize: 256 << 10}, 10*time.Millisecond)
			e.once(b, "prod/app")
			if level != transfer.Content {
				e.bytes = 0
			}
			e.measure(b, func(int) {
				engine, source, target := e.open(b, level, "prod/app")
				if _, err := engine.Copy(b.Context(), e.graph, source, target, nil); err != nil {
					b.Fatal(err)
				}
				if _, err := engine.Verify(b.Context(), e.graph, source, target); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// engineBench is an image of two platforms with attachments, walked, and where it
// goes.
type engineBench struct {
	from, to *regtest.Registry
	graph    *graph.Graph
	bytes    int64 // that an operation moves
}

func bench(b *testing.B, spec regtest.Spec, rtt time.Duration) *engineBench {
	b.Helper()
	spec.Platforms = []string{"linux/amd64", "linux/arm64"}
	image := regtest.BuildAttested(spec)
	o := regtest.Options{Network: &regtest.Network{RTT: rtt, BytesPerSecond: 100_000_000}}
	e := &engineBench{from: startFor(b, o), to: startFor(b, o), bytes: image.Size()}
	if err := image.Push(b.Context(), e.from.Access("", ""), sourceRepo, "dev"); err != nil {
		b.Fatal(err)
	}
	source := openFor(b, registry.New(registry.Options{}), credential.Source, e.from, sourceRepo)
	root, err := source.GetManifest(b.Context(), "dev")
	if err != nil {
		b.Fatal(err)
	}
	w := graph.NewWalker(source, true)
	if err := w.Walk(b.Context(), root); err != nil {
		b.Fatal(err)
	}
	e.graph = w.Graph(root.Digest)
	return e
}

func startFor(b *testing.B, o regtest.Options) *regtest.Registry {
	b.Helper()
	r, err := regtest.Start(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	return r
}

func openFor(b *testing.B, client *registry.Client, side credential.Side, at *regtest.Registry, repo string) *registry.Repository {
	b.Helper()
	n, err := name.NewRepository(at.Host() + "/" + repo)
	if err != nil {
		b.Fatal(err)
	}
	opened, err := client.Open(b.Context(), side, n, registry.Push)
	if err != nil {
		b.Fatal(err)
	}
	return opened
}

// open makes what a run of its own has.
func (e *engineBench) open(b *testing.B, level transfer.Level, repo string) (engine *transfer.Engine, source, target *registry.Repository) {
	b.Helper()
	client := registry.New(registry.Options{})
	return transfer.New(level), openFor(b, client, credential.Source, e.from, sourceRepo), openFor(b, client, credential.Target, e.to, repo)
}

// once copies to a repository, as a run of its own.
func (e *engineBench) once(b *testing.B, repo string) {
	b.Helper()
	engine, source, target := e.open(b, transfer.Blobs, repo)
	if _, err := engine.Copy(b.Context(), e.graph, source, target, nil); err != nil {
		b.Fatal(err)
	}
}

// copy copies each time to a repository that is new.
func (e *engineBench) copy(b *testing.B) {
	b.Helper()
	e.measure(b, func(op int) { e.once(b, fmt.Sprintf("prod/app-%d", op)) })
}

// measure reports how many requests an operation took at both registries, and how
// fast its bytes moved.
func (e *engineBench) measure(b *testing.B, do func(op int)) {
	b.Helper()
	b.SetBytes(e.bytes)
	e.from.ResetRequests()
	e.to.ResetRequests()
	op := 0
	for b.Loop() {
		do(op)
		op++
	}
	requests := len(ours(e.from))
	if e.to != e.from {
		requests += len(ours(e.to))
	}
	b.ReportMetric(float64(requests)/float64(op), "requests/op")
}
