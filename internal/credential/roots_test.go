package credential

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// TestProxyThatInterceptsTLS: a forward proxy answers in place of the login services, with certificates of its own
// authority. A login gets through if the chain has that authority, beside those of AWS_CA_BUNDLE.
func TestProxyThatInterceptsTLS(t *testing.T) {
	var calls atomic.Int32
	amazon := amazonServer(t, &calls).Config.Handler.ServeHTTP
	services := azureServices(t, "client_secret", "hunter2")
	services["token.example"] = answer(200, `{"access_token": "access", "token_type": "Bearer"}`)
	services["api.ecr.eu-west-1.amazonaws.com"] = amazon
	services["api.ecr-public.us-east-1.amazonaws.com"] = amazon
	proxy, authority := interceptingProxy(t, services)
	other := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newAuthority(t).Leaf.Raw})
	for _, test := range []struct {
		name, repo string
		env        environment
		password   string
	}{
		{"Google", googleRepository, environment{"GOOGLE_APPLICATION_CREDENTIALS": serviceAccount(t)}, "access"},
		{"Azure", azureRepository, servicePrincipal.with(environment{"AZURE_CLIENT_SECRET": "hunter2"}), "refresh"},
		{"Amazon", privateAmazon, amazonKeys, "ecr-password"},
		{"Amazon, a bundle", privateAmazon, amazonKeys.with(environment{"AWS_CA_BUNDLE": writeFile(t, "other.pem", string(other), 0o600)}), "ecr-password"},
		{"Amazon, public", publicAmazon, amazonKeys, "ecr-password"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := amazonEnvironment(t, test.env)
			roots := x509.NewCertPool()
			roots.AddCert(authority)
			own := roots.Clone()
			chain := &Chain{Getenv: env.get, proxyFor: http.ProxyURL(proxy), Roots: roots}
			got := find(t, chain, Target, test.repo)
			if want := (authn.AuthConfig{Username: got.Auth.Username, Password: test.password}); got.Auth != want {
				t.Errorf("found %s, %+v", got, got.Auth)
			}
			if !roots.Equal(own) {
				t.Error("the login added an authority to those of the run")
			}
			t.Setenv("AWS_MAX_ATTEMPTS", "1")
			chain = &Chain{Getenv: env.get, proxyFor: http.ProxyURL(proxy)}
			_, err := chain.Find(t.Context(), Target, repository(t, test.repo))
			if text := fmt.Sprint(err); !strings.Contains(text, "unknown authority") || !strings.Contains(text, "in the input ca-certificates") || !strings.Contains(text, `"https://`) ||
				strings.Contains(text, "these variables") {
				t.Errorf("without the authority: error %v", err)
			}
		})
	}
}

// newAuthority is a private certificate authority.
func newAuthority(t *testing.T) *tls.Certificate {
	t.Helper()
	return issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
}

// issue makes a certificate; without an authority, one that signs itself.
func issue(t *testing.T, leaf *x509.Certificate, authority *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf.SerialNumber, leaf.NotBefore, leaf.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := leaf, key
	if authority != nil {
		parent, signer = authority.Leaf, authority.PrivateKey.(*ecdsa.PrivateKey) //nolint:forcetypeassert // made here
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	read, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: read}
}

// interceptingProxy is a forward proxy that ends TLS itself, and hands the requests to the services.
func interceptingProxy(t *testing.T, services hosts) (at *url.URL, root *x509.Certificate) {
	t.Helper()
	authority := newAuthority(t)
	var names []string
	for name := range services {
		names = append(names, name)
	}
	leaf := issue(t, &x509.Certificate{DNSNames: names}, authority)
	inside := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Host = r.Host
		services[r.Host](w, r)
	}))
	inside.Config.ErrorLog = log.New(io.Discard, "", 0) // the client that does not know the authority
	inside.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12}
	inside.StartTLS()
	t.Cleanup(inside.Close)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tunnel(w, inside.Listener.Addr().String())
	}))
	t.Cleanup(outside.Close)
	at, err := url.Parse(outside.URL)
	if err != nil {
		t.Fatal(err)
	}
	return at, authority.Leaf
}

// tunnel carries bytes both ways until one side ends.
func tunnel(w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = there.Close()
		return
	}
	go func() {
		_, _ = io.Copy(there, buffered)
		_ = there.Close()
	}()
	_, _ = io.Copy(here, there)
	_ = here.Close()
}
