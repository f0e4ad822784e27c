package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"
)

// writeTrace writes when each request of a run began and ended, in milliseconds
// since the run began, by the registries' clocks: the header's arrival and the
// last byte's departure, each half a round trip from the client's own times.
// A connection's number shows which requests shared one.
func writeTrace(out io.Writer, title string, began time.Time, wall time.Duration, requests []seen) error {
	slices.SortStableFunc(requests, func(a, b seen) int { return a.Began.Compare(b.Began) })
	connections := map[string]int{}
	if _, err := fmt.Fprintf(out, "# %s: %d requests, %.1f ms\n# begin\tend\tms\tconnection\trequest\tstatus\treceived\tsent\n",
		title, len(requests), milliseconds(wall)); err != nil {
		return err
	}
	for _, q := range requests {
		key := q.registry + q.Client
		connections[key] = cmp.Or(connections[key], len(connections)+1)
		ended := q.Ended
		if ended.IsZero() { // the run was over before it
			ended = began.Add(wall)
		}
		path := q.Path
		if q.Query != "" {
			path += "?" + q.Query
		}
		if _, err := fmt.Fprintf(out, "%.1f\t%.1f\t%.1f\t%s%d\t%s %s\t%d\t%d\t%d\n",
			milliseconds(q.Began.Sub(began)), milliseconds(ended.Sub(began)), milliseconds(ended.Sub(q.Began)),
			q.registry, connections[key], q.Method, path, q.Status, q.Received, q.Sent); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
