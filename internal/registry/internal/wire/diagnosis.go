package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Bounds on what is repeated of a registry's words, in bytes.
const (
	MaxCode    = 60
	maxMessage = 300
	maxDetail  = 200
)

// diagnose reads the error code and message that a registry gives in the body
// (distribution-spec, "Error codes"). Of several errors the one that tells most
// decides, which need not be the first: distribution answers 500 with UNKNOWN and
// MANIFEST_BLOB_UNKNOWN for a foreign layer (distribution#2795).
func (a *Answer) Diagnosis() (code, detail string) {
	if a.IsPage() {
		return "", a.DescribePage()
	}
	var told transport.Diagnostic
	for n, d := range a.diagnostics() {
		if n == 0 || tells(d.Code) > tells(told.Code) {
			told = d
		}
	}
	return Cut(Printable(string(told.Code)), MaxCode), Cut(Printable(words(told)), maxMessage)
}

// diagnostics are the errors of an answer. Some registries say "details".
func (a *Answer) diagnostics() []transport.Diagnostic {
	resp := &http.Response{StatusCode: a.Status, Body: io.NopCloser(bytes.NewReader(a.Body))}
	var e *transport.Error
	if !errors.As(transport.CheckError(resp), &e) {
		return nil
	}
	var more struct {
		Errors []struct {
			Details any `json:"details"`
		} `json:"errors"`
	}
	if json.Unmarshal(a.Body, &more) == nil {
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
	case IsContentCode(string(code)), code == transport.TagInvalidErrorCode:
		return 3
	default:
		return 1
	}
}

// IsContentCode reports whether a code says that what was written is not right: that
// is so under whatever status.
func IsContentCode(code string) bool {
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

var ErrPage = errors.New("something in between answers")

// IsPage reports whether an answer is a web page: that of a proxy, or to log in on.
func (a *Answer) IsPage() bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(a.Body, []byte("\ufeff")), " \r\n\t")
	if bytes.HasPrefix(text, []byte("<")) {
		return true
	}
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/html") && len(text) > 0 && text[0] != '{'
}

// DescribePage tells a page by its title.
func (a *Answer) DescribePage() string {
	text := string(a.Body[:min(len(a.Body), 8<<10)])
	lower := strings.ToLower(text)
	from := strings.Index(lower, "<title>")
	if from < 0 || len(lower) != len(text) {
		return "a web page"
	}
	title, _, found := strings.Cut(text[from+len("<title>"):], "<")
	if title = strings.TrimSpace(Printable(title)); !found || title == "" {
		return "a web page"
	}
	return "a web page, \"" + Cut(title, MaxCode) + "\""
}
