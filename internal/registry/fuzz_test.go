package registry

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Content-Range that is taken is of the grammar's form, and sound.
func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes 5-9/10", "bytes 5-9/*", "bytes */10", "bytes 5", "bytes  5-9/10", "bytes +5-9/10",
		"bytes 05-9/10", "bytes -5-9/10", "items 5-9/10", "bytes 5-", "Bytes 5-9/10", "", "bytes 9-5/10", "bytes 5-10/10", "bytes 5-9/9223372036854775808", "bytes 5-9/10/11"} {
		f.Add(seed)
	}
	grammar := regexp.MustCompile(`^bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)$`)
	f.Fuzz(func(t *testing.T, header string) {
		r, ok := parseRange(header)
		if !ok {
			return
		}
		if !grammar.MatchString(header) || r.first < 0 || r.last < r.first || r.total >= 0 && r.last >= r.total {
			t.Errorf("%q is taken as %+v", header, r)
		}
	})
}

// A tag list that is read has tags, and nothing else.
func FuzzReadTags(f *testing.F) {
	for _, seed := range []string{`{"name":"a","tags":["dev","v1.0_x-y"]}`, `{"tags":null}`, `{"Tags":["dev"]}`, `{"tags":[".dev"]}`, `{"tags":["a b"]}`, `{"tags":["a"]}}`, `[]`, `{}`, `{"tags":["a"],"tags":7}`} {
		f.Add([]byte(seed))
	}
	tag := regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	f.Fuzz(func(t *testing.T, body []byte) {
		tags, err := readTags(body)
		if err != nil && tags != nil {
			t.Errorf("%d tags, error %v", len(tags), err)
		}
		for _, one := range tags {
			if !tag.MatchString(one) {
				t.Errorf("%q is taken as a tag", one)
			}
		}
	})
}

// What is handed over as a digest's manifest has that digest.
func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(emptyIndex), sha([]byte(emptyIndex)), sha([]byte(emptyIndex)), "application/vnd.oci.image.index.v1+json")
	f.Add([]byte(emptyIndex), "dev", sha([]byte(emptyIndex)), "text/html")
	f.Add([]byte(emptyIndex), "dev", "sha256:", "application/vnd.docker.distribution.manifest.v1+prettyjws")
	f.Add([]byte(`{"mediaType":7}`), "sha256:00", "", "")
	f.Add([]byte(`{"manifests":[`), "sha512:00", "sha512:00", ";")
	f.Add([]byte(``), "md5:d41d8cd98f00b204e9800998ecf8427e", "", "")
	f.Fuzz(func(t *testing.T, body []byte, ref, header, sent string) {
		m, err := readManifest(&wire.Answer{Body: body, Header: http.Header{"Docker-Content-Digest": {header}, "Content-Type": {sent}}}, ref)
		if err != nil {
			return
		}
		if strings.Contains(ref, ":") && m.Digest.String() != ref || m.Digest.Algorithm == "sha256" && m.Digest.String() != sha(body) {
			t.Errorf("%q asked for as %s is %s", body, ref, m.Digest)
		}
		if string(m.Raw) != string(body) || m.MediaType == "" {
			t.Errorf("manifest %+v of %q", m, body)
		}
	})
}

// A registry's words are cut short, and never break the error.
func FuzzDiagnose(f *testing.F) {
	for _, seed := range []string{`{"errors":[{"code":"DENIED","message":"no"}]}`, `{"errors":[]}`, `{"errors":[{"code":7}]}`, `{"errors":null}`, `<html>`, ``,
		`{"errors":[{"code":"` + strings.Repeat("é", 50) + `","message":"` + strings.Repeat("界", 150) + `"}]}`, "{\"errors\":[{\"message\":\"\xff\xfe\"}]}"} {
		f.Add(404, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		code, detail := (&wire.Answer{Status: status, Body: body}).Diagnosis()
		if len(code) > 70 || len(detail) > 310 || !utf8.ValidString(code) || !utf8.ValidString(detail) {
			t.Errorf("code %q, detail %q", code, detail)
		}
		e := &Error{Op: "read manifest", Side: "source", Ref: "r", Status: status, Code: code, Detail: detail}
		if !strings.HasPrefix(e.Error(), "read manifest at the source r") || len(e.Error()) > 500 {
			t.Errorf("error %q", e)
		}
	})
}

// A list of referrers is read whole or not at all.
func FuzzReadReferrers(f *testing.F) {
	for _, seed := range []string{emptyIndex, `{"manifests":[{"digest":"` + sha(nil) + `","size":1}]}`, `{"manifests":[{}]}`, `{"manifests":null}`, `{"manifests":[}`, `[]`, `7`} {
		f.Add([]byte(seed), "application/vnd.oci.image.index.v1+json")
	}
	f.Fuzz(func(t *testing.T, body []byte, sent string) {
		list, err := readReferrers(&wire.Answer{Body: body, Header: http.Header{"Content-Type": {sent}}})
		if err != nil && list.known != nil || len(list.known) > maxReferrers {
			t.Errorf("%d referrers, error %v", len(list.known), err)
		}
		for _, d := range list.known {
			if _, err := v1.NewHash(d.Digest.String()); err != nil {
				t.Errorf("digest %s: %v", d.Digest, err)
			}
		}
	})
}

// The next page is on the same host, or there is none.
func FuzzNextPage(f *testing.F) {
	for _, seed := range []string{`</v2/x?page=2>; rel="next"`, `<?a>;rel=next`, `<https://registry.example/b>; rel="next"`, `<https://other.example/b>; rel="next"`,
		`<//other.example>; rel=next`, `<http://registry.example/>; rel=next`, `</a>; rel="prev", </b>; rel="next"`, `<>; rel="next"`, `<\\other.example>; rel=next`,
		`<https://registry.example@other.example/>; rel=next`, `<https:other.example>; rel=next`, `<a`, `>; rel=next<`, `</b>; title="<https://x>"; rel=next`, `<https://registRy.example/b>; rel="next"`} {
		f.Add(seed)
	}
	at, err := url.Parse("https://registry.example/v2/acme/app/referrers/x")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		next, err := nextPage(&wire.Answer{URL: at, Header: http.Header{"Link": {header}}})
		if next == nil {
			return
		}
		again, parseErr := url.Parse(next.String())
		if err != nil || parseErr != nil || again.Scheme != "https" || !strings.EqualFold(again.Hostname(), "registry.example") || again.Port() != "" && again.Port() != "443" {
			t.Errorf("%q leads to %s, error %v", header, next, errors.Join(err, parseErr))
		}
	})
}
