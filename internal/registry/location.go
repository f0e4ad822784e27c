package registry

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// uploadAt resolves the Location of an upload and decides whether it may be used.
func uploadAt(from *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, misdirectedError{"", wire.Refusal("registry points elsewhere without a Location that can be read")}
	}
	to := behindProxy(from, from.ResolveReference(ref))
	if err := wire.CheckDestination(from, to); err != nil {
		return nil, misdirectedError{wire.Cut(to.Scheme+"://"+to.Host, 100), err}
	}
	return to, nil
}

// behindProxy is the address that a registry means which a proxy tells neither of TLS
// (X-Forwarded-Proto) nor of the port that its client used: it then names http, or no
// port, and the same host (distribution's recipes for nginx). The request goes to
// where the registry itself was asked, never from https to http.
func behindProxy(from, to *url.URL) *url.URL {
	upgrade := from.Scheme == "https" && to.Scheme == "http"
	if !strings.EqualFold(from.Hostname(), to.Hostname()) || from.Scheme != to.Scheme && !upgrade {
		return to
	}
	if to.Port() == "" || wire.Port(to) == wire.Port(from) || upgrade && to.Port() == "80" {
		same := *to
		same.Scheme, same.Host = from.Scheme, from.Host
		return &same
	}
	return to
}

// misdirectedError says where an upload was sent that nobody follows. Of the Location it
// names no path or query, which may be a ticket to storage.
type misdirectedError struct {
	to    string
	error error
}

func (m misdirectedError) Error() string {
	if m.to == "" {
		return m.error.Error()
	}
	return fmt.Sprintf("the Location of the upload is at %q: %v", m.to, m.error)
}

func (m misdirectedError) Unwrap() error { return m.error }

// withDigest adds the digest to a Location. The rest of its query stays as it is: it
// may be signed, and reading and writing it changes "%20" and loses ";"
// (distribution-spec, "Pushing blobs": the digest is added to the Location).
func withDigest(location *url.URL, digest v1.Hash) *url.URL {
	u := *location
	var query []string
	for member := range strings.SplitSeq(u.RawQuery, "&") {
		if member != "" && !strings.HasPrefix(member, "digest=") {
			query = append(query, member)
		}
	}
	u.RawQuery = strings.Join(append(query, "digest="+url.QueryEscape(digest.String())), "&")
	return &u
}
