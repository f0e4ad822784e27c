package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Content-Range that is taken says in so many digits where it starts.
func FuzzStartsAt(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes 5-9/10", "bytes 5-9/*", "bytes */10", "bytes 5", "bytes  5-9/10", "bytes +5-9/10",
		"bytes 05-9/10", "bytes -5-9/10", "items 5-9/10", "bytes 5-", "Bytes 5-9/10", ""} {
		f.Add(seed, int64(5))
	}
	f.Add("bytes 0-9/10", int64(0))
	grammar := regexp.MustCompile(`^bytes ([0-9]+)-`)
	f.Fuzz(func(t *testing.T, header string, offset int64) {
		if offset < 0 {
			t.Skip("no download is there")
		}
		m := grammar.FindStringSubmatch(header)
		want := m != nil && m[1] == fmt.Sprint(offset)
		if got := startsAt(header, offset); got != want {
			t.Errorf("%q starts at %d: %v, want %v", header, offset, got, want)
		}
	})
}

// The next page is on the same host, or there is none.
func FuzzNextPage(f *testing.F) {
	for _, seed := range []string{`</v2/x?page=2>; rel="next"`, `<?a>;rel=next`, `<https://registry.example/b>; rel="next"`, `<https://other.example/b>; rel="next"`,
		`<//other.example>; rel=next`, `<http://registry.example/>; rel=next`, `</a>; rel="prev", </b>; rel="next"`, `<>; rel="next"`, `<\\other.example>; rel=next`,
		`<https://registry.example@other.example/>; rel=next`, `<https:other.example>; rel=next`, `<a`, `>; rel=next<`, `</b>; title="<https://x>"; rel=next`} {
		f.Add(seed)
	}
	at, err := url.Parse("https://registry.example/v2/acme/app/referrers/x")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		next, err := nextPage(&answer{url: at, header: http.Header{"Link": {header}}})
		if next == nil {
			return
		}
		again, parseErr := url.Parse(next.String())
		if err != nil || parseErr != nil || again.Scheme != "https" || again.Hostname() != "registry.example" || again.Port() != "" && again.Port() != "443" {
			t.Errorf("%q leads to %s, error %v", header, next, errors.Join(err, parseErr))
		}
	})
}

// Where a registry points, no other protocol and no private address is.
func FuzzElsewhere(f *testing.F) {
	for _, seed := range []string{"https://storage.example/x", "/x", "x", "http://storage.example", "//127.0.0.1/x", "https://127.1", "https://0x7f.1", "https://[::1]",
		"https://169.254.169.254/x", "https://localhost", "HTTPS://10.0.0.1", "ftp://x", "javascript:x", "https://a@b", "https://registry.example:443/x", ":"} {
		f.Add(seed)
	}
	from, err := url.Parse("https://registry.example/v2/x")
	if err != nil {
		f.Fatal(err)
	}
	number := regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)$`)
	f.Fuzz(func(t *testing.T, location string) {
		to, err := elsewhere(from, location)
		if err != nil {
			return
		}
		host := strings.ToLower(strings.TrimSuffix(to.Hostname(), "."))
		labels := strings.Split(host, ".")
		literal := number.MatchString(labels[len(labels)-1])
		if to.Scheme != "https" || host == "localhost" || literal && (strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "10.")) {
			t.Errorf("%q leads to %s", location, to)
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
		m, err := readManifest(&answer{body: body, header: http.Header{"Docker-Content-Digest": {header}, "Content-Type": {sent}}}, ref)
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
		code, detail := diagnose(&answer{status: status, body: body})
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
		list, err := readReferrers(&answer{body: body, header: http.Header{"Content-Type": {sent}}})
		if err != nil && list != nil || len(list) > maxReferrers {
			t.Errorf("%d referrers, error %v", len(list), err)
		}
		for _, d := range list {
			if d.Digest != (v1.Hash{}) {
				if _, err := v1.NewHash(d.Digest.String()); err != nil {
					t.Errorf("digest %s: %v", d.Digest, err)
				}
			}
		}
	})
}
