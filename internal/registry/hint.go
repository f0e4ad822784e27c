package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/proxy"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// HintOf says what to do about a failure: the hint of the first Error in err's chain that
// has one, else one that follows from the cause of the last Error. It is empty for a run
// that was canceled or that timed out: nothing is known to be wrong with the registry.
func HintOf(err error) string {
	var last *Error
	var interrupted retry.InterruptedError
	var sibling retry.SiblingError
	if errors.As(err, &sibling) {
		return HintOf(sibling.Failure)
	}
	ended := errors.As(err, &interrupted)
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
	return last.hint()
}

// hint is what to do about an Error that has no hint of its own. Its first line says what
// is wrong, in fewer than 120 characters, because a chat message shows no more.
func (e *Error) hint() string {
	host, _, _ := strings.Cut(e.Ref, "/")
	switch {
	case e.Err == nil:
		return answerHint(host, e)
	case errors.Is(e.Err, context.Canceled), errors.Is(e.Err, context.DeadlineExceeded):
		return ""
	}
	at := connectedHost(host, e.Err)
	for _, hint := range []string{
		proxyHint(host, e.Err), certificateHint(at, e.Err), pingHint(host, e.Err), connectionHint(at, e.Err), pageHint(host, at, e.Err), contentHint(host, e.Err),
	} {
		if hint != "" {
			return hint
		}
	}
	return host + " did not give a usable answer; the message says why.\n" +
		"Check that the reference names an image, that the host is a registry, and that no proxy or login page answers in its place. Its log may say more." + runAgain
}

// runAgain ends the hint for a failure that may pass.
const runAgain = " Then run the promotion again: blobs that were copied are not sent again."

// answerHint is what to do about the registry's answer.
func answerHint(host string, e *Error) string {
	tag := e.Ref[strings.LastIndexAny(e.Ref, ":@")+1:]
	switch {
	case e.by != "" && wire.IsTemporary(e.Status):
		return temporaryHint(strings.ToUpper(e.by[:1])+e.by[1:], e.Status)
	case e.by != "":
		return fmt.Sprintf("%s, where the registry redirects its clients, refuses the request (%d).\n", e.by, e.Status) +
			"Signed URLs expire: check the clocks of the registry and of its storage, and the storage's credential in the registry. A proxy may also refuse that host."
	case errors.Is(e, ErrTagImmutable):
		return host + " does not allow this tag to change: it is immutable, locked or protected.\n" +
			"Exclude " + tag + " from the registry's rule for immutable tags, or write a new tag with each promotion (input fixed-tags). " +
			"If there is no such rule, the credential may create tags but not overwrite them."
	case e.isPolicy() && !isRead(e.Op):
		return "A policy of " + host + " forbids this request; the message quotes its reason.\n" +
			"Exempt the repository from the policy, or change the policy. Then run the promotion again."
	case e.isPolicy():
		return "A policy of " + host + " forbids pulling this image; the message quotes its reason.\n" +
			"Such policies are about vulnerabilities, signatures or quarantine. Exempt the image from the policy, or change the policy. Then run the promotion again."
	case isMissingContent(e.Code) && e.Op == opWriteManifest:
		return host + " reports that content of this manifest is missing, although it was found or uploaded there.\n" +
			"If another run says the same, look for a clean-up that deletes untagged content, and for content types that " + host + " does not store (such as foreign layers)."
	case wire.IsContentCode(e.Code) && strings.HasPrefix(e.Op, "write"):
		return host + " rejects this content; the message quotes its reason, if it gave one.\n" +
			"Another run does not change that. Check which media types, artifact types and sizes it accepts. To promote the image without its attachments, set attachments: none."
	case wire.IsTemporary(e.Status):
		return temporaryHint(host, e.Status)
	case e.Status == http.StatusNotFound && e.Op == opWriteManifest:
		return host + " does not find content that was just uploaded to it.\n" +
			"Its replicas may be out of step: the write was retried for some time. Check its log, its storage and its database." + runAgain
	case e.Status == http.StatusNotFound && strings.Contains(e.Op, "blob"):
		return host + " does not have a blob that the image needs.\n" +
			"If another run says the same, a clean-up may have deleted it: push the whole image there again."
	case e.Status == http.StatusNotFound:
		return host + " does not have this repository, tag or digest.\n" +
			"Check the spelling of the repository and of the tag or digest, and that the image was pushed."
	case errors.Is(e, ErrUnsupported):
		return host + " does not support this operation, or its configuration forbids it.\n" +
			"Check whether it is in read-only mode, and whether it allows the deletion of tags."
	case e.Status == http.StatusRequestEntityTooLarge:
		return host + ", or a proxy in front of it, rejects a request of this size.\n" +
			"Raise its limit on request bodies (nginx: client_max_body_size)."
	case e.Status < 400:
		return fmt.Sprintf("%s gave an answer that a registry does not give (%d).\n", host, e.Status) +
			"Check that it is a registry, and that no proxy or login page answers in its place."
	}
	return host + " refuses this request; the message quotes its reason, if it gave one.\n" +
		"The log of " + host + " may say more."
}

