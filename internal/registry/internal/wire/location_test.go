package wire

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// isInside tells whether an address leads into a private network, without asking
// any name server: however its numbers are written.
func isInside(u *url.URL) bool {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "localhost" {
		return true
	}
	labels := strings.Split(host, ".")
	if !number.MatchString(labels[len(labels)-1]) {
		return false // a name: "10.0.0.1x" is none of 10.0.0.0/8
	}
	return strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "10.") || host == "169.254.169.254"
}

var number = regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)$`)

// Where a registry points, no other protocol and no private address is.
func FuzzResolveLocation(f *testing.F) {
	for _, seed := range []string{"https://storage.example/x", "/x", "x", "http://storage.example", "//127.0.0.1/x", "https://127.1", "https://0x7f.1", "https://[::1]",
		"https://169.254.169.254/x", "https://localhost", "HTTPS://10.0.0.1", "ftp://x", "javascript:x", "//127.0.0x", "https://127.0.0.09", "https://127.99999999999999999999999", "https://a@b", "https://registry.example:443/x", ":"} {
		f.Add(seed)
	}
	from, err := url.Parse("https://registry.example/v2/x")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		to, err := ResolveLocation(from, location)
		if err != nil {
			return
		}
		if to.Scheme != "https" || isInside(to) {
			t.Errorf("%q leads to %s", location, to)
		}
	})
}
