package runner

import (
	"io"
	"strings"
	"unicode/utf16"
)

// GitHub shows this many annotations of a kind for a step, of this many
// characters each, and drops the rest.
// https://docs.github.com/en/rest/checks/runs
const (
	maxAnnotations     = 10
	maxAnnotationUnits = 4096
)

// Step begins a part of the run: a group of its own in the log.
func (r *Runner) Step(title string) { r.Group(title) }

// Group begins a group, which a reader can fold, and ends the one before:
// GitHub does not nest them.
func (r *Runner) Group(title string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endGroup()
	name := strings.Join(clean(title), " ")
	if !r.inActions {
		r.print(r.options.Stdout, "==> ", []string{name})
		return
	}
	r.action.Group(name)
	r.groupOpen = true
}

// EndGroup ends the open group, if there is one, and takes the bar away.
func (r *Runner) EndGroup() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endGroup()
}

func (r *Runner) endGroup() {
	r.clearBar()
	if r.groupOpen {
		r.action.EndGroup()
		r.groupOpen = false
	}
}

// Info prints text.
func (r *Runner) Info(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.print(r.options.Stdout, "", clean(text))
}

// Notice prints text that a reader of the job's page should see.
func (r *Runner) Notice(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.annotate("notice", text, r.options.Stdout, r.action.Noticef)
}

// Warning prints text that needs a look, though the run goes on.
func (r *Runner) Warning(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.annotate("warning", text, r.options.Stdout, r.action.Warningf)
}

// Error prints why the run ends badly; on a shell to the error stream. It ends
// the open group, because GitHub folds groups away.
func (r *Runner) Error(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endGroup()
	r.annotate("error", text, r.options.Stderr, r.action.Errorf)
}

// annotate prints by the command of the kind as long as GitHub would show it,
// else as lines. A text that is too long is printed whole below.
func (r *Runner) annotate(kind, text string, shell io.Writer, command func(string, ...any)) {
	lines := clean(text)
	if !r.inActions {
		r.print(shell, kind+": ", lines)
		return
	}
	if r.annotations[kind]++; r.annotations[kind] > maxAnnotations {
		r.print(r.options.Stdout, kind+": ", lines)
		return
	}
	short, cut := shorten(strings.Join(lines, "\n"))
	command("%s", short)
	if cut {
		r.print(r.options.Stdout, kind+": ", lines)
	}
}

// shorten cuts text to what an annotation holds.
func shorten(text string) (string, bool) {
	units, end := 0, 0
	for i, c := range text {
		if units < maxAnnotationUnits {
			end = i // one unit is left for the sign that text is missing
		}
		if units += utf16.RuneLen(c); units > maxAnnotationUnits {
			return text[:end] + "…", true
		}
	}
	return text, false
}

// print writes lines that were cleaned. The lines after the first stand under it.
func (r *Runner) print(to io.Writer, prefix string, lines []string) {
	r.clearBar()
	indent := strings.Repeat(" ", len(prefix))
	var text strings.Builder
	for i, line := range lines {
		if i > 0 {
			prefix = indent
		}
		text.WriteString(prefix + line + "\n")
	}
	_, _ = io.WriteString(to, text.String()) // see patient
}
