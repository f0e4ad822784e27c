package ledger

import (
	"context"

	"github.com/artifact-promotion/promote/internal/registry"
	"golang.org/x/sync/errgroup"
)

// maxVersionBits bounds the number of versions: 65,536.
const maxVersionBits = 17

// readVersions adds the newest version to a view. Where tags are immutable, each writing of a head
// has a tag of its own; the registry refuses the second run that writes the same one. The newest
// is found by asking for 1, 2, 4, … side by side and narrowing: tag lists may be large.
func (l *Ledger) readVersions(ctx context.Context, v View) (View, error) {
	first, err := l.readEach(ctx, []int{1})
	if err != nil || !first[0].Exists {
		return v, err
	}
	probes := make([]int, maxVersionBits)
	for n := range probes {
		probes[n] = 1 << n
	}
	low, high := 0, 1<<maxVersionBits
	for low+1 < high {
		readings, err := l.readEach(ctx, probes)
		if err != nil {
			return View{}, err
		}
		for n, r := range readings {
			if r.Exists && probes[n] > low {
				low = probes[n]
				if err := v.takeVersion(l, low, r); err != nil {
					return View{}, err
				}
			}
		}
		for n, r := range readings {
			if !r.Exists && probes[n] > low {
				high = min(high, probes[n])
			}
		}
		probes = between(low, high)
	}
	return v, nil
}

// takeVersion adds a newer version to the view.
func (v *View) takeVersion(l *Ledger, n int, r registry.TagReading) error {
	h, err := l.parse(l.key.version(n), r.Manifest)
	if err != nil {
		return err
	}
	if r.Began.Before(v.began) {
		v.began = r.Began
	}
	if r.Clock.After(v.clock) {
		v.clock = r.Clock
	}
	v.version = n
	v.head = union(v.head, *h)
	return nil
}

// between are up to 16 numbers that divide the range between two.
func between(low, high int) (probes []int) {
	step := max(1, (high-low)/maxVersionBits)
	for n := low + step; n < high; n += step {
		probes = append(probes, n)
	}
	return probes
}

func (l *Ledger) readEach(ctx context.Context, versions []int) ([]registry.TagReading, error) {
	readings := make([]registry.TagReading, len(versions))
	g, ctx := errgroup.WithContext(ctx)
	for n, version := range versions {
		g.Go(func() (err error) {
			readings[n], err = l.store.ReadTag(ctx, l.key.version(version))
			return err
		})
	}
	return readings, g.Wait()
}
