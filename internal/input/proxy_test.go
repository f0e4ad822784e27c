package input

import (
	"slices"
	"strings"
	"testing"
)

// The password of a forward proxy is masked in each form in which it may turn up.
func TestProxySecrets(t *testing.T) {
	for address, want := range map[string][]string{
		"http://bob:hunter%2322@proxy.example:3128": {"hunter%2322", "hunter#22", "Ym9iOmh1bnRlciMyMg=="},
		"https://bob:hunter22@proxy.example":        {"hunter22", "Ym9iOmh1bnRlcjIy"},
		"bob:hunter22@proxy.example:3128":           {"hunter22"},
		"http://token-alone@proxy.example:3128":     {"token-alone"},
		"http://bob:p@ss@proxy.example:3128":        {"p@ss"},
		"http://proxy.example:3128":                 nil,
		"proxy.example:3128":                        nil,
		"socks5://bob:hunter22@proxy.example":       {"hunter22"},
	} {
		for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
			settings, err := ask(nil, good(env{name: address}))
			if err != nil {
				t.Errorf("%s: %v", address, err)
			}
			for _, secret := range want {
				if !slices.Contains(settings.Secrets, secret) {
					t.Errorf("secrets of %s are %q, want %q among them", address, settings.Secrets, secret)
				}
			}
			if want == nil && len(settings.Secrets) > 0 {
				t.Errorf("secrets of %s are %q", address, settings.Secrets)
			}
		}
	}
}

// net/http would quote an address that it cannot read, with the password in it.
func TestProxyThatCannotBeRead(t *testing.T) {
	for _, address := range []string{"http://bob:hunter%zz@proxy.example:3128", "http://bob:hunter22@proxy.example:port", "ftp://bob:hunter22@proxy.example", "http://bob:hunter22@", "http:// "} {
		settings, err := ask(nil, good(env{"HTTPS_PROXY": address}))
		fault := expectOneFault(t, err)
		expectText(t, fault.Message(), "HTTPS_PROXY: given an address that cannot be read", "percent-encoding")
		if strings.Contains(err.Error(), "hunter") || strings.Contains(address, "hunter22") && !slices.Contains(settings.Secrets, "hunter22") {
			t.Errorf("error is %v, secrets are %q", err, settings.Secrets)
		}
	}
}
