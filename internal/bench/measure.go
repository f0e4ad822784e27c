package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// figure is what a tool took for one case. For several runs of the program, one
// after the other, it is their sum, and of memory the most.
type figure struct {
	began      time.Time
	wall       time.Duration
	cpu        time.Duration
	memory     int64         // bytes resident at the peak
	requests   []seen        // at both registries
	registries time.Duration // processor time of both
	failure    string        // empty: it did what it was asked

	connections map[string]regtest.Connections // by registry, as seen.registry
}

// connected tells connections and handshakes at the registries that were used, the
// source's first: "2/2 + 1/1".
func (f figure) connected() string {
	var parts []string
	for _, name := range []string{"S", "T"} {
		if c := f.connections[name]; c.Accepted > 0 {
			parts = append(parts, fmt.Sprintf("%d/%d", c.Accepted, c.Handshakes))
		}
	}
	return strings.Join(parts, " + ")
}

// hostConnections is the most connections that one registry accepted.
func (f figure) hostConnections() (most int) {
	for _, c := range f.connections {
		most = max(most, c.Accepted)
	}
	return most
}

// seen is a request and the registry that saw it.
type seen struct {
	registry string // S: the source's, T: the target's
	regtest.Request
}

// results are the figures by case and tool.
type results struct {
	choice
	figures  map[string]map[string][]figure
	versions []string
	missing  []string
}

// measure runs every chosen case with every tool in turn, run by run, so that a
// machine that slows down slows all of them.
func (w *world) measure(ctx context.Context, progress, trace io.Writer) (*results, error) {
	r := &results{choice: w.choice, figures: map[string]map[string][]figure{}}
	w.versions(ctx, r)
	for run := range w.runs {
		for _, s := range scenarios {
			for n, t := range tools {
				if !w.takesPart(s, t, run) {
					continue
				}
				f, err := w.once(ctx, s, t, fmt.Sprintf("%s/t%d/r%d", s.at, n, run))
				if errors.Is(err, errNotInstalled) {
					continue
				}
				if err != nil {
					return nil, err
				}
				r.add(s, t, f)
				if err := tell(progress, trace, fmt.Sprintf("run %d: %s, %s", run+1, t.name, s.title), t, f); err != nil {
					return nil, err
				}
			}
		}
	}
	return r, nil
}

func (w *world) takesPart(s scenario, t tool, run int) bool {
	return chosen(w.only, t.name) && chosen(w.cases, s.name) &&
		(s.tools == nil || slices.Contains(s.tools, t.name)) &&
		(run == 0 || !slices.Contains(s.once, t.name))
}

func (r *results) add(s scenario, t tool, f figure) {
	if r.figures[s.name] == nil {
		r.figures[s.name] = map[string][]figure{}
	}
	if t.name != us { // only ours are looked into
		for i := range f.requests {
			f.requests[i] = seen{}
		}
	}
	r.figures[s.name][t.name] = append(r.figures[s.name][t.name], f)
}

func tell(progress, trace io.Writer, title string, t tool, f figure) error {
	_, _ = fmt.Fprintf(progress, "%s: %.2f s, %.2f s of processor (registries %.2f s), %d requests, %s connections, %d MiB %s\n",
		title, f.wall.Seconds(), f.cpu.Seconds(), f.registries.Seconds(), len(f.requests), f.connected(), f.memory>>20, f.failure)
	if t.name != us {
		return nil
	}
	if err := writeTrace(trace, title, f.began, f.wall, f.requests); err != nil {
		return fmt.Errorf("write the trace: %w", err)
	}
	return nil
}

// once runs a tool on a case, program by program until one fails.
func (w *world) once(ctx context.Context, s scenario, t tool, attempt string) (f figure, err error) {
	binary, err := w.find(t)
	if err != nil {
		return f, err
	}
	at := w.sites[s.at]
	before := at.cpu()
	for _, args := range t.runs(s.pairs(at, attempt)) {
		if s.mode != "" {
			args = append(args, "--mode="+s.mode)
		}
		one, err := w.weighed(ctx, binary, args, s.env)
		if err != nil {
			return f, err
		}
		f.add(one)
		if f.failure != "" {
			break
		}
	}
	f.registries = at.cpu() - before
	if f.connections, err = at.connections(); err != nil {
		return f, err
	}
	f.requests, err = at.requests()
	return f, err
}

func (f *figure) add(w weight) {
	if f.began.IsZero() {
		f.began = w.Began
	}
	f.wall += w.Wall
	f.cpu += w.CPU
	f.memory = max(f.memory, w.Memory)
	f.failure = w.Status
}

func (s site) cpu() (sum time.Duration) {
	for _, server := range s.servers() {
		sum += server.cpu()
	}
	return sum
}

// connections are those to each registry since the last call of requests.
func (s site) connections() (map[string]regtest.Connections, error) {
	all := map[string]regtest.Connections{}
	for name, server := range s.servers() {
		var c regtest.Connections
		if err := server.ask("connections", &c); err != nil {
			return nil, fmt.Errorf("count the registry's connections: %w", err)
		}
		all[name] = c
	}
	return all, nil
}

// requests are those at both registries since the last call.
func (s site) requests() (all []seen, err error) {
	for name, server := range s.servers() {
		var log []regtest.Request
		if err := server.ask("requests", &log); err != nil {
			return nil, fmt.Errorf("read the registry's log: %w", err)
		}
		for _, q := range log {
			all = append(all, seen{name, q})
		}
	}
	return all, nil
}

// median is the run in the middle by wall time; false if there is none or one
// failed.
func (r *results) median(scenario, tool string) (figure, bool) {
	figures := r.figures[scenario][tool]
	if len(figures) == 0 || slices.ContainsFunc(figures, func(f figure) bool { return f.failure != "" }) {
		return figure{}, false
	}
	sorted := slices.SortedFunc(slices.Values(figures), func(a, b figure) int { return int(a.wall - b.wall) })
	return sorted[len(sorted)/2], true
}

// busiest is the run with the most connections to one registry; false as for median.
func (r *results) busiest(scenario, tool string) (figure, bool) {
	if _, ok := r.median(scenario, tool); !ok {
		return figure{}, false
	}
	return slices.MaxFunc(r.figures[scenario][tool], func(a, b figure) int { return a.hostConnections() - b.hostConnections() }), true
}

// peak is the most memory of all runs, failed ones left out.
func (r *results) peak(scenario, tool string) (most int64) {
	for _, f := range r.figures[scenario][tool] {
		if f.failure == "" {
			most = max(most, f.memory)
		}
	}
	return most
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(fmt.Sprintf("%.200s", lines[len(lines)-1]))
}
