package runner

import (
	"io"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/report"
)

// How often progress is printed: lines stay in the log, a bar is drawn over.
const (
	lineInterval = 5 * time.Second
	barInterval  = 100 * time.Millisecond
)

// Progress says how far a copy is: on a terminal as a bar, else as a line now
// and then. It may be called as often as there is news. A copy that is done
// within the first interval says nothing.
func (r *Runner) Progress(done, total int64, blobsDone, blobsTotal int, elapsed time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := r.options.Terminal && !r.inActions
	if !r.due(live, elapsed) {
		return
	}
	if live {
		bar := report.ProgressBar(done, total, blobsDone, blobsTotal, elapsed, r.columns())
		_, _ = io.WriteString(r.options.Stdout, "\r"+bar)
		r.barShown = true
		return
	}
	r.print(r.options.Stdout, "", []string{report.ProgressLine(done, total, blobsDone, blobsTotal, elapsed)})
}

// due reports whether enough time has passed since the last print or, before the
// first, since the copy began.
func (r *Runner) due(live bool, elapsed time.Duration) bool {
	interval := lineInterval
	if live {
		interval = barInterval
	}
	now := r.options.Now()
	if r.progressed.IsZero() {
		r.progressed = now.Add(-elapsed)
	}
	if now.Sub(r.progressed) < interval {
		return false
	}
	r.progressed = now
	return true
}

// columns leaves the last column free: a terminal would wrap after it.
func (r *Runner) columns() int { return r.options.Width - 1 }

// clearBar takes the bar away, so that a line can be printed in its place.
func (r *Runner) clearBar() {
	if r.barShown {
		_, _ = io.WriteString(r.options.Stdout, "\r"+strings.Repeat(" ", r.columns())+"\r")
		r.barShown = false
	}
}
