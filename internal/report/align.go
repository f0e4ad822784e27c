package report

import (
	"strings"
	"unicode/utf8"
)

// maxCell is the widest cell of a table in the log, in characters; the last of a
// row may be wider.
const maxCell = 80

// align is a table in plain text: columns two blanks apart, as wide as they must be.
func align(rows [][]string) []string {
	var widths []int
	for i, row := range rows {
		rows[i] = plainCells(row)
		for j, cell := range rows[i] {
			if j == len(widths) {
				widths = append(widths, 0)
			}
			widths[j] = max(widths[j], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = padded(row, widths)
	}
	return lines
}

func plainCells(row []string) []string {
	cells := make([]string, len(row))
	for i, cell := range row {
		cells[i] = line(cell)
		if i < len(row)-1 {
			cells[i] = clip(cells[i], maxCell)
		}
		if cells[i] == "" {
			cells[i] = "-"
		}
	}
	return cells
}

func padded(cells []string, widths []int) string {
	var text strings.Builder
	for i, cell := range cells {
		text.WriteString(cell)
		if i < len(cells)-1 {
			text.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
	}
	return text.String()
}
