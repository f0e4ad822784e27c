package demo

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// show turns a log with the runner's commands into what the job's page shows.
func show(log string) string {
	var lines []string
	margin := ""
	for _, line := range strings.Split(strings.TrimRight(log, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "::group::"):
			lines, margin = append(lines, "▼ "+strings.TrimPrefix(line, "::group::")), "  "
		case strings.HasPrefix(line, "::endgroup::"):
			margin = ""
		case strings.HasPrefix(line, "::error::"):
			lines = append(lines, "Error: "+strings.TrimPrefix(line, "::error::"))
		case strings.HasPrefix(line, "::notice::"):
			lines = append(lines, "Notice: "+strings.TrimPrefix(line, "::notice::"))
		case strings.HasPrefix(line, "::"): // masks are not shown
		default:
			lines = append(lines, margin+line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by) + "\n"
}

var (
	tags   = regexp.MustCompile(`</?(?:details|summary|b|code|sub|sup|br)/?>`)
	escape = regexp.MustCompile(`\\([\\` + "`" + `*_{}\[\]()#+\-.!|<>~@])`)
)

// render shows markdown of the kind that the summary uses as plain text.
func render(markdown string) string {
	var out, table []string
	for _, line := range append(strings.Split(markdown, "\n"), "") {
		if strings.HasPrefix(line, "|") {
			table = append(table, line)
			continue
		}
		out = append(out, align(table)...)
		table = nil
		if title, ok := strings.CutPrefix(line, "<summary>"); ok {
			line = "▸ " + title
		}
		line = strings.TrimLeft(line, "#")
		if strings.HasPrefix(line, "```") || strings.TrimSpace(line) == "<details>" || strings.TrimSpace(line) == "</details>" {
			continue
		}
		out = append(out, plain(line))
	}
	return strings.TrimSpace(strings.Join(out, "\n")) + "\n"
}

func plain(text string) string {
	text = strings.NewReplacer("`", "", "**", "").Replace(tags.ReplaceAllString(text, ""))
	text = escape.ReplaceAllString(text, "$1")
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&", "&#124;", "|").Replace(text)
}

// align makes a table's columns as wide as their widest cell.
func align(rows []string) []string {
	var cells [][]string
	var width []int
	for _, row := range rows {
		if strings.Trim(row, "|-: ") == "" {
			continue
		}
		var line []string
		for i, cell := range strings.Split(strings.Trim(row, "|"), "|") {
			cell = plain(strings.TrimSpace(cell))
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
			line = append(line, cell)
		}
		cells = append(cells, line)
	}
	var out []string
	for _, line := range cells {
		for i, cell := range line {
			line[i] = cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
		}
		out = append(out, strings.TrimRight("  "+strings.Join(line, "   "), " "))
	}
	return out
}