// isRead reports whether an operation only reads.
func isRead(op string) bool {
	return !strings.HasPrefix(op, "write") && !strings.HasPrefix(op, "delete")
}

// temporaryHint is what to do about a status that did not pass while it was retried.
func temporaryHint(host string, status int) string {
	if status == http.StatusTooManyRequests {
		return host + " limits the rate of requests, and its limit was still reached after the last retry.\n" +
			"Wait until its limit resets, use a credential with a higher limit, or lower the input concurrency." + runAgain
	}
	return host + fmt.Sprintf(", or a proxy in front of it, still answered %d after the last retry.\n", status) +
		"Check its status page and its log." + runAgain
}

// pingHint is what to do where GET /v2/ or the token service gave a refusal.
func pingHint(host string, err error) string {
	var ping *auth.PingError
	var token *auth.Error
	switch {
	case errors.As(err, &token) && wire.IsTemporary(token.Status):
		return temporaryHint("The token service "+wire.Cut(token.Host, 100), token.Status)
	case errors.As(err, &token) && token.Refused():
		return fmt.Sprintf("The token service %s of %s refuses the request for a token (%d).\n", wire.Cut(token.Host, 100), host, token.Status) +
			"Check the address of the token service (realm) in the configuration of " + host + ", and its log."
	case !errors.As(err, &ping) || ping.Status == 0:
		return ""
	case wire.IsTemporary(ping.Status):
		return temporaryHint(host, ping.Status)
	case ping.Status == http.StatusForbidden:
		return host + " refuses all requests of this runner (403), before any login.\n" +
			"A firewall or an allow list of IP addresses may be in front of it: let the runner through."
	}
	return fmt.Sprintf("%s does not answer GET /v2/ as a registry does (%d).\n", host, ping.Status) +
		"Check the host name and the port. A registry answers 200 or 401 there. A proxy in front of it must pass on the path /v2/."
}

// proxyHint is what to do about the forward proxy of the runner.
func proxyHint(host string, err error) string {
	if hint := proxy.Hint(host, err); hint != "" {
		return hint
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		return cmp.Or(certificateHint("the proxy of HTTPS_PROXY", err), "The proxy of HTTPS_PROXY cannot be reached.\n"+
			"Check its address in HTTPS_PROXY, and that it runs."+proxy.Direct(host))
	}
	return ""
}

// loginHint is what to do where a place has a credential that cannot be used.
func loginHint(side credential.Side, host string) string {
	inputs := "registry-auth with an entry for " + host
	if side != credential.Elsewhere {
		inputs = fmt.Sprintf("%s-username and %s-password", side, side)
	}
	return "The credential for " + host + " could not be read. The registry was not contacted.\n" +
		"Repair the login that the message names, or give " + inputs + "."
}

// connectedHost is the host that a request went to: the registry, its token service, or
// where it redirects.
func connectedHost(registry string, err error) string {
	var redirect wire.RedirectError
	var token *auth.Error
	switch {
	case errors.As(err, &redirect):
		return wire.Cut(redirect.Host.Name, 100)
	case errors.As(err, &token) && token.Host != "":
		return wire.Cut(token.Host, 100)
	}
	return registry
}

