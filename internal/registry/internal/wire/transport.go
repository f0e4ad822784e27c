package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Dial makes a connection.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Transports are how a client reaches hosts: each kind of request goes by the one
// that suits it.
type Transports struct {
	// small is for requests whose bodies are held in memory. Over HTTP/2 they share
	// one connection to a host, and a second only where the host allows fewer streams.
	Small http.RoundTripper
	// down and up are for bodies that are streamed from a host and to it. They speak
	// HTTP/1.1 alone: HTTP/2 puts all streams on one TCP connection, whose single window
	// then bounds them (ggcr#799). They are two, so that the sources which wait for a
	// target never keep it from getting a connection.
	Download, Upload http.RoundTripper
}

// Of is the transport of a class of requests.
func (t Transports) Of(c Class) http.RoundTripper {
	return [...]http.RoundTripper{Small: t.Small, Download: t.Download, Upload: t.Upload}[c]
}

// NewTransports makes connections when they are needed, never before. Compression
// is off: manifests are carried as bytes, and nothing is inflated unasked.
func NewTransports(roots *x509.CertPool, dial Dial, transfers int) (t Transports, closeIdle func()) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}).DialContext
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	small := NewTransport(config, dial, SmallConnections)
	small.Protocols.SetHTTP2(true)
	// A connection that died without a word would take all streams with it.
	small.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
	down, up := NewTransport(config.Clone(), dial, transfers), NewTransport(config.Clone(), dial, transfers)
	return Transports{small, down, up}, func() {
		for _, t := range []*http.Transport{small, down, up} {
			t.CloseIdleConnections()
		}
	}
}

func NewTransport(config *tls.Config, dial Dial, connections int) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: checkProxy,
		DialContext:            dial,
		Protocols:              protocols,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxConnsPerHost:        connections,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        60 * time.Second,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// checkProxy tells a forward proxy that wants a login: net/http has no error for it but
// the words of the proxy's status line.
func checkProxy(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusProxyAuthRequired {
		return nil
	}
	return ProxyLoginError{Proxy: proxy.Host, refused: proxy.User != nil}
}

// ProxyLoginError says that a forward proxy answered 407 (RFC 9110 §15.5.8): no request gets
// past it, however often it is tried.
type ProxyLoginError struct {
	Proxy   string
	refused bool // there was a login, and it was not taken
}

func (p ProxyLoginError) Error() string {
	if p.refused {
		return fmt.Sprintf("the proxy %s refuses the user and password of HTTPS_PROXY (407)", Cut(p.Proxy, 200))
	}
	return fmt.Sprintf("the proxy %s asks for a user and password (407)", Cut(p.Proxy, 200))
}

func (ProxyLoginError) Final() {}

// refuseLinkLocal keeps every connection, by whatever name or redirect it came,
// from the clouds' metadata services.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("parse address %q: %w", address, err)
	}
	if isLinkLocal(ap.Addr()) {
		return errLinkLocal
	}
	return nil
}

// UserAgent sets the User-Agent, and drops a Location that cannot be read: net/http
// fails over it in words of its own before it asks whether to follow.
type UserAgent struct {
	Inner http.RoundTripper
	Name  string
}

func (a UserAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	if a.Name != "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", a.Name)
	}
	resp, err := a.Inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(resp.Header.Get("Location")); err != nil {
		resp.Header.Del("Location")
	}
	return resp, nil
}
