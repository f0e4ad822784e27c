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

	"github.com/artifact-promotion/promote/internal/proxy"
)

// Dial makes a connection.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Transports send the requests of a client, one for each class.
type Transports struct {
	// Small is for requests whose bodies are in memory. Over HTTP/2 they share one connection
	// to a host, and use a second one only if the host allows fewer streams.
	Small http.RoundTripper
	// Download and Upload are for streamed bodies. They use HTTP/1.1 alone: HTTP/2 would put
	// all streams on one TCP connection and limit them by its window (ggcr#799). They are
	// two, so that downloads that wait for their target cannot take its connections.
	Download, Upload http.RoundTripper
}

// Of is the transport of a class.
func (t Transports) Of(c Class) http.RoundTripper {
	return [...]http.RoundTripper{Small: t.Small, Download: t.Download, Upload: t.Upload}[c]
}

// NewTransports makes the transports of a client. They open connections when a request needs
// one. They do not request compression, because digests are of the stored bytes.
func NewTransports(roots *x509.CertPool, dial Dial, transfers int) (t Transports, closeIdle func()) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}).DialContext
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	small := NewTransport(config, dial, SmallConnections)
	small.Protocols.SetHTTP2(true)
	// Without pings, a dead connection would stall all its streams until their timeout.
	small.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
	down, up := NewTransport(config.Clone(), dial, transfers), NewTransport(config.Clone(), dial, transfers)
	return Transports{small, down, up}, func() {
		for _, t := range []*http.Transport{small, down, up} {
			t.CloseIdleConnections()
		}
	}
}

// NewTransport makes a transport for HTTP/1.1 with a number of connections to each host.
func NewTransport(config *tls.Config, dial Dial, connections int) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: proxy.CheckConnect,
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

// refuseLinkLocal refuses connections to the metadata services of clouds, after the name was
// resolved.
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

// UserAgent sets the User-Agent, and drops a Location that cannot be parsed: http.Client would
// fail before it calls CheckRedirect.
type UserAgent struct {
	Inner http.RoundTripper
	Name  string
}

// RoundTrip sends the request.
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
