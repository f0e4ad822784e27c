package runnertest

import (
	"reflect"
	"strings"
	"testing"
)

// The cases follow the runner's own tests, SetOutputFileCommandL0.cs.
func TestParseKeyValueFile(t *testing.T) {
	type values = map[string]string
	for name, test := range map[string]struct {
		text string
		want values
	}{
		"empty file":            {"", values{}},
		"simple":                {"A=MY VALUE", values{"A": "MY VALUE"}},
		"empty lines":           {"\nA=one\n\nB=two\n\n", values{"A": "one", "B": "two"}},
		"empty value":           {"A=", values{"A": ""}},
		"equals signs":          {"A==abc\nB=def=ghi\nC=jkl=\n", values{"A": "=abc", "B": "def=ghi", "C": "jkl="}},
		"equals before heredoc": {"A=x<<EOF", values{"A": "x<<EOF"}},
		"heredoc":               {"A<<EOF\none\ntwo\nEOF\n", values{"A": "one\ntwo"}},
		"heredoc at the end":    {"A<<EOF\none\nEOF", values{"A": "one"}},
		"empty heredoc":         {"A<<EOF\nEOF\n", values{"A": ""}},
		"one empty line":        {"A<<EOF\n\nEOF\n", values{"A": ""}},
		"several heredocs":      {"\nA<<EOF\nhello\nEOF\n\nB<<EOF\nHELLO\nEOF\n", values{"A": "hello", "B": "HELLO"}},
		"odd delimiters":        {"A<<=EOF\nx\n=EOF\nB<<<EOF\ny\n<EOF\n", values{"A": "x", "B": "y"}},
		"inner empty lines":     {"A<<EOF\nhello\n\nthree\n\nEOF\n", values{"A": "hello\n\nthree\n"}},
		"value with equals":     {"A<<EOF\nhello=four\nEOF\n", values{"A": "hello=four"}},
		"indented delimiter":    {"A<<EOF\n EOF\nEOF\n", values{"A": " EOF"}},
		"carriage returns stay": {"A<<EOF\none\r\ntwo\nEOF\n", values{"A": "one\r\ntwo"}},
		"last one wins":         {"A=1\nA=2\n", values{"A": "2"}},
		"byte order mark":       {"\ufeffA=1\n", values{"A": "1"}},
		"injection":             {"A<<EOF\nx\nEOF\nB=evil\nC<<EOF\nEOF\n", values{"A": "x", "B": "evil", "C": ""}},
	} {
		got, err := ParseKeyValueFile(test.text)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, test.want)
		}
	}
}

func TestParseKeyValueFileRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"neither":         {"A\n", "invalid format"},
		"no name":         {"<<EOF\nx\nEOF\n", "must not be empty"},
		"no delimiter":    {"A<<\nx\n", "must not be empty"},
		"never ends":      {"A<<EOF\nx\n", "found no delimiter"},
		"nothing at all":  {"A<<EOF", "found no delimiter"},
		"ends in a space": {"A<<EOF\nx\nEOF ", "no new line"},
		"one line":        {"A<<EOF x EOF", "found no delimiter"},
	} {
		if _, err := ParseKeyValueFile(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, test.want)
		}
	}
}

func FuzzParseKeyValueFile(f *testing.F) {
	f.Add("A<<EOF\nx\nEOF\n")
	f.Add("A=b\n\nC<<D\n")
	f.Fuzz(func(t *testing.T, value string) {
		const delimiter = "a delimiter that fuzzing does not find"
		got, err := ParseKeyValueFile("before=1\nname<<" + delimiter + "\n" + value + "\n" + delimiter + "\nafter=2\n")
		want := map[string]string{"before": "1", "name": value, "after": "2"}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q comes back as %q, %v", value, got, err)
		}
		_, _ = ParseKeyValueFile(value) // whatever it is, it ends
	})
}
