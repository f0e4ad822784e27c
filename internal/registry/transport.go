package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// dialing makes a connection.
type dialing = func(ctx context.Context, network, address string) (net.Conn, error)

// transports are how a client reaches hosts: each kind of request goes by the one
// that suits it.
type transports struct {
	// small is for requests whose bodies are held in memory. Over HTTP/2 they share
	// one connection to a host, and a second only where the host allows fewer streams.
	small http.RoundTripper
	// down and up are for bodies that are streamed from a host and to it. They speak
	// HTTP/1.1 alone: HTTP/2 puts all streams on one TCP connection, whose single window
	// then bounds them (ggcr#799). They are two, so that the sources which wait for a
	// target never keep it from getting a connection.
	down, up http.RoundTripper
}

// newTransports makes connections when they are needed, never before. Compression
// is off: manifests are carried as bytes, and nothing is inflated unasked.
func newTransports(roots *x509.CertPool, dial dialing, transfers int) (t transports, closeIdle func()) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}).DialContext
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	small := newTransport(config, dial, smallConnections)
	small.Protocols.SetHTTP2(true)
	// A connection that died without a word would take all streams with it.
	small.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
	down, up := newTransport(config.Clone(), dial, transfers), newTransport(config.Clone(), dial, transfers)
	return transports{small, down, up}, func() {
		for _, t := range []*http.Transport{small, down, up} {
			t.CloseIdleConnections()
		}
	}
}

func newTransport(config *tls.Config, dial dialing, connections int) *http.Transport {
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
	return proxyLogin{host: proxy.Host, refused: proxy.User != nil}
}

// proxyLogin says that a forward proxy answered 407 (RFC 9110 §15.5.8): no request gets
// past it, however often it is tried.
type proxyLogin struct {
	host    string
	refused bool // there was a login, and it was not taken
}

func (p proxyLogin) Error() string {
	if p.refused {
		return fmt.Sprintf("the proxy %s refuses the user and password of HTTPS_PROXY (407)", Cut(p.host, 200))
	}
	return fmt.Sprintf("the proxy %s asks for a user and password (407)", Cut(p.host, 200))
}

func (proxyLogin) final() {}

// refusal is our own no to where a registry points.
type refusal string

func (r refusal) Error() string { return string(r) }

const errLinkLocal = refusal("link-local addresses are refused: no registry lives there, but cloud metadata does")

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

func isLinkLocal(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLinkLocalUnicast() || ip == netip.MustParseAddr("fd00:ec2::254")
}

// agent sets the User-Agent, and drops a Location that cannot be read: net/http
// fails over it in words of its own before it asks whether to follow.
type agent struct {
	inner     http.RoundTripper
	userAgent string
}

func (a agent) RoundTrip(req *http.Request) (*http.Response, error) {
	if a.userAgent != "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", a.userAgent)
	}
	resp, err := a.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(resp.Header.Get("Location")); err != nil {
		resp.Header.Del("Location")
	}
	return resp, nil
}

// checkElsewhere decides whether a URL that a registry pointed to (a redirect,
// an upload's Location) may be used. It never sees the credential there; the
// question is whether it may be contacted at all. From https only https is
// reached; private and loopback address literals only from a registry that is
// itself named by one (ggcr#2440).
func checkElsewhere(from, to *url.URL) error {
	if to.Scheme != "https" && (to.Scheme != "http" || from.Scheme != "http") {
		return refusal(fmt.Sprintf("registry points from %s to %q: only https is followed", from.Scheme, Cut(to.Scheme, 40)))
	}
	if !isASCII(to.Host) {
		return refusal(fmt.Sprintf("registry points to the host %q: only names in ASCII are followed", Cut(to.Hostname(), 100)))
	}
	if sameHost(from, to) {
		return nil
	}
	if to.User != nil {
		return refusal("registry points to a URL with a user in it")
	}
	// The dialer refuses it too, but does not see what a proxy connects to.
	if ip, err := netip.ParseAddr(to.Hostname()); err == nil && isLinkLocal(ip) {
		return errLinkLocal
	}
	if isPrivate(to.Hostname()) && !isPrivate(from.Hostname()) {
		return refusal(fmt.Sprintf("registry points to the private address %q: not followed", Cut(to.Hostname(), 100)))
	}
	return nil
}

// sameHost reports whether both URLs are of one scheme, host and port.
func sameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	default:
		return "443"
	}
}

func isPrivate(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return isLoopback(host) || endsInNumber(host)
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified() || isLinkLocal(ip)
}

// isASCII tells names that are dialled as they are written. net/http maps others
// first (IDNA, UTS #46), and other digits and full stops become those of an address.
func isASCII(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf })
}

// endsInNumber tells the spellings of an IPv4 address that only some resolvers
// take, such as 127.1 or 0x7f000001, from names (WHATWG URL, "ends in a number").
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndex(host, ".")+1:])
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		last, digits = "0"+hex, digits+"abcdef"
	}
	return last != "" && strings.Trim(last, digits) == ""
}

func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