// connectionHint is what to do where a host could not be reached, or a connection broke.
func connectionHint(host string, err error) string {
	var redirect wire.RedirectError
	var dns *net.DNSError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &redirect) && errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing listens at " + strconv.Quote(host) + ", where the registry redirects its clients.\n" +
			"Check the external address of the registry and of its storage. The runner must be able to reach both."
	case errors.As(err, &dns) && dns.IsNotFound:
		return "DNS does not know the host name " + wire.Cut(dns.Name, 80) + ".\n" +
			"Check its spelling, and that the runner can resolve and reach it."
	case errors.As(err, &dns):
		return "DNS gave no answer for the host name " + wire.Cut(cmp.Or(dns.Name, host), 80) + ".\n" +
			"Check the spelling of the name, and the DNS server of the runner." + runAgain
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return host + " does not speak https on this port.\n" +
			"Check the port. Plain http is allowed only on loopback, and without a credential for a host name of one word."
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "Nothing accepts connections at " + host + ".\n" +
			"Check the host name and the port, that the service runs, and that the runner can reach it."
	case errors.Is(err, wire.ErrStalled), errors.Is(err, wire.ErrTooSlow):
		return host + " accepts connections, but sends or takes almost no data.\n" +
			"Check whether it, its storage or a proxy in front of it is overloaded." + runAgain
	case isTimeout(err):
		return host + " did not answer in time.\n" +
			"Check that the registry runs, and that no firewall between the runner and " + host + " drops packets." + runAgain
	case isBroken(err) && !isDamaged(err):
		return "The connection to " + host + " broke on every attempt.\n" +
			"Check the log of the registry: it may restart or crash. If the log shows nothing, check the proxy or load balancer in front of it, and the network (firewall, MTU)." + runAgain
	}
	return ""
}

// certificateHint is what to do about a certificate that TLS rejects.
func certificateHint(host string, err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknown):
		return "The certificate of " + host + " is signed by an authority that is not trusted here.\n" +
			"If the authority is your own, give its certificate in PEM form in the input ca-certificates. If it is not, a proxy may intercept TLS."
	case errors.As(err, &hostname):
		return "The certificate of " + host + " is for another host name.\n" +
			"Use the name that the certificate has, or issue a certificate for " + host + ". A proxy may also answer in place of the registry."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "The certificate of " + host + " has expired, or is not valid yet.\n" +
			"Renew the certificate. If its dates are right, set the clock of the runner."
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "The certificate of " + host + " is not valid; the message gives the reason.\n" +
			"Replace the certificate, or give the certificate of its authority in the input ca-certificates."
	}
	return ""
}

// isTimeout reports whether a host did not answer a connection, a handshake or a read in
// time.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isDamaged reports whether an answer came whole and could not be read.
func isDamaged(err error) bool {
	var failure retry.Error
	return errors.As(err, &failure) && failure.Reason == retry.Damaged
}

// isBroken reports whether a connection ended before the answer did.
func isBroken(err error) bool {
	for _, broken := range []error{wire.ErrHungUp, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return errors.As(err, new(*net.OpError)) || errors.As(err, new(streamError))
}

// streamError is the shape of net/http's error for an HTTP/2 stream that the server reset,
// which errors.As converts to any struct of this shape.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

// pageHint is what to do about a web page in place of an answer.
func pageHint(registry, at string, err error) string {
	if !errors.Is(err, wire.ErrPage) {
		return ""
	}
	url := "https://" + at + "/"
	if at == registry {
		url += "v2/"
	}
	return "A proxy or a login page answered in place of " + at + ", or the host is not a registry.\n" +
		"Nothing of that answer was used. Request " + url + " from the runner to see what answers, and let the runner through."
}

// contentHint is what to do about an answer that was not used.
func contentHint(host string, err error) string {
	var refused wire.Refusal
	var token *auth.Error
	var upload misdirectedError
	var size wire.SizeError
	switch {
	case errors.As(err, &upload):
		return host + " sends uploads to an address that is not allowed. Nothing was sent there.\n" +
			"If a proxy in front of it ends TLS, the proxy must pass on Host with the port, and X-Forwarded-Proto: https. Otherwise set the external address of the registry."
	case errors.Is(err, wire.ErrTooManyRedirects):
		return host + " redirects in a circle.\n" +
			"Check the external address of the registry, and the redirects of the proxy in front of it."
	case errors.As(err, &refused):
		return host + " points to an address that is not allowed. It was not contacted.\n" +
			"Check the configuration of the registry: its external address, its token service and its storage must be https addresses that the runner can reach."
	case errors.As(err, &token):
		return "The token service of " + host + " gave no usable token.\n" +
			"Check that it runs, and that no proxy or login page answers in its place." + runAgain
	case errors.Is(err, ErrTooLarge):
		return host + " sends a larger answer than an image needs.\n" +
			"Check what it serves there: a proxy or another service may answer in its place."
	case errors.As(err, &size):
		return "The manifest states a wrong size for this blob, or " + host + " does not store the whole blob.\n" +
			"Push the image there again. If the error stays, build the image again: its digest changes."
	case errors.Is(err, ErrMismatch):
		return host + " sends content that does not match its digest. It was not promoted.\n" +
			"If another run says the same, the content that " + host + " stores is damaged: push the image there again."
	}
	return ""
}
