package input

import (
	"fmt"
	"slices"
	"strings"
)

// readArguments reads flags: --source=x, --source x, --dry-run. A mode may stand
// first. It says whether help was asked for.
func (r *reader) readArguments(args []string) (help bool) {
	a := arguments{reader: r, rest: args}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		r.set("mode", args[0])
		a.rest, a.number = args[1:], 1
	}
	for len(a.rest) > 0 {
		if argument := a.next(); argument == "--help" || argument == "-help" || argument == "-h" {
			help = true
		} else {
			a.read(argument)
		}
	}
	return help
}

// arguments walks the command line.
type arguments struct {
	*reader
	rest   []string
	number int  // of the argument at hand, from 1
	hidden bool // a stray argument may be part of a secret
}

func (a *arguments) next() string {
	argument := a.rest[0]
	a.rest = a.rest[1:]
	a.number++
	return argument
}

func (a *arguments) read(argument string) {
	name, value, hasValue := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
	in, _, known := lookup(name)
	switch {
	case !strings.HasPrefix(argument, "-") || strings.Trim(argument, "-") == "":
		a.stray(argument)
		return
	case !known || !strings.HasPrefix(argument, "--"):
		a.unknown(argument)
		return
	case !hasValue && in.Kind == Boolean:
		value = "true"
	case !hasValue && (len(a.rest) == 0 || isFlag(a.rest[0])):
		a.refuse(name, "--"+name+" without a value", "a value after it", "--"+name+"=…")
		a.flags[name] = true
		return
	case !hasValue:
		value = a.next()
	}
	a.hidden = in.Secret
	a.set(name, value)
}

// isFlag tells a flag from a value that happens to begin with two hyphens.
func isFlag(argument string) bool {
	name, _, _ := strings.Cut(argument, "=")
	_, _, known := lookup(strings.TrimPrefix(name, "--"))
	return strings.HasPrefix(argument, "--") && (known || argument == "--help")
}

func (a *arguments) stray(argument string) {
	shown := quote(argument)
	if a.hidden {
		shown = "not shown, because it may belong to a secret"
	}
	expected := "flags only, as --name=value; a value with blanks in it needs quotes"
	if slices.Contains([]string{"true", "false"}, strings.ToLower(argument)) {
		expected = "flags only; a boolean's value goes with it, as in --dry-run=" + strings.ToLower(argument)
	}
	a.refuse(fmt.Sprintf("argument %d", a.number), shown, expected, "promote --source=ghcr.io/acme/app:1.4.2 --target=staging")
}

// unknown refuses a flag that is no input. Its value is not shown and not read
// further, because the flag may be a misspelt password.
func (a *arguments) unknown(argument string) {
	written, value, hasValue := strings.Cut(argument, "=")
	name := closest(strings.Trim(written, "-"), inputNames())
	in, _, _ := lookup(name)
	if !hasValue && in.Kind != Boolean && len(a.rest) > 0 && !strings.HasPrefix(a.rest[0], "-") {
		value = a.next()
	}
	a.hidden = true
	a.keepSecret(in, strings.TrimSpace(value))
	expected, example := "an input's name as a flag; promote --help lists them", "--source=ghcr.io/acme/app:1.4.2"
	if name != "" {
		expected, example = "an input's name as a flag; the closest is --"+name, "--"+name+"=…"
	}
	if in.Kind == Boolean {
		example = "--" + name
	}
	a.refuse(plain(written), "an unknown flag", expected, example)
}

// set notes a flag's value. Lists may be given several times.
func (r *reader) set(name, value string) {
	in, _, _ := lookup(name)
	value = strings.TrimSpace(value)
	r.keepSecret(in, value)
	switch {
	case !r.flags[name]:
		r.values[name] = value
	case in.Kind == List || in.Kind == ListCSV:
		r.values[name] += "\n" + value
	default:
		r.refuse(name, "--"+name+" twice", "it once", "")
	}
	r.flags[name] = true
}
