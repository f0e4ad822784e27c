package input

import (
	"fmt"
	"strings"
)

// maxItems is how many items a list has at most.
const maxItems = 1000

// item is one item of a list and the line that it stands on, from 1.
type item struct {
	text string
	line int
}

// splitList splits as docker's actions do (actions-toolkit, Util.getInputList):
// at line ends and, where asked, at commas; trimmed; blanks dropped; an item may
// stand in double quotes, a quote in it doubled. It differs in three things: an
// item in quotes is not split at its commas, nor is an expression of a template,
// and a line that begins with # is a comment, because neither a reference nor a
// tag can begin so.
func splitList(text string, commas bool) ([]item, *Fault) {
	var items []item
	line := 0
	for l := range strings.Lines(text) {
		line++
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "#") {
			continue
		}
		for l != "" {
			field, rest, f := cutField(l, commas)
			if f != nil {
				f.Given = fmt.Sprintf("line %d: %s", line, f.Given)
				return nil, f
			}
			if field = strings.TrimSpace(field); field != "" {
				items = append(items, item{field, line})
			}
			l = strings.TrimSpace(rest)
		}
		if len(items) > maxItems {
			return nil, &Fault{Given: fmt.Sprintf("more than %d items", maxItems), Expected: "fewer; promote the rest in another step"}
		}
	}
	return items, nil
}

// cutField takes the first item off a line.
func cutField(line string, commas bool) (field, rest string, f *Fault) {
	if strings.HasPrefix(line, `"`) {
		return cutQuoted(line, commas)
	}
	if !commas {
		return line, "", nil
	}
	inside := false
	for i := range len(line) {
		switch {
		case strings.HasPrefix(line[i:], "{{"):
			inside = true
		case strings.HasPrefix(line[i:], "}}"):
			inside = false
		case line[i] == ',' && !inside:
			return line[:i], line[i+1:], nil
		}
	}
	return line, "", nil
}

func cutQuoted(line string, commas bool) (field, rest string, f *Fault) {
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		switch {
		case line[i] != '"':
			b.WriteByte(line[i])
		case strings.HasPrefix(line[i:], `""`):
			b.WriteByte('"')
			i++
		default:
			rest = strings.TrimSpace(line[i+1:])
			if rest != "" && (!commas || rest[0] != ',') {
				return "", "", &Fault{Given: quote(rest) + " after an item in quotes", Expected: "the end of the item; a quote in it is doubled"}
			}
			return b.String(), strings.TrimPrefix(rest, ","), nil
		}
	}
	return "", "", &Fault{Given: quote(line) + " without a closing quote", Expected: "a quote at the end of the item, on the same line"}
}
