package runnertest

import (
	"fmt"
	"strings"
)

// ParseKeyValueFile reads the file in GITHUB_OUTPUT: lines of name=value, and
// name<<delimiter with a value of several lines (EnvFileKeyValuePairs). A name
// that comes again replaces the value, as in the runner.
func ParseKeyValueFile(text string) (map[string]string, error) {
	values := map[string]string{}
	text = strings.TrimPrefix(text, "\ufeff")
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if line == "" {
			continue
		}
		equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case equals >= 0 && (heredoc < 0 || equals < heredoc):
			values[line[:equals]] = line[equals+1:]
		case heredoc >= 0:
			value, rest, err := heredocValue(line, heredoc, text)
			if err != nil {
				return nil, err
			}
			values[line[:heredoc]], text = value, rest
		default:
			return nil, fmt.Errorf("invalid format %q", line)
		}
	}
	return values, nil
}

// heredocValue is the text up to the line that is the delimiter, without the last
// line end, and what follows that line.
func heredocValue(line string, at int, text string) (value, rest string, err error) {
	delimiter := line[at+len("<<"):]
	if at == 0 || delimiter == "" {
		return "", "", fmt.Errorf("invalid format %q: name and delimiter must not be empty", line)
	}
	for end := 0; end < len(text); {
		next, _, ended := strings.Cut(text[end:], "\n")
		if next == delimiter {
			return strings.TrimSuffix(text[:end], "\n"), strings.TrimPrefix(text[end+len(next):], "\n"), nil
		}
		if !ended {
			return "", "", fmt.Errorf("the end of the value of %q has no new line", line)
		}
		end += len(next) + 1
	}
	return "", "", fmt.Errorf("found no delimiter %q", delimiter)
}
