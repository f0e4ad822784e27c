package runner

import (
	"io"
	"sync"
	"time"

	"github.com/sethvargo/go-githubactions"
)

// Options is what a Runner needs from outside. Nil streams discard, a nil Getenv
// is an empty environment, a nil Now is the clock.
type Options struct {
	Getenv   func(name string) string
	Stdout   io.Writer
	Stderr   io.Writer
	Terminal bool // Stdout is a terminal
	Width    int  // of the terminal, in columns; 0: 80
	Now      func() time.Time
}

// Runner prints what a run has to say. It is safe for concurrent use.
type Runner struct {
	options   Options
	inActions bool
	delimiter func() string // of a value in the outputs file

	mu          sync.Mutex
	action      *githubactions.Action
	groupOpen   bool
	annotations map[string]int // by kind, so far
	barShown    bool
	progressed  time.Time // when progress was last printed
}

// New is a Runner for GitHub Actions if the environment says so, else for a
// shell.
func New(options Options) *Runner {
	options = withDefaults(options)
	return &Runner{
		options:     options,
		inActions:   options.Getenv("GITHUB_ACTIONS") == "true",
		delimiter:   randomDelimiter,
		annotations: map[string]int{},
		action: githubactions.New(
			githubactions.WithGetenv(options.Getenv),
			githubactions.WithWriter(patient{options.Stdout}),
		),
	}
}

func withDefaults(options Options) Options {
	if options.Getenv == nil {
		options.Getenv = func(string) string { return "" }
	}
	if options.Stdout == nil {
		options.Stdout = io.Discard
	}
	if options.Stderr == nil {
		options.Stderr = io.Discard
	}
	if options.Width <= 0 {
		options.Width = 80
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return options
}

// InActions reports whether the run is a step of a workflow.
func (r *Runner) InActions() bool { return r.inActions }

// patient never reports a failed write: go-githubactions panics on one, and a
// log that cannot be written must not end a promotion halfway.
type patient struct{ io.Writer }

func (p patient) Write(text []byte) (int, error) {
	_, _ = p.Writer.Write(text)
	return len(text), nil
}
