package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// world resolves host:port to the address of a server. It refuses and records everything else.
type world struct {
	hosts  map[string]string
	refuse []string
}

func (w *world) client(t *testing.T, chain *credential.Chain, roots *x509.CertPool) *Client {
	t.Helper()
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"} // which the certificates of regtest are for
	transport := wire.NewTransport(config, func(ctx context.Context, network, address string) (net.Conn, error) {
		to, ok := w.hosts[address]
		if !ok {
			w.refuse = append(w.refuse, address)
			return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
		}
		var d net.Dialer
		return d.DialContext(ctx, network, to)
	}, 0)
	t.Cleanup(transport.CloseIdleConnections)
	return New(Options{Credentials: chain, Transport: transport, RetryFor: 2 * time.Second})
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, host string
		login      bool
		want       bool
	}{
		{"loopback", "127.0.0.1:5000", false, true},
		{"loopback with a login", "127.0.0.1:5000", true, true},
		{"localhost with a login", "localhost:5000", true, true},
		{"a name below localhost", "registry.localhost:5000", true, true},
		{"one word", "registry:5000", false, true},
		{"one word with a login", "registry:5000", true, false},
		{"a name", "registry.example:5000", false, false},
		{"a name with a login", "registry.example:5000", true, false},
		{"a private address", "10.0.0.1:5000", false, false},
		{"a private address with a login", "192.168.1.1:5000", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{})
			tagged(t, reg, regtest.Access{}, "acme/app", "dev")
			w := &world{hosts: map[string]string{test.host: reg.Host()}}
			var chain *credential.Chain
			if test.login {
				chain = logins("ci", secret)
			}
			r := repository(t, w.client(t, chain, nil), credential.Source, test.host+"/acme/app", Pull)
			_, err := r.GetManifest(t.Context(), "dev")
			if (err == nil) != test.want {
				t.Fatalf("error %v, want success %v", err, test.want)
			}
			if !test.want {
				wantRequests(t, reg, ".", 0)
				contains(t, HintOf(err), test.host+" does not speak https")
			}
		})
	}
}

// pool has the authority of the registry.
func pool(t *testing.T, reg *regtest.Registry) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(reg.CAPEM()) {
		t.Fatal("no certificate")
	}
	return roots
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{TLS: true})
	fill(t, reg, "acme/app")
	known := wire.NewTransport(&tls.Config{RootCAs: pool(t, reg)}, nil, 0)
	t.Cleanup(known.CloseIdleConnections)
	r := repository(t, New(Options{Credentials: logins("ci", secret), Transport: known}), credential.Source, reg.Host()+"/acme/app", Pull)
	if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
		t.Error(err)
	}
	r = repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
	_, err := r.GetManifest(t.Context(), "dev")
	if err == nil {
		t.Fatal("a certificate of nobody's authority was taken")
	}
	contains(t, err.Error(), "certificate signed by unknown authority")
	contains(t, HintOf(err), "ca-certificates")
}

// trustAny has the authority of the registry, if it has one.
func trustAny(t *testing.T, reg *regtest.Registry) *x509.CertPool {
	t.Helper()
	if reg.CAPEM() == nil {
		return nil
	}
	return pool(t, reg)
}
