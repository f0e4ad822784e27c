package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Bounds on what is repeated of a registry's words, in bytes.
const (
	maxCode    = 60
	maxMessage = 300
	maxDetail  = 200
)

// diagnose reads the error code and message that a registry gives in the body
// (distribution-spec, "Error codes"). Of several errors the one that tells most
// decides, which need not be the first: distribution answers 500 with UNKNOWN and
// MANIFEST_BLOB_UNKNOWN for a foreign layer (distribution#2795).
func diagnose(a *answer) (code, detail string) {
	if isPage(a) {
		return "", describePage(a)
	}
	var told transport.Diagnostic
	for n, d := range diagnostics(a) {
		if n == 0 || tells(d.Code) > tells(told.Code) {
			told = d
		}
	}
	return Cut(printable(string(told.Code)), maxCode), Cut(printable(words(told)), maxMessage)
}

// diagnostics are the errors of an answer. Some registries say "details".
func diagnostics(a *answer) []transport.Diagnostic {
	resp := &http.Response{StatusCode: a.status, Body: io.NopCloser(bytes.NewReader(a.body))}
	var e *transport.Error
	if !errors.As(transport.CheckError(resp), &e) {
		return nil
	}
	var more struct {
		Errors []struct {
			Details any `json:"details"`
		} `json:"errors"`
	}
	if json.Unmarshal(a.body, &more) == nil {
		for n := range min(len(more.Errors), len(e.Errors)) {
			if e.Errors[n].Detail == nil {
				e.Errors[n].Detail = more.Errors[n].Details
			}
		}
	}
	return e.Errors
}

// tells ranks codes by how much they tell of what was wrong.
func tells(code transport.ErrorCode) int {
	switch {
	case code == "", code == "UNKNOWN", strings.HasPrefix(string(code), "INTERNAL"):
		return 0
	case code == transport.ManifestInvalidErrorCode, code == transport.UnsupportedErrorCode:
		return 2
	case isContentCode(string(code)), code == transport.TagInvalidErrorCode:
		return 3
	default:
		return 1
	}
}

// isContentCode reports whether a code says that what was written is not right: that
// is so under whatever status.
func isContentCode(code string) bool {
	return slices.Contains([]transport.ErrorCode{
		transport.ManifestBlobUnknownErrorCode, transport.BlobUnknownErrorCode, transport.ManifestInvalidErrorCode,
		transport.ManifestUnverifiedErrorCode, transport.DigestInvalidErrorCode, transport.SizeInvalidErrorCode,
	}, transport.ErrorCode(code))
}

// words are an error's message, with its detail where that says more: a text, or
// anything else as the JSON that it was.
func words(d transport.Diagnostic) string {
	detail, ok := d.Detail.(string)
	if !ok && d.Detail != nil {
		raw, err := json.Marshal(d.Detail)
		if err != nil {
			return d.Message
		}
		detail = string(raw)
	}
	switch {
	case detail == "", detail == "{}", detail == "[]", detail == `""`, strings.Contains(d.Message, detail):
		return d.Message
	case d.Message == "":
		return Cut(detail, maxDetail)
	default:
		return d.Message + " (" + Cut(detail, maxDetail) + ")"
	}
}

// printable is a stranger's text on one line, without what steers a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return unicode.ReplacementChar
		}
	}, text)
}

var errPage = errors.New("something in between answers")

// isPage reports whether an answer is a web page: that of a proxy, or to log in on.
func isPage(a *answer) bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(a.body, []byte("\ufeff")), " \r\n\t")
	if bytes.HasPrefix(text, []byte("<")) {
		return true
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/html") && len(text) > 0 && text[0] != '{'
}

// describePage tells a page by its title.
func describePage(a *answer) string {
	text := string(a.body[:min(len(a.body), 8<<10)])
	lower := strings.ToLower(text)
	from := strings.Index(lower, "<title>")
	if from < 0 || len(lower) != len(text) {
		return "a web page"
	}
	title, _, found := strings.Cut(text[from+len("<title>"):], "<")
	if title = strings.TrimSpace(printable(title)); !found || title == "" {
		return "a web page"
	}
	return "a web page, \"" + Cut(title, maxCode) + "\""
}
