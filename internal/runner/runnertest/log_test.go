package runnertest

import (
	"reflect"
	"testing"
)

// The cases follow the runner's own tests, ActionCommandL0.cs.
func TestParseLog(t *testing.T) {
	none := map[string]string{}
	k1 := map[string]string{"k1": "v1"}
	for _, test := range []struct {
		line string
		want []Command
	}{
		{"##[error k1=v1;]msg", []Command{{"error", k1, "msg"}}},
		{"##[error]", []Command{{"error", none, ""}}},
		{"##[error k1=%3B=%0D=%0A=%5D;]%3B-%0D-%0A-%5D", []Command{{"error", map[string]string{"k1": ";=\r=\n=]"}, ";-\r-\n-]"}}},
		{"##[error k1=%253B=%250D=%250A=%255D;]%253B-%250D-%250A-%255D", []Command{{"error", map[string]string{"k1": "%3B=%0D=%0A=%5D"}, "%3B-%0D-%0A-%5D"}}},
		{"##[error k1=;k2=;]", []Command{{"error", none, ""}}},
		{">>>   ##[error k1=v1;]msg", []Command{{"error", k1, "msg"}}},
		{"##[ERROR]x", []Command{{"ERROR", none, "x"}}},
		{"##[error", nil},
		{"##[unknown]##[error]x", nil},
		{"::error k1=v1,::msg", []Command{{"error", k1, "msg"}}},
		{"::error::", []Command{{"error", none, ""}}},
		{"::error k1=;=%2C=%0D=%0A=]=%3A,::;-%0D-%0A-]-:-,", []Command{{"error", map[string]string{"k1": ";=,=\r=\n=]=:"}, ";-\r-\n-]-:-,"}}},
		{"::error k1=;=%252C=%250D=%250A=]=%253A,::;-%250D-%250A-]-:-,", []Command{{"error", map[string]string{"k1": ";=%2C=%0D=%0A=]=%3A"}, ";-%0D-%0A-]-:-,"}}},
		{"::error k1=,k2=,::", []Command{{"error", none, ""}}},
		{"::error k1=v1::", []Command{{"error", k1, ""}}},
		{"   ::error k1=v1,::msg", []Command{{"error", k1, "msg"}}},
		{"   >>>   ::error k1=v1,::msg", nil},
		{"\u00a0\u3000::error::msg", []Command{{"error", none, "msg"}}},
		{"::Error::msg", []Command{{"Error", none, "msg"}}},
		{"::error:msg", nil},
		{"::unknown::msg", nil},
		{"::error::a::b", []Command{{"error", none, "a::b"}}},
		{"::warning line=1,endLine=2,col=1::x", []Command{{"warning", map[string]string{"line": "1", "endLine": "2", "col": "1"}, "x"}}},
		{"one\r::error::two\r\nthree\n::debug::four", []Command{{"error", none, "two"}, {"debug", none, "four"}}},
		{":\u200b:error\u200b::x", []Command{{"error", none, "x"}}},
		{"#\u0591#\x00[er\u0640ror]x", []Command{{"error", none, "x"}}},
		{"", nil},
	} {
		if got := ParseLog(test.line); !reflect.DeepEqual(got, test.want) {
			t.Errorf("ParseLog(%q) = %v, want %v", test.line, got, test.want)
		}
	}
}

// The cases follow ActionCommandManagerL0.cs.
func TestParseLogStops(t *testing.T) {
	for _, test := range []struct {
		log  string
		want []string
	}{
		{"::stop-commands::t1\n::error::x\n::t1::\n::error::y", []string{"stop-commands", "t1", "error"}},
		{"##[stop-commands]t1\n##[error]x\n##[t1]\n##[error]y", []string{"stop-commands", "t1", "error"}},
		{"::stop-commands::t1\n::T1::\n::error::y", []string{"stop-commands", "T1", "error"}},
		{"::stop-commands::t1\n::stop-commands::t2\n::t2::\n::error::y", []string{"stop-commands"}},
		{"::t1::\n::error::y", []string{"error"}},
		{"::stop-commands::\n::error::y", []string{"stop-commands", "error"}},
		{"::stop-commands::error\n::error::y", []string{"stop-commands", "error"}},
		{"::stop-commands::pause-logging\n::error::y", []string{"stop-commands", "error"}},
	} {
		var got []string
		for _, command := range ParseLog(test.log) {
			got = append(got, command.Name)
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("ParseLog(%q) = %v, want %v", test.log, got, test.want)
		}
	}
}
