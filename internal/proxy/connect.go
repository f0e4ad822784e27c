// Package proxy says why a forward proxy lets no request past.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"
)

// CheckConnect is for http.Transport.OnProxyConnectResponse. It returns an error that names
// the forward proxy which did not connect: that of net/http has only the text of the proxy's
// status line.
func CheckConnect(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return &LoginError{Host: proxy.Host, Rejected: proxy.User != nil}
	}
	return &RefusalError{Host: proxy.Host, Status: answer.StatusCode}
}

// LoginError says that a forward proxy answered 407 to CONNECT (RFC 9110, section 15.5.8). A
// retry does not help.
type LoginError struct {
	Host     string // of the proxy, with its port
	Rejected bool   // HTTPS_PROXY has a login, and the proxy rejected it
}

func (e *LoginError) Error() string {
	if e.Rejected {
		return fmt.Sprintf("the proxy %s rejects the user and password of HTTPS_PROXY (407)", cut(e.Host))
	}
	return fmt.Sprintf("the proxy %s requires a user and password (407)", cut(e.Host))
}

// Final marks it as one that is not retried.
func (*LoginError) Final() {}

// RefusalError says that a forward proxy answered CONNECT with another status than 200 and
// 407: it did not connect to the host.
type RefusalError struct {
	Host   string // of the proxy, with its port
	Status int
}

func (e *RefusalError) Error() string {
	return fmt.Sprintf("the proxy %s refused to connect: %d %s", cut(e.Host), e.Status, http.StatusText(e.Status))
}

// Find returns the error of [CheckConnect] in err's chain; nil: there is none.
func Find(err error) error {
	var login *LoginError
	var refusal *RefusalError
	switch {
	case errors.As(err, &login):
		return login
	case errors.As(err, &refusal):
		return refusal
	}
	return nil
}

// Hint says what to do about an error of [CheckConnect], when the request was for that host.
// It is empty for other errors.
func Hint(host string, err error) string {
	var login *LoginError
	var refusal *RefusalError
	switch {
	case errors.As(err, &login) && login.Rejected:
		return "The proxy rejects the user and password of HTTPS_PROXY.\n" +
			"Check both. Special characters of the password must be percent-encoded." + Direct(host)
	case errors.As(err, &login):
		return "The proxy requires a user and password.\n" +
			"Set HTTPS_PROXY to http://user:password@" + cut(login.Host) + ", with special characters of the password percent-encoded." + Direct(host)
	case errors.As(err, &refusal):
		return fmt.Sprintf("The proxy of HTTPS_PROXY does not connect to %s (%d).\n", host, refusal.Status) +
			"Check that the host name is right, and that the proxy allows it." + Direct(host)
	}
	return ""
}

// Direct ends a hint: how to reach the host without the proxy.
func Direct(host string) string {
	return " If the runner reaches " + host + " without the proxy, name it in NO_PROXY."
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
