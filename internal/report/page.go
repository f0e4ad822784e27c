package report

import (
	"fmt"
	"strings"
)

// maxSummary keeps a summary well under the 1 MiB above which the runner drops
// it whole (actions/runner, FileCommandManager.cs: AttachmentSizeLimit).
const maxSummary = 900 << 10

// page collects blocks of markdown up to a limit and remembers what did not fit.
type page struct {
	text    strings.Builder
	left    int
	missing []string
}

// newPage keeps room for the sentence that tells what is missing.
func newPage(limit int) *page {
	const closing = 2 << 10
	return &page{left: limit - closing}
}

// block adds a block whole or, named as what, not at all.
func (p *page) block(what, text string) {
	if text == "" {
		return
	}
	if len(text)+2 > p.left {
		p.missing = append(p.missing, what)
		return
	}
	p.write(text + "\n\n")
}

// rows adds lines between head and tail, as many as fit; what is their plural.
func (p *page) rows(what, head string, lines []string, tail string) {
	if len(lines) == 0 {
		return
	}
	if left := p.fit(p.left, head, lines, tail); left > 0 {
		p.missing = append(p.missing, fmt.Sprintf("%d of %d %s", left, len(lines), what))
	}
}

// fit adds lines between head and tail, as many as fit into room bytes, and tells
// how many do not.
func (p *page) fit(room int, head string, lines []string, tail string) (left int) {
	room -= len(head) + len(tail) + len("\n\n")
	fit := 0
	for fit < len(lines) && len(lines[fit])+1 <= room {
		room -= len(lines[fit]) + 1
		fit++
	}
	if fit > 0 {
		p.write(head + strings.Join(lines[:fit], "\n") + "\n" + tail + "\n")
	}
	return len(lines) - fit
}

func (p *page) write(text string) {
	p.text.WriteString(text)
	p.left -= len(text)
}

func (p *page) String() string {
	if len(p.missing) == 0 {
		return strings.TrimRight(p.text.String(), "\n") + "\n"
	}
	return p.text.String() + "Left out, because GitHub shows at most 1 MiB: " + strings.Join(p.missing, ", ") +
		". The log and the output `results` say more.\n"
}
