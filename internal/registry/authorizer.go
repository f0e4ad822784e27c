package registry

import (
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// authorizer adds the session's authorization to requests to its host, and
// replaces a token that is refused. A request whose body can be had again is
// sent again at once; any other keeps its 401 for the caller, who finds a fresh
// token when it starts over.
type authorizer struct{ session *session }

func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	first := req.Clone(req.Context())
	asked, used, err := a.authorize(first, "")
	if err != nil {
		return nil, err
	}
	resp, err := a.session.inner.RoundTrip(first)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	if used.token == "" && !a.session.learn(asked, req, resp) {
		return resp, nil
	}
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		a.session.drop(used.token)
		return resp, nil
	}
	return a.again(req, resp, used)
}

// again answers a 401: with a fresh token; and if a joined token is refused even
// when fresh, with one for this request's repositories alone.
func (a *authorizer) again(req *http.Request, resp *http.Response, used grant) (*http.Response, error) {
	for range 2 {
		drain(resp)
		retry, err := rewind(req)
		if err != nil {
			return nil, err
		}
		if _, used, err = a.authorize(retry, used.token); err != nil {
			return nil, err
		}
		if resp, err = a.session.inner.RoundTrip(retry); err != nil || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		if used.token == "" || !a.session.narrow(needOf(req.Context()), used.scopes) {
			break
		}
	}
	return resp, nil
}

// authorize sets the request's header. It returns the challenge that it answers
// and the token used, empty if there is none.
func (a *authorizer) authorize(req *http.Request, stale string) (*transport.Challenge, grant, error) {
	s := a.session
	c, err := s.challenged(req.Context())
	if err != nil || !sameHost(s.base(c), req.URL) {
		return c, grant{}, err
	}
	if !isBearer(c) {
		s.setBasic(req, c)
		return c, grant{}, nil
	}
	g, err := s.grant(req.Context(), needOf(req.Context()), stale)
	if err != nil {
		return c, grant{}, err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	return c, g, nil
}

func (s *session) setBasic(req *http.Request, c *transport.Challenge) {
	auth := s.cred.Auth
	switch {
	case !strings.EqualFold(c.Scheme, "basic"):
	case auth.Username != "" || auth.Password != "":
		req.SetBasicAuth(auth.Username, auth.Password)
	case auth.Auth != "":
		req.Header.Set("Authorization", "Basic "+auth.Auth)
	}
}

func rewind(req *http.Request) (*http.Request, error) {
	again := req.Clone(req.Context())
	if req.GetBody == nil {
		return again, nil
	}
	body, err := req.GetBody()
	again.Body = body
	return again, err
}
