package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// figure is what one run took.
type figure struct {
	wall     time.Duration
	cpu      time.Duration
	memory   int64 // bytes, at its peak
	requests int   // at both registries
	err      error
}

// measure runs every scenario with every tool in turn, run by run, so that a
// machine that slows down slows all of them.
func (w *world) measure(ctx context.Context, runs int, progress io.Writer) (*table, error) {
	t := &table{figures: map[[2]int][]figure{}}
	for run := range runs {
		for i, tool := range tools {
			binary, err := w.find(tool)
			if err != nil {
				if run == 0 {
					t.missing = append(t.missing, tool.name)
				}
				continue
			}
			for j, s := range scenarios {
				f, err := w.once(ctx, binary, tool.args(w.source.host+"/acme/app:dev", s.target(w, i, run)))
				if err != nil {
					return nil, err
				}
				t.figures[[2]int{i, j}] = append(t.figures[[2]int{i, j}], f)
				_, _ = fmt.Fprintf(progress, "run %d: %s, %s: %.2f s, %d requests, %d MiB, %v\n", run+1, tool.name, s.name, f.wall.Seconds(), f.requests, f.memory>>20, f.err)
			}
		}
	}
	return t, nil
}

func (w *world) find(t tool) (string, error) {
	if t.binary == "" {
		return w.program, nil
	}
	return exec.LookPath(t.binary)
}

// once runs a tool. That it fails is a figure; an error is a failure to measure.
func (w *world) once(ctx context.Context, binary string, args []string) (figure, error) {
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = w.environment()
	began := time.Now()
	out, err := c.CombinedOutput()
	f := figure{wall: time.Since(began)}
	if err != nil {
		f.err = fmt.Errorf("%w: %.200s", err, out)
	}
	if c.ProcessState == nil {
		return f, err
	}
	f.cpu = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	if usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		f.memory = usage.Maxrss << 10 // Linux counts in KiB
	}
	for _, s := range []*server{w.source, w.target} {
		n, err := s.requests()
		if err != nil {
			return f, fmt.Errorf("read the registry's log: %w", err)
		}
		f.requests += n
	}
	return f, nil
}

// median is the run in the middle by wall time; false if any run failed.
func median(figures []figure) (figure, bool) {
	for _, f := range figures {
		if f.err != nil {
			return f, false
		}
	}
	sorted := slices.SortedFunc(slices.Values(figures), func(a, b figure) int { return int(a.wall - b.wall) })
	return sorted[len(sorted)/2], true
}
