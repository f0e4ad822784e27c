package runnertest

import (
	"strings"
	"unicode"
)

// Command is a line of the log that the runner acts on instead of printing it.
type Command struct {
	Name       string
	Properties map[string]string
	Data       string
}

// registered are the commands that the runner knows (ActionCommandManager.cs).
var registered = []string{
	"stop-commands", "set-env", "set-output", "save-state", "add-mask", "add-path", "add-matcher",
	"remove-matcher", "debug", "warning", "error", "notice", "group", "endgroup", "echo",
}

// ParseLog is every command in what a step printed, in order; stdout and stderr
// are the same to the runner. Between stop-commands and its token only the token
// is one.
func ParseLog(text string) []Command {
	var commands []Command
	token := ""
	for _, line := range lines(text) {
		command, ok := parse(line, token)
		switch {
		case !ok, token != "" && !strings.EqualFold(command.Name, token):
			continue
		case token != "":
			token = ""
		case strings.EqualFold(command.Name, "stop-commands") && validToken(command.Data):
			token = command.Data
		}
		commands = append(commands, command)
	}
	return commands
}

// lines are cut as .NET's StreamReader.ReadLine does.
func lines(text string) []string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// validToken is ActionCommandManager.ValidateStopToken.
func validToken(token string) bool {
	return token != "" && !known(token, "") && !strings.EqualFold(token, "pause-logging")
}

// parse also tries the line without the characters that .NET's comparison by
// culture skips. What is found so may be more than the runner finds, never less.
func parse(line, token string) (Command, bool) {
	for _, text := range []string{line, strings.Map(weighty, line)} {
		if command, ok := parseV2(text, token); ok {
			return command, true
		}
		if command, ok := parseV1(text, token); ok {
			return command, true
		}
	}
	return Command{}, false
}

// weighty drops what may have no weight in a comparison: controls, formats,
// marks, and letters that only modify (dotnet/runtime#46569).
func weighty(r rune) rune {
	if r == '\t' || !unicode.In(r, unicode.C, unicode.M, unicode.Lm) {
		return r
	}
	return -1
}

// parseV2 is ActionCommand.TryParseV2: "::name key=value,key=value::data", after
// white space only.
func parseV2(line, token string) (Command, bool) {
	line, ok := strings.CutPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "::")
	if !ok {
		return Command{}, false
	}
	head, data, ok := strings.Cut(line, "::")
	if !ok {
		return Command{}, false
	}
	name, properties, _ := strings.Cut(head, " ")
	if !known(name, token) {
		return Command{}, false
	}
	return Command{
		Name:       name,
		Properties: pairs(strings.TrimSpace(properties), ",", "%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%"),
		Data:       unescape(data, "%0D", "\r", "%0A", "\n", "%25", "%"),
	}, true
}

// parseV1 is ActionCommand.TryParse: "##[name key=value;key=value]data", anywhere
// in a line.
func parseV1(line, token string) (Command, bool) {
	_, line, ok := strings.Cut(line, "##[")
	if !ok {
		return Command{}, false
	}
	head, data, ok := strings.Cut(line, "]")
	if !ok {
		return Command{}, false
	}
	name, properties, _ := strings.Cut(head, " ")
	if !known(name, token) {
		return Command{}, false
	}
	escapes := []string{"%3B", ";", "%0D", "\r", "%0A", "\n", "%5D", "]", "%25", "%"}
	return Command{Name: name, Properties: pairs(properties, ";", escapes...), Data: unescape(data, escapes...)}, true
}

func known(name, token string) bool {
	for _, command := range registered {
		if strings.EqualFold(name, command) {
			return true
		}
	}
	return token != "" && strings.EqualFold(name, token)
}

// pairs cuts properties as Split with RemoveEmptyEntries does: a pair without a
// key or a value is none.
func pairs(text, separator string, escapes ...string) map[string]string {
	properties := map[string]string{}
	for _, pair := range strings.Split(text, separator) {
		key, value, _ := strings.Cut(strings.TrimLeft(pair, "="), "=")
		if value = strings.TrimLeft(value, "="); key != "" && value != "" {
			properties[key] = unescape(value, escapes...)
		}
	}
	return properties
}

// unescape replaces one escape after the other; a %25 comes last.
func unescape(text string, escapes ...string) string {
	for i := 0; i < len(escapes); i += 2 {
		text = strings.ReplaceAll(text, escapes[i], escapes[i+1])
	}
	return text
}
