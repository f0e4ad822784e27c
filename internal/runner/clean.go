package runner

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/artifact-promotion/promote/internal/report"
)

// maxText is how much of one text is printed, in bytes; a registry's error page
// has no end of its own.
const maxText = 64 << 10

// clean is a stranger's text as lines in which nothing acts: neither on a
// terminal nor on the runner.
func clean(text string) []string {
	if more := len(text) - maxText; more > 0 {
		text = fmt.Sprintf("%s… (%d more bytes)", strings.ToValidUTF8(text[:maxText], ""), more)
	}
	return cleanLines(strings.TrimRight(text, "\r\n"))
}

func cleanLines(text string) []string {
	lines := strings.Split(lineEnds.Replace(text), "\n")
	for i, line := range lines {
		lines[i] = breakCommands(report.Visible(line))
	}
	return lines
}

// lineEnds are all that end a line for the runner: .NET's StreamReader.ReadLine.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// breakCommands takes "::" and "##[" out of a line by escaping their last
// character. The runner looks for them with .NET's comparison by culture, which
// skips characters without weight (dotnet/runtime#46569); many that are not ASCII
// have none, so those between do not count here. What breaks is a letter and a
// digit, which have weight in every culture.
func breakCommands(line string) string {
	var out strings.Builder
	var last, older rune // the two ASCII characters before
	for _, r := range line {
		command := r == ':' && last == ':' || r == '[' && last == '#' && older == '#'
		switch {
		case r > unicode.MaxASCII:
			out.WriteRune(r)
		case command:
			fmt.Fprintf(&out, `\x%02x`, r)
			last, older = 0, 0
		default:
			out.WriteRune(r)
			last, older = r, last
		}
	}
	return out.String()
}
