package wire

import (
	"net/http"
	"strings"
	"testing"
)

// TestDiagnosis reads all errors of an answer: the most telling decides.
func TestDiagnosis(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ body, code, detail string }{
		{`{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{}},{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown","detail":"sha256:12"}]}`, "MANIFEST_BLOB_UNKNOWN", "blob unknown (sha256:12)"},
		{`{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"first"},{"code":"MANIFEST_BLOB_UNKNOWN","message":"second"}]}`, "MANIFEST_BLOB_UNKNOWN", "first"},
		{`{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":{"description":"too many"}}]}`, "MANIFEST_INVALID", `manifest invalid ({"description":"too many"})`},
		{`{"errors":[{"code":"MANIFEST_INVALID","detail":"unknown media type: a/b"}]}`, "MANIFEST_INVALID", "unknown media type: a/b"},
		{`{"errors":[{"code":"X","message":"m","details":["why"]}]}`, "X", `m (["why"])`},
		{`{"errors":[{"code":"DENIED","message":"no"},{"code":"UNKNOWN"}]}`, "DENIED", "no"},
		{"{\"errors\":[{\"code\":\"X\",\"message\":\"a\\nb\\u001b[31m::error::\"}]}", "X", "a b\ufffd[31m::error::"},
		{"<html><head><title> 413 Request\nEntity </title>", "", `a web page, "413 Request Entity"`},
		{"<html>", "", "a web page"},
		{"nothing", "", ""},
		{`{"errors":[]}`, "", ""},
	} {
		code, detail := (&Answer{Status: 400, Header: http.Header{}, Body: []byte(test.body)}).Diagnosis()
		if code != test.code || detail != test.detail {
			t.Errorf("%s is %q, %q, want %q, %q", test.body, code, detail, test.code, test.detail)
		}
	}
	_, long := (&Answer{Status: 400, Header: http.Header{}, Body: []byte(`{"errors":[{"code":"X","message":"m","detail":"` + strings.Repeat("x", 10_000) + `"}]}`)}).Diagnosis()
	if len(long) > maxMessage+10 {
		t.Errorf("%d bytes of detail", len(long))
	}
}
