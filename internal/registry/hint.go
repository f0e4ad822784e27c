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

	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// HintOf is the hint of the first Error in err's chain that has one, else what can
// be advised by the last one's kind.
func HintOf(err error) string {
	var last *Error
	var over retry.InterruptedError
	var other retry.SiblingError
	if errors.As(err, &other) {
		return HintOf(other.Failure)
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
	return last.hint()
}

// hint is what to do about an Error that has no hint of its own.
func (e *Error) hint() string {
	host, _, _ := strings.Cut(e.Ref, "/")
	switch {
	case e.Err == nil:
		return answerHint(host, e)
	case errors.Is(e.Err, context.Canceled), errors.Is(e.Err, context.DeadlineExceeded):
		return ""
	}
	for _, advice := range []string{connectionHint(host, e.Err), contentHint(host, e.Err)} {
		if advice != "" {
			return advice
		}
	}
	return "What " + host + " answered cannot be used.\n" +
		"Check that the reference is that of an image, that the host is a registry, and that no proxy or login page answers in its place. Its own log may say more." + runAgain
}

// runAgain ends the advice on trouble that passes.
const runAgain = " Then run the promotion again: what was copied is not copied twice."

// answerHint is what to do about an answer.
func answerHint(host string, e *Error) string {
	tag := e.Ref[strings.LastIndexAny(e.Ref, ":@")+1:]
	switch {
	case errors.Is(e, ErrTagImmutable):
		return "The tag exists, and " + host + " does not let it be changed: immutable, locked or protected.\n" +
			"Exclude " + tag + " from the rule that makes tags immutable, or choose a tag that is new each time (fixed-tags). If there is no such rule, the credential may write and not overwrite."
	case e.isPolicy():
		return "A policy of " + host + " forbids to pull this image; its words are in the message.\n" +
			"It may be about vulnerabilities, signatures or quarantine. Exempt the image in the policy of its project, or lift the policy, and run the promotion again."
	case e.Status == http.StatusTooManyRequests:
		return host + " limits how often it is asked, and did not relent while it was waited for.\n" +
			"Wait until its limit starts anew, give a credential that has a higher one, or lower the input concurrency." + runAgain
	case isUnseen(e.Code):
		return host + " does not find what the manifest names, though it was uploaded or found there.\n" +
			"If another run says the same, look for a clean-up that deletes what no tag names yet, and for types of content that " + host + " does not store (such as foreign layers)."
	case wire.IsContentCode(e.Code):
		return host + " does not take this content; its reason, if it gave one, is in the message.\n" +
			"Another run will not change that. See which media types, artifact types and sizes it takes; an attachment is left out with attachments: none."
	case wire.IsTemporary(e.Status):
		return host + ", or a proxy before it, is in trouble and did not recover while it was waited for.\n" +
			"See its status page or its log." + runAgain
	case e.Status == http.StatusNotFound && e.Op == opWriteManifest:
		return host + " does not find what was just uploaded to it.\n" +
			"Its replicas may lag behind one another. It was tried again for a while. See its log, and its storage or database." + runAgain
	case e.Status == http.StatusNotFound && strings.Contains(e.Op, "blob"):
		return host + " does not find a blob that belongs to the image.\n" +
			"If another run says the same, a clean-up may have deleted it: push the image there again, whole."
	case e.Status == http.StatusNotFound:
		return host + " does not find it.\n" +
			"Check the spelling of the repository and of the tag or digest, and that it was pushed."
	case e.Status < 400:
		return "Registries do not answer so.\n" +
			"Check that " + host + " is one, and that no proxy or login page answers in its place."
	}
	return "The registry refuses this for a reason of its own: its words, if it gave any, are in the message.\n" +
		"The log of " + host + " may say more."
}

// connectionHint is what to do where a registry could not be reached, or did not
// go on.
func connectionHint(host string, err error) string {
	var (
		unknown x509.UnknownAuthorityError
		dns     *net.DNSError
		record  tls.RecordHeaderError
	)
	var away wire.RedirectError
	var proxy wire.ProxyLoginError
	switch {
	case errors.As(err, &proxy):
		return "The proxy asks for a user and password; check HTTPS_PROXY: http://user:password@" + wire.Cut(proxy.Proxy, 200) + ", special characters of the password percent-encoded. If " + host + " is to be reached without it, name it in NO_PROXY."
	case errors.As(err, &away) && errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing answers at " + strconv.Quote(wire.Cut(away.Host.Name, 100)) + ", where " + host + " sends its clients.\n" +
			"Its external address, or that of its storage, may be set wrong. The runner must be able to reach it."
	case errors.As(err, &unknown):
		return "The certificate of " + host + " is signed by an authority that is not known here.\n" +
			"If it is your own, give its PEM in the input ca-certificates."
	case errors.As(err, &dns):
		return "The name " + host + " was not found.\n" +
			"Check its spelling, and that the runner can resolve and reach it."
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return host + " does not speak https.\n" +
			"Plain http is used on loopback, and for a host name of one word without a credential."
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "Nothing answers at " + host + ".\n" +
			"Check that the registry runs, and that the runner can reach it."
	case errors.Is(err, wire.ErrStalled), errors.Is(err, wire.ErrTooSlow):
		return host + " takes connections and then sends or takes next to nothing.\n" +
			"See whether it, its storage or a proxy before it is overloaded." + runAgain
	}
	return ""
}

// contentHint is what to do about answers that are not believed.
func contentHint(host string, err error) string {
	var refused wire.Refusal
	var token *auth.Error
	var upload misdirectedError
	var size wire.SizeError
	switch {
	case errors.Is(err, wire.ErrPage):
		return "A proxy or a login page answers in place of " + host + ", or that is no registry.\n" +
			"Nothing of that answer was used. Open https://" + host + "/v2/ from the runner to see what answers, and let the runner through."
	case errors.As(err, &upload):
		return host + " sends uploads to where none should go, so nobody went.\n" +
			"If a proxy ends TLS before it, have the proxy pass on what the client used: Host with its port, and X-Forwarded-Proto: https. Else set the registry's external address."
	case errors.As(err, &refused):
		return host + " sends its clients to where none should go, so nobody went.\n" +
			"Its configuration may be wrong: its external address, its token service and its storage must be https addresses that the runner can reach."
	case errors.As(err, &token):
		return "The token service of " + host + " gave no token that can be used.\n" +
			"Check that it runs, and that no proxy or login page answers in its place." + runAgain
	case errors.Is(err, ErrTooLarge):
		return host + " sends more than is read of such an answer, which images do not need.\n" +
			"Check what it serves there: a proxy or another service may answer in its place."
	case errors.As(err, &size):
		return "The manifest is wrong about the size of this blob, or " + host + " stores it not whole.\n" +
			"Push the image there again; if it says the same then, build it again: its digest will be another."
	case errors.Is(err, ErrMismatch):
		return "The registry serves other bytes than the digest names. Nothing was promoted on them.\n" +
			"If another run says the same, what " + host + " stores is damaged: push the image there again."
	}
	return ""
}
