package wire

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"testing"
)

// Whatever name or redirect leads there, metadata services are not connected to.
func TestLinkLocalIsNotDialled(t *testing.T) {
	t.Parallel()
	own, closeIdle := NewTransports(nil, nil, 1)
	defer closeIdle()
	transport := own.Small.(*http.Transport) //nolint:forcetypeassert // as it was made
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
		if !errors.Is(err, errLinkLocal) {
			t.Errorf("%s: error %v, want a refusal", host, err)
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
		if got := SameHost(mustURL(t, test.a), mustURL(t, test.b)); got != test.want {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}

// net/http dials what IDNA makes of a name, which may be an address (UTS #46).
func TestElsewhereIsASCII(t *testing.T) {
	t.Parallel()
	from := mustURL(t, "https://registry.example")
	for _, to := range []string{"https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://%EF%BD%8Cocalhost/", "https://regiſtry.example/", "https://bücher.example/"} {
		var refused Refusal
		if err := CheckDestination(from, mustURL(t, to)); !errors.As(err, &refused) {
			t.Errorf("%s: error %v, want a refusal", to, err)
		}
	}
	if err := CheckDestination(from, mustURL(t, "https://xn--bcher-kva.example/")); err != nil {
		t.Error(err)
	}
}

// Compression would have bytes inflated unasked.
func TestTransportSettings(t *testing.T) {
	t.Parallel()
	transport := NewTransport(&tls.Config{MinVersion: tls.VersionTLS12}, nil, 1)
	if !transport.Protocols.HTTP1() || !transport.DisableCompression || transport.MaxResponseHeaderBytes > 1<<20 {
		t.Errorf("transport %+v", transport)
	}
}

// What a registry on a private address may do, and one on the network too.
func TestWhereARegistryMayLead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		from, to string
		want     bool
	}{
		{"https://registry.example/v2/", "https://storage.example/x", true},
		{"https://registry.example/v2/", "https://registry.example:443/x", true},
		{"https://registry.example:8443/v2/", "https://registry.example:9443/x", true},
		{"http://127.0.0.1:5000/v2/", "http://127.0.0.1:9000/x", true},
		{"http://127.0.0.1:5000/v2/", "https://storage.example/x", true},
		{"https://10.0.0.1/v2/", "https://10.0.0.2/x", true},
		{"https://10.0.0.1/v2/", "https://169.254.169.254/x", false},
		{"http://127.0.0.1:5000/v2/", "http://169.254.169.254/x", false},
		{"https://169.254.169.254/v2/", "https://169.254.169.254/x", true}, // refused when it is dialled
		{"https://registry.example/v2/", "https://1.example/x", true},
		{"https://registry.example/v2/", "https://8.8.8.8/x", true},
		{"https://registry.example/v2/", "https://[2001:4860:4860::8888]/x", true},
	} {
		_, err := ResolveLocation(mustURL(t, test.from), test.to)
		if (err == nil) != test.want {
			t.Errorf("%s to %s: error %v, want it followed: %v", test.from, test.to, err, test.want)
		}
	}
}
