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

// Limits of untrusted text in a message, in bytes.
const (
	MaxCode    = 60
	maxMessage = 300
	maxDetail  = 200
)

// Diagnosis reads the error code and message in the body (distribution-spec, "Error codes"). Of
// several errors it returns the most specific, which may not be the first: distribution answers
// 500 with UNKNOWN and MANIFEST_BLOB_UNKNOWN for a foreign layer (distribution#2795).
func (a *Answer) Diagnosis() (code, detail string) {
	if a.IsPage() {
		return "", a.DescribePage()
	}
	var best transport.Diagnostic
	for n, d := range a.diagnostics() {
		if n == 0 || specificity(d.Code) > specificity(best.Code) {
			best = d
		}
	}
	return Cut(Printable(string(best.Code)), MaxCode), Cut(Printable(message(best)), maxMessage)
}

// diagnostics are the errors in the body. Some registries name the field "details".
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

// specificity ranks error codes: a higher one says more about the cause.
func specificity(code transport.ErrorCode) int {
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

// IsContentCode reports whether an error code rejects the written content. It does so whatever
// the status is.
func IsContentCode(code string) bool {
	return slices.Contains([]transport.ErrorCode{
		transport.ManifestBlobUnknownErrorCode, transport.BlobUnknownErrorCode, transport.ManifestInvalidErrorCode,
		transport.ManifestUnverifiedErrorCode, transport.DigestInvalidErrorCode, transport.SizeInvalidErrorCode,
	}, transport.ErrorCode(code))
}

// message is the message of an error, with its detail if that says more: a string, or the JSON
// of any other value.
func message(d transport.Diagnostic) string {
	detail, ok := d.Detail.(string)
	if members, isObject := d.Detail.(map[string]any); isObject && len(members) > 1 && d.Message != "" {
		delete(members, "description") // of the code, not of this error (zot): as the message says it
	}
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

// ErrPage says that a proxy or a login page answered a request to a registry.
var ErrPage = errors.New("the answer is not from a registry")

// IsPage reports whether an answer is a web page or another XML document, such as the error page
// of a proxy or a login page.
func (a *Answer) IsPage() bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(a.Body, []byte("\ufeff")), " \r\n\t")
	if bytes.HasPrefix(text, []byte("<")) {
		return true
	}
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/html") && len(text) > 0 && text[0] != '{'
}

// DescribePage names a page by its title, and the XML of a storage by its error code.
func (a *Answer) DescribePage() string {
	text := string(a.Body[:min(len(a.Body), 8<<10)])
	if title := element(text, "title"); title != "" {
		return "a web page, \"" + title + "\""
	}
	if code := element(text, "code"); code != "" {
		return "an XML document, \"" + code + "\""
	}
	return "a web page"
}

// element is the text of the first element of a name, cut short.
func element(text, name string) string {
	lower := strings.ToLower(text)
	from := strings.Index(lower, "<"+name+">")
	if from < 0 || len(lower) != len(text) {
		return ""
	}
	content, _, found := strings.Cut(text[from+len(name)+len("<>"):], "<")
	if !found {
		return ""
	}
	return Cut(strings.TrimSpace(Printable(content)), MaxCode)
}
