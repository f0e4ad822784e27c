package input

import (
	"fmt"
	"strings"
)

// Usage is the text for --help, made from the table.
func Usage() string {
	var b strings.Builder
	b.WriteString(`promote brings a container image, by digest, from one place to the next.

  promote [mode] --source=ghcr.io/acme/app:1.4.2 --target=production
  promote --source=ghcr.io/acme/app --digest=sha256:… --target=registry.acme.example/app:production
  promote plan --target-env=production
  promote rollback --target-env=production --reason=INC-1234
  promote history --target-env=production --since=30d

Every input of the action is a flag: --name=value or --name value. Lists may be
given several times. A flag wins over the variable INPUT_NAME, which the runner
sets. Other users of a machine can see arguments, so give secrets as variables:

  env 'INPUT_SOURCE-PASSWORD=…' promote --source-username=bot …

Exit codes: 0 done or nothing to do, 1 failed, 2 bad input, 3 denied.

`)
	fmt.Fprintf(&b, "Modes: %s\n\nInputs:\n", oneOf(modes))
	for _, in := range Table {
		fmt.Fprintf(&b, "  --%s  %s", in.Name, in.Kind)
		if d := in.initial(); d != "" {
			fmt.Fprintf(&b, ", default %s", d)
		}
		fmt.Fprintf(&b, "\n%s", wrap(in.Description))
	}
	return b.String()
}

// wrap sets text in indented lines of at most 80 characters, where words allow.
func wrap(text string) string {
	const indent, width = "      ", 74
	var b strings.Builder
	column := width
	for _, word := range strings.Fields(text) {
		length := len([]rune(word))
		switch {
		case column+1+length > width:
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(indent)
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String() + "\n"
}
