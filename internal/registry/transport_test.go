package registry

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
)

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Whatever name or redirect leads there, metadata services are not connected to.
func TestLinkLocalIsNotDialled(t *testing.T) {
	t.Parallel()
	own, closeIdle := newTransports(nil, nil, 1)
	defer closeIdle()
	transport := own.small.(*http.Transport) //nolint:forcetypeassert // as it was made
	transport.Proxy = nil
	for _, host := range []string{"169.254.169.254", "[fe80::1%25lo]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/latest/meta-data", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, errLinkLocal) || temporary(err) {
			t.Errorf("%s: error %v, want a final refusal", host, err)
		}
	}
	for _, address := range []string{"10.0.0.1", "127.0.0.1", "8.8.8.8", "::1", "fd00::1"} {
		if err := refuseLinkLocal("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 443).String(), nil); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := refuseLinkLocal("tcp", "nonsense", nil); err == nil {
		t.Error("an address that cannot be read was let through")
	}
}

func TestSameHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"https://registry.example", "https://registry.example/x", true},
		{"https://registry.example", "https://REGISTRY.example:443/x", true},
		{"http://registry.example:80", "http://registry.example", true},
		{"https://registry.example", "http://registry.example", false},
		{"https://registry.example", "http://registry.example:443", false},
		{"https://registry.example", "https://registry.example:8443", false},
		{"https://registry.example", "https://registry.example.evil", false},
		{"https://[::1]:5000", "https://[::1]:5000", true},
	} {
		if got := sameHost(mustURL(t, test.a), mustURL(t, test.b)); got != test.want {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}

// net/http dials what IDNA makes of a name, which may be an address (UTS #46).
func TestElsewhereIsASCII(t *testing.T) {
	t.Parallel()
	from := mustURL(t, "https://registry.example")
	for _, to := range []string{"https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://%EF%BD%8Cocalhost/", "https://regiſtry.example/", "https://bücher.example/"} {
		var refused refusal
		if err := checkElsewhere(from, mustURL(t, to)); !errors.As(err, &refused) {
			t.Errorf("%s: error %v, want a refusal", to, err)
		}
	}
	if err := checkElsewhere(from, mustURL(t, "https://xn--bcher-kva.example/")); err != nil {
		t.Error(err)
	}
}

// Compression would have bytes inflated unasked.
func TestTransportSettings(t *testing.T) {
	t.Parallel()
	transport := newTransport(&tls.Config{MinVersion: tls.VersionTLS12}, nil, 1)
	if !transport.Protocols.HTTP1() || !transport.DisableCompression || transport.MaxResponseHeaderBytes > 1<<20 {
		t.Errorf("transport %+v", transport)
	}
}
