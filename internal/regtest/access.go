package regtest

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// Agent is the User-Agent of Push, Read and the small functions around them: it tells their requests from those
// of the program under test.
const Agent = "regtest"

// Access is how to reach a registry: the account may be empty. Host stands as in a reference.
type Access struct {
	Host, User, Password string
	// CAPEM makes it https with this authority.
	CAPEM []byte
	// Secure makes it https with the authorities that the system trusts.
	Secure bool
	// Client is used instead of a client of its own.
	Client *http.Client
}

const (
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociLayer       = "application/vnd.oci.image.layer.v1.tar+gzip"
	ociForeign     = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	ociEmpty       = "application/vnd.oci.empty.v1+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

	// olareg answers 404 to whoever does not name the exact type.
	acceptManifests = ociIndex + ", " + ociManifest + ", " + dockerList + ", " + dockerManifest
)

// session is one client's talk with a registry: it keeps the tokens.
type session struct {
	access Access
	client *http.Client
	own    *http.Transport

	mu            sync.Mutex
	authorization map[string]string
}

func (a Access) open() (*session, error) {
	s := &session{access: a, client: a.Client, authorization: map[string]string{}}
	if s.client != nil {
		return s, nil
	}
	s.own = &http.Transport{MaxIdleConnsPerHost: 16}
	if a.CAPEM != nil {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(a.CAPEM) {
			return nil, errors.New("read authority: no certificate in CAPEM")
		}
		s.own.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	s.client = &http.Client{Transport: s.own}
	return s, nil
}

func (s *session) close() {
	if s.own != nil {
		s.own.CloseIdleConnections()
	}
}

func (s *session) url(path string) string {
	if s.access.Secure || s.access.CAPEM != nil {
		return "https://" + s.access.Host + path
	}
	return "http://" + s.access.Host + path
}

// call is one request that can be sent again.
type call struct {
	method, url string
	header      map[string]string
	// body opens what is sent; nil for nothing.
	body func() io.ReadCloser
	size int64
}

// statusError is an answer that nobody wanted.
type statusError struct {
	method, path string
	status       int
	body         string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s %s: status %d: %s", e.method, e.path, e.status, e.body)
}

func isMissing(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == http.StatusNotFound
}

// do sends a request, with credentials when the registry asks for some. The answer has one of the wanted statuses,
// and its body must be closed.
func (s *session) do(ctx context.Context, c call, wanted ...int) (*http.Response, error) {
	answer, err := s.send(ctx, c)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusUnauthorized {
		drop(answer.Body)
		if err := s.login(ctx, c, answer.Header.Get("WWW-Authenticate")); err != nil {
			return nil, fmt.Errorf("log in for %s %s: %w", c.method, answer.Request.URL.Path, err)
		}
		if answer, err = s.send(ctx, c); err != nil {
			return nil, err
		}
	}
	for _, status := range wanted {
		if answer.StatusCode == status {
			return answer, nil
		}
	}
	return nil, unwanted(answer)
}

func unwanted(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	drop(answer.Body)
	return &statusError{answer.Request.Method, answer.Request.URL.Path, answer.StatusCode, string(text)}
}

// drop reads a little further, so that the connection can be used again.
func drop(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

func (s *session) send(ctx context.Context, c call) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	if c.body != nil {
		r.Body, r.ContentLength = c.body(), c.size
		if c.size == 0 {
			r.Body = http.NoBody
		}
	}
	r.Header.Set("User-Agent", Agent)
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	s.mu.Lock()
	if value := s.authorization[c.key()]; value != "" {
		r.Header.Set("Authorization", value)
	}
	s.mu.Unlock()
	return s.client.Do(r)
}

// key is what one token is good for: reading or writing one repository.
func (c call) key() string {
	u, err := url.Parse(c.url)
	if err != nil {
		return ""
	}
	t, _ := parsePath(u.Path)
	switch c.method {
	case http.MethodGet, http.MethodHead:
		return "read " + t.repository
	case http.MethodDelete:
		return "delete " + t.repository
	}
	return "write " + t.repository
}

var challengeField = regexp.MustCompile(`([a-z]+)="([^"]*)"`)

func (s *session) login(ctx context.Context, c call, challenge string) error {
	scheme, _, _ := strings.Cut(challenge, " ")
	value := ""
	switch strings.ToLower(scheme) {
	case "basic":
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(s.access.User, s.access.Password)
		value = r.Header.Get("Authorization")
	case "bearer":
		token, err := s.token(ctx, challenge)
		if err != nil {
			return err
		}
		value = "Bearer " + token
	default:
		return fmt.Errorf("answer challenge %q: unknown scheme", challenge)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authorization[c.key()] = value
	return nil
}

func (s *session) token(ctx context.Context, challenge string) (string, error) {
	fields := map[string]string{}
	for _, m := range challengeField.FindAllStringSubmatch(challenge, -1) {
		fields[m[1]] = m[2]
	}
	query := url.Values{"service": {fields["service"]}}
	for _, scope := range strings.Fields(fields["scope"]) {
		query.Add("scope", scope)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fields["realm"]+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return "", err
	}
	r.Header.Set("User-Agent", Agent)
	if s.access.User != "" {
		r.SetBasicAuth(s.access.User, s.access.Password)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", unwanted(answer)
	}
	defer drop(answer.Body)
	var body struct {
		Token string
		OAuth string `json:"access_token"` // Azure Container Registry has this one alone
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&body)
	return cmp.Or(body.Token, body.OAuth), err
}
