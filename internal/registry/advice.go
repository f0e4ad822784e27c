package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// HintOf is the hint of the first Error in err's chain that has one, else what can
// be advised by the last one's kind.
func HintOf(err error) string {
	var last *Error
	var over cutShort
	var other beside
	if errors.As(err, &other) {
		return HintOf(other.failure)
	}
	ended := errors.As(err, &over) // nothing is known to be wrong
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			break
		}
		if e.Hint != "" {
			return e.Hint
		}
		last, err = e, e.Err
	}
	if last == nil || ended {
		return ""
	}
	return last.advice()
}

// advice is what to do about an Error that has no hint of its own.
func (e *Error) advice() string {
	host, _, _ := strings.Cut(e.Ref, "/")
	switch {
	case e.Err == nil:
		return answerAdvice(host, e)
	case errors.Is(e.Err, context.Canceled), errors.Is(e.Err, context.DeadlineExceeded):
		return ""
	}
	for _, advice := range []string{connectionAdvice(host, e.Err), contentAdvice(host, e.Err)} {
		if advice != "" {
			return advice
		}
	}
	return "What " + host + " answered cannot be used. Check that the reference is that of an image, that the host is a registry, and that no proxy or login page answers in its place; its own log may say more." + goesOn
}

// goesOn ends the advice on trouble that passes.
const goesOn = " Then run the promotion again: what was copied is not copied twice."

// answerAdvice is what to do about an answer.
func answerAdvice(host string, e *Error) string {
	switch {
	case e.Status == http.StatusTooManyRequests:
		return host + " limits how often it is asked, and did not relent while it was waited for. Wait until its limit starts anew, give a credential that has a higher one, or lower the input concurrency." + goesOn
	case temporaryStatus(e.Status):
		return host + ", or a proxy before it, is in trouble and did not recover while it was waited for: see its status page or its log." + goesOn
	case e.Status == http.StatusNotFound && strings.Contains(e.Op, "blob"):
		return host + " does not find what belongs to the image. If another run says the same, a clean-up may have deleted it: push the image there again, whole."
	case e.Status == http.StatusNotFound:
		return host + " does not find it: check the spelling of the repository and of the tag or digest, and that it was pushed."
	case e.Status < 400:
		return "Registries do not answer so. Check that " + host + " is one, and that no proxy or login page answers in its place."
	}
	return "The registry refuses this for a reason of its own: its words, if it gave any, are in the message, and the log of " + host + " may say more."
}

// connectionAdvice is what to do where a registry could not be reached, or did not
// go on.
func connectionAdvice(host string, err error) string {
	var (
		unknown x509.UnknownAuthorityError
		dns     *net.DNSError
		record  tls.RecordHeaderError
	)
	var away awayError
	switch {
	case errors.As(err, &away) && errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing answers at " + strconv.Quote(Cut(away.host.name, 100)) + ", where " + host + " sends its clients: its external address, or that of its storage, may be set wrong. The runner must be able to reach it."
	case errors.As(err, &unknown):
		return "The certificate of " + host + " is signed by an authority that is not known here: give its PEM in the input ca-certificates."
	case errors.As(err, &dns):
		return "The name " + host + " was not found: check its spelling, and that the runner can reach it."
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return host + " does not speak https. Plain http is used on loopback, and for a host name of one word without a credential."
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "Nothing answers at " + host + ": check that the registry runs, and that the runner can reach it."
	case errors.Is(err, errStalled), errors.Is(err, errDrips):
		return host + " takes connections and then sends or takes next to nothing: see whether it, its storage or a proxy before it is overloaded." + goesOn
	}
	return ""
}

// contentAdvice is what to do about answers that are not believed.
func contentAdvice(host string, err error) string {
	var refused refusal
	var token *tokenError
	var upload misdirected
	var size sizeError
	switch {
	case errors.As(err, &upload):
		return host + " sends uploads to where none should go, so nobody went. If a proxy ends TLS before it, have the proxy pass on what the client used: Host with its port, and X-Forwarded-Proto: https. Else set the registry's external address."
	case errors.As(err, &refused):
		return host + " sends its clients to where none should go, so nobody went. Its configuration may be wrong: its external address, its token service and its storage must be https addresses that the runner can reach."
	case errors.As(err, &token):
		return "The token service of " + host + " gave no token that can be used: check that it runs, and that no proxy or login page answers in its place." + goesOn
	case errors.Is(err, ErrTooLarge):
		return host + " sends more than is read of such an answer, which images do not need. Check what it serves there: a proxy or another service may answer in its place."
	case errors.As(err, &size):
		return "Either the image's manifest is wrong about the size of this blob, or what " + host + " stores of it is not whole. Push the image there again; if it says the same then, build it again: its digest will be another."
	case errors.Is(err, ErrMismatch):
		return "The registry serves other bytes than the digest names. Nothing was promoted on them. If another run says the same, what " + host + " stores is damaged: push the image there again."
	}
	return ""
}
