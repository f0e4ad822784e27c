package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// figure is what one run took.
type figure struct {
	began    time.Time
	wall     time.Duration
	cpu      time.Duration
	memory   int64  // bytes, at its peak
	requests []seen // at both registries
	err      error
}

// choice is what is measured, and how often.
type choice struct {
	runs        int
	only, cases []string  // empty: all
	trace       io.Writer // nil: nowhere
}

func chosen(list []string, name string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(name, s) })
}

// measure runs every scenario with every tool in turn, run by run, so that a
// machine that slows down slows all of them.
func (w *world) measure(ctx context.Context, c choice, progress io.Writer) (*table, error) {
	t := &table{figures: map[[2]int][]figure{}}
	for run := range c.runs {
		for i, tool := range tools {
			if !chosen(c.only, tool.name) {
				continue
			}
			binary, err := w.find(tool)
			if err != nil {
				if run == 0 {
					t.missing = append(t.missing, tool.name)
				}
				continue
			}
			for j, s := range scenarios {
				if !chosen(c.cases, s.short) {
					continue
				}
				f, err := w.once(ctx, binary, tool.args(w.source.host+"/acme/app:dev", s.target(w, i, run)))
				if err != nil {
					return nil, err
				}
				t.figures[[2]int{i, j}] = append(t.figures[[2]int{i, j}], f)
				title := fmt.Sprintf("run %d: %s, %s", run+1, tool.name, s.name)
				_, _ = fmt.Fprintf(progress, "%s: %.2f s, %d requests, %d MiB, %v\n", title, f.wall.Seconds(), len(f.requests), f.memory>>20, f.err)
				if tool.binary == "" && c.trace != nil {
					if err := writeTrace(c.trace, title, f.began, f.wall, f.requests); err != nil {
						return nil, fmt.Errorf("write the trace: %w", err)
					}
				}
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
	f := figure{began: began, wall: time.Since(began)}
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
	for name, s := range map[string]*server{"S": w.source, "T": w.target} {
		log, err := s.requests()
		if err != nil {
			return f, fmt.Errorf("read the registry's log: %w", err)
		}
		for _, q := range log {
			f.requests = append(f.requests, seen{name, q})
		}
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
