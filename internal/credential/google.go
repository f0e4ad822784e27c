package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/oauth2"
	oauth "golang.org/x/oauth2/google"
)

const (
	googleScope = "https://www.googleapis.com/auth/cloud-platform"
	// googleUser goes with an access token as password.
	// See https://cloud.google.com/artifact-registry/docs/docker/authentication#token.
	googleUser = "oauth2accesstoken"
	// maxGoogleFile bounds a credentials file; a service account's key has about 2 KiB.
	maxGoogleFile = 256 << 10
)

// googleFiles name a credentials file; google-github-actions/auth sets both.
var googleFiles = []string{"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_GHA_CREDS_PATH"}

// google reads the variables itself. The library's own search would run on to
// gcloud's files and the metadata server, which a runner outside Google Cloud
// waits for in vain; that one is asked only where GCE_METADATA_HOST names it.
func (c *Chain) google() cloudLogin {
	how := func(variable string, token func(context.Context, string) (string, error)) cloudLogin {
		return cloudLogin{
			origin: "Google Cloud (" + variable + ")",
			check:  "check " + variable,
			do: func(ctx context.Context, _ string) (authn.AuthConfig, error) {
				token, err := token(ctx, c.env(variable))
				if err != nil {
					return authn.AuthConfig{}, redact(ctx, err)
				}
				return authn.AuthConfig{Username: googleUser, Password: token}, nil
			},
		}
	}
	for _, variable := range googleFiles {
		if c.env(variable) != "" {
			return how(variable, c.googleFileToken)
		}
	}
	if c.env("CLOUDSDK_AUTH_ACCESS_TOKEN") != "" {
		return how("CLOUDSDK_AUTH_ACCESS_TOKEN", func(_ context.Context, token string) (string, error) { return token, nil })
	}
	if c.env("GCE_METADATA_HOST") != "" {
		return how("GCE_METADATA_HOST", c.metadataToken)
	}
	return cloudLogin{}
}

// googleTypes are the kinds of credentials file that are understood. One of them,
// external_account, may name any URL: the file is the workflow's own.
var googleTypes = []oauth.CredentialsType{
	oauth.ServiceAccount, oauth.AuthorizedUser, oauth.ExternalAccount,
	oauth.ExternalAccountAuthorizedUser, oauth.ImpersonatedServiceAccount,
}

func (c *Chain) googleFileToken(ctx context.Context, path string) (string, error) {
	data, err := readBounded(path, maxGoogleFile)
	if err != nil {
		return "", err
	}
	var file struct{ Type oauth.CredentialsType }
	if err := json.Unmarshal(data, &file); err != nil || !slices.Contains(googleTypes, file.Type) {
		return "", fmt.Errorf("%s is no credentials file that this program knows; expected JSON with a type such as service_account or external_account", path)
	}
	client := c.client(ctx)
	seen := &lastError{inner: client.Transport}
	client.Transport = seen
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
	found, err := oauth.CredentialsFromJSONWithType(ctx, data, file.Type, googleScope)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	token, err := found.TokenSource.Token()
	if unsent := seen.err.Load(); err != nil && unsent != nil {
		return "", *unsent
	}
	if err != nil {
		return "", googleWords(err)
	}
	return token.AccessToken, nil
}

// lastError keeps why the last request was not answered: of an error oauth2 hands on the text alone (x/oauth2 jwt, Token).
type lastError struct {
	inner http.RoundTripper
	err   atomic.Pointer[error]
}

func (l *lastError) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.inner.RoundTrip(r)
	l.err.Store(nil)
	if err != nil {
		named := error(&url.Error{Op: r.Method, URL: r.URL.Redacted(), Err: err})
		l.err.Store(&named)
	}
	return response, err
}

// googleWords drops the response that oauth2 appends to its own words.
func googleWords(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return err
	}
	var words answered
	if json.Unmarshal(refused.Body, &words) == nil && words.Error != "" {
		return words.refusal(refused.Response.Status)
	}
	return errors.New(refused.Response.Status)
}

// metadataToken asks the metadata server.
// See https://cloud.google.com/compute/docs/metadata/querying-metadata.
func (c *Chain) metadataToken(ctx context.Context, host string) (string, error) {
	at := url.URL{
		Scheme:   "http",
		Host:     host,
		Path:     "/computeMetadata/v1/instance/service-accounts/default/token",
		RawQuery: url.Values{"scopes": {googleScope}}.Encode(),
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Metadata-Flavor", "Google")
	words, err := c.ask(ctx, request)
	return present(words.AccessToken, err)
}
