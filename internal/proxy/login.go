// Package proxy says why a forward proxy lets no request past.
package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"
)

// LoginError says that a forward proxy answered 407 to CONNECT (RFC 9110, section 15.5.8): no request gets past it,
// however often it is tried.
type LoginError struct {
	Host    string // of the proxy, with its port
	Refused bool   // there was a login, and it was not taken
}

// CheckConnect is for http.Transport.OnProxyConnectResponse. It tells a proxy that wants a login: net/http has no error
// for it but the words of the proxy's status line.
func CheckConnect(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusProxyAuthRequired {
		return nil
	}
	return &LoginError{Host: cut(proxy.Host), Refused: proxy.User != nil}
}

func (e *LoginError) Error() string {
	if e.Refused {
		return fmt.Sprintf("the proxy %s refuses the user and password of HTTPS_PROXY (407)", e.Host)
	}
	return fmt.Sprintf("the proxy %s asks for a user and password (407)", e.Host)
}

// Hint is what to do, where the host was to be reached.
func (e *LoginError) Hint(host string) string {
	return "The proxy asks for a user and password; check HTTPS_PROXY: http://user:password@" + e.Host +
		", special characters of the password percent-encoded. If " + host + " is to be reached without it, name it in NO_PROXY."
}

// maxHost is more than a name of DNS has (253 bytes in RFC 1035, section 2.3.4), with a port.
const maxHost = 260

func cut(host string) string {
	if len(host) <= maxHost {
		return host
	}
	n := maxHost
	for n > 0 && !utf8.RuneStart(host[n]) {
		n--
	}
	return host[:n] + "…"
}
