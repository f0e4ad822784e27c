package registry

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// uploadAt resolves the Location of an upload and checks that it is allowed.
func uploadAt(from *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, misdirectedError{"", wire.Refusal("the answer to the upload has no readable Location")}
	}
	to := behindProxy(from, from.ResolveReference(ref))
	if err := wire.CheckDestination(from, to); err != nil {
		return nil, misdirectedError{wire.Cut(to.Scheme+"://"+to.Host, 100), err}
	}
	return to, nil
}

// behindProxy corrects the Location of a registry behind a proxy that passes on neither TLS
// (X-Forwarded-Proto) nor the port of the client: it then has the scheme http, or no port, and
// the same host (distribution's recipes for nginx). The upload goes to the scheme and port of
// the request, so never from https to http.
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

// misdirectedError says that the Location of an upload is not allowed. It leaves out the path
// and the query, which may contain a signature.
type misdirectedError struct {
	to    string // scheme and host; empty: the Location cannot be read
	error error
}

func (m misdirectedError) Error() string {
	if m.to == "" {
		return m.error.Error()
	}
	return fmt.Sprintf("the upload's Location is at %q: %v", m.to, m.error)
}

func (m misdirectedError) Unwrap() error { return m.error }

// withDigest adds the digest to a Location (distribution-spec, "Pushing blobs"). It does not
// parse and encode the rest of the query, which may be signed: that would change "%20" and
// lose ";".
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
