package github

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/proxy"
)

const (
	defaultURL      = "https://api.github.com"
	defaultPatience = time.Minute
	attemptTimeout  = 30 * time.Second // of one request, its answer's body included
	maxRedirects    = 5
)

// Options is whom to ask, and as whom.
type Options struct {
	URL       string // of the API, as GITHUB_API_URL has it; empty: https://api.github.com
	Token     string // empty: none
	UserAgent string
	Patience  time.Duration  // how long anything is tried again after its first failure; 0: a minute
	Roots     *x509.CertPool // nil: the system's

	// Transport is for tests; nil: one made for GitHub. Roots is then unused.
	Transport http.RoundTripper
}

// Client asks GitHub. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	token     string
	userAgent string
	patience  time.Duration
	http      *http.Client
}

// New makes a client. Nothing is asked yet. An error says which option cannot be.
func New(o Options) (*Client, error) {
	base, err := parseBase(o.URL)
	if err != nil {
		return nil, err
	}
	if !isToken(o.Token) {
		return nil, errors.New("github-token holds a character that no token has, a space or a line end maybe; expected the token alone")
	}
	c := &Client{base: base, token: o.Token, userAgent: o.UserAgent, patience: o.Patience}
	if c.patience <= 0 {
		c.patience = defaultPatience
	}
	if c.userAgent == "" {
		c.userAgent = "promote" // GitHub refuses a request without one
	}
	transport := o.Transport
	if transport == nil {
		transport = newTransport(o.Roots)
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: stay, Timeout: attemptTimeout}
	return c, nil
}

// Format prints no value: the client holds the token.
func (c *Client) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "(GitHub client)") }

func newTransport(roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: proxy.CheckConnect,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// parseBase reads the API's URL. The token goes there, so plain http is for a
// server on this machine only.
func parseBase(text string) (*url.URL, error) {
	if text == "" {
		text = defaultURL
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, fmt.Errorf("the GitHub API's URL is %s; expected one like %s", quote(text, 200), defaultURL)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, fmt.Errorf("the GitHub API's URL is %s; expected https, since the token goes there", quote(text, 200))
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// isToken reports whether the text can stand in a header as it is: net/http's own
// error would come late.
func isToken(text string) bool {
	for _, b := range []byte(text) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return len(text) <= 4096
}

// stay follows a redirect, as GitHub has for renamed repositories, only where it
// leads to the same host: the token goes along.
func stay(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	switch {
	case next.URL.Scheme != first.Scheme || !strings.EqualFold(next.URL.Host, first.Host):
		return refusal(fmt.Sprintf("GitHub redirects to %s; only redirects to %s are followed",
			quote(next.URL.Scheme+"://"+next.URL.Host, 200), first.Scheme+"://"+first.Host))
	case next.URL.User != nil:
		return refusal("GitHub redirects to a URL with a user in it: not followed")
	case len(before) > maxRedirects:
		return refusal(fmt.Sprintf("GitHub redirects more than %d times", maxRedirects))
	}
	return nil
}

// refusal is our own no to what an answer wants or is. Asking again would not help.
type refusal string

func (r refusal) Error() string { return string(r) }
