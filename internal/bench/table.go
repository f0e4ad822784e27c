package main

import (
	"fmt"
	"io"
	"strings"
)

// table holds the figures by tool and scenario.
type table struct {
	figures map[[2]int][]figure
	missing []string
}

// write prints the figures, and ours beside each peer's.
func (t *table) write(out io.Writer) {
	row := func(cells ...string) { _, _ = fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	head, rule := []string{"wall, requests"}, []string{"---"}
	for _, s := range scenarios {
		head, rule = append(head, s.name), append(rule, "---")
	}
	row(append(head, "peak memory", "carries")...)
	row(append(rule, "---", "---")...)
	for i, tool := range tools {
		if cells, peak := t.cells(i); cells != nil {
			row(append(append([]string{tool.name}, cells...), fmt.Sprintf("%d MiB", peak>>20), tool.carries)...)
		}
	}
	_, _ = fmt.Fprintln(out)
	row(append([]string{"ours to theirs"}, head[1:]...)...)
	row(rule...)
	for i, tool := range tools[1:] {
		if ratios := t.ratios(i + 1); ratios != nil {
			row(append([]string{tool.name}, ratios...)...)
		}
	}
	if len(t.missing) > 0 {
		_, _ = fmt.Fprintf(out, "\nNot installed, and left out: %s.\n", strings.Join(t.missing, ", "))
	}
}

func (t *table) cells(tool int) (cells []string, peak int64) {
	for j := range scenarios {
		figures := t.figures[[2]int{tool, j}]
		if figures == nil {
			return nil, 0
		}
		for _, f := range figures {
			peak = max(peak, f.memory)
		}
		f, ok := median(figures)
		if !ok {
			cells = append(cells, "fails")
			continue
		}
		cells = append(cells, fmt.Sprintf("%.2f s, %d", f.wall.Seconds(), len(f.requests)))
	}
	return cells, peak
}

func (t *table) ratios(tool int) []string {
	var cells []string
	if t.figures[[2]int{tool, 0}] == nil {
		return nil
	}
	for j := range scenarios {
		ours, ok := median(t.figures[[2]int{0, j}])
		theirs, both := median(t.figures[[2]int{tool, j}])
		if !ok || !both {
			cells = append(cells, "—")
			continue
		}
		cells = append(cells, fmt.Sprintf("%.2f", ours.wall.Seconds()/theirs.wall.Seconds()))
	}
	return cells
}
