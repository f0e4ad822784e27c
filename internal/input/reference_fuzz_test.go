package input

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/template"
)

// FuzzReference: what is taken for a reference means itself when it is written out again, stays on its host and path when
// it becomes a URL, and what is not taken is said in one short line.
func FuzzReference(f *testing.F) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, seed := range []string{
		"a.io/x:1", "ghcr.io/acme/app", "acme/app:dev@" + digest, "ubuntu", "localhost:5000/x:y", "[::1]:5000/x:y", "a.io/x@" + digest,
		"a.io/x:", "a.io/x@", "a.io/../x:1", "a.io//x", "https://user:secret@a.io/x", "A.io/X", "a.io:99999/x", "a.io/x@md5:00", "a.io/x@" + digest + "@" + digest,
		"a.io/x y", "a.io/x%2fy", "a.io/x?y", "a.io/x#y", "a.io\\x", "a@b.io/x", "xn--a.io/x", "①②⑦.0.0.1/x", "index.docker.io/library/x", "docker.io/x", "a.io/x:{{version}}",
		strings.Repeat("x", 3000) + "X",
	} {
		f.Add(seed)
	}
	path := regexp.MustCompile(`^[a-z0-9._/-]+$`)
	f.Fuzz(func(t *testing.T, text string) {
		s, fault := parseSource(text)
		if fault != nil {
			if m := fault.Message(); len(m) > 2048 || strings.ContainsAny(m, "\n\r\x1b\x00") {
				t.Errorf("%q is refused with %q", text, m)
			}
			return
		}
		registry, repository := s.Repository.RegistryStr(), s.Repository.RepositoryStr()
		if s.Tag != "" && !template.ValidTag(s.Tag) || !path.MatchString(repository) || strings.Contains("/"+repository+"/", "/../") {
			t.Errorf("%q is %q %q", text, repository, s.Tag)
		}
		u, err := url.Parse("https://" + registry + "/v2/" + repository + "/manifests/" + s.Tag)
		if err != nil || u.Host != registry || u.User != nil || u.Path != "/v2/"+repository+"/manifests/"+s.Tag || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q leads to %s, error %v", text, u, err)
		}
		whole := s.Repository.Name()
		if s.Tag != "" {
			whole += ":" + s.Tag
		}
		if s.Digest.Hex != "" {
			whole += "@" + s.Digest.String()
		}
		again, fault := parseSource(whole)
		if fault != nil || again.Repository.Name() != s.Repository.Name() || again.Tag != s.Tag || again.Digest != s.Digest {
			t.Errorf("%q is written as %q and then is %+v, fault %v", text, whole, again, fault)
		}
	})
}
