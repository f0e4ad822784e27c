package credential

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/proxy"
	"github.com/hashicorp/go-retryablehttp"
)

// maxTokenAnswer bounds the answer of a login service.
const maxTokenAnswer = 1 << 20

// client retries what may pass, such as a 503, and ends with the context.
func (c *Chain) client(ctx context.Context) *http.Client {
	retrying := &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: c.roundTripper(), CheckRedirect: stay},
		RetryWaitMin: 200 * time.Millisecond,
		RetryWaitMax: 2 * time.Second,
		RetryMax:     3,
		CheckRetry:   mayPass,
		Backoff:      retryablehttp.DefaultBackoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	return &http.Client{
		Transport:     within{ctx, &retryablehttp.RoundTripper{Client: retrying}},
		CheckRedirect: stay,
	}
}

// mayPass is the library's judgement but for one error: a proxy that wants a login wants it each time.
func mayPass(ctx context.Context, response *http.Response, err error) (bool, error) {
	var login *proxy.LoginError
	if errors.As(err, &login) {
		return false, err
	}
	return retryablehttp.DefaultRetryPolicy(ctx, response, err)
}

// isUntrusted reports whether the authority of a certificate is not known.
func isUntrusted(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

func (c *Chain) roundTripper() http.RoundTripper {
	if c.transport != nil {
		return c.transport
	}
	c.network.once.Do(func() {
		c.network.transport = http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
		c.configure(c.network.transport)
	})
	return c.network.transport
}

// configure has a transport go by the forward proxy, say why that does not connect, and trust the chain's authorities:
// the proxy may intercept TLS.
func (c *Chain) configure(t *http.Transport) {
	t.Proxy = http.ProxyFromEnvironment
	if c.proxyFor != nil {
		t.Proxy = c.proxyFor
	}
	t.OnProxyConnectResponse = proxy.CheckConnect
	if c.Roots == nil {
		return
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.TLSClientConfig != nil {
		config = t.TLSClientConfig.Clone()
	}
	config.RootCAs = c.Roots.Clone() // the AWS SDK adds AWS_CA_BUNDLE to it
	t.TLSClientConfig = config
}

// stay follows no redirect: a login service that sends the secret elsewhere is
// none of ours.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// within ends every request with the context. oauth2's flow for service account
// keys sends its request without one (x/oauth2 jwt, PostForm).
type within struct {
	ctx   context.Context
	inner http.RoundTripper
}

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.inner.RoundTrip(r.WithContext(w.ctx))
}

// answered is the union of what the login services answer.
type answered struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Value        string `json:"value"` // a GitHub ID token

	// RFC 6749, section 5.2.
	Error       string `json:"error"`
	Description string `json:"error_description"`
	// The distribution specification's errors, which a registry answers.
	Errors []struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
}

func (a answered) refusal(status string) error {
	switch {
	case a.Error != "" && a.Description != "":
		return fmt.Errorf("%s: %s: %s", status, a.Error, a.Description)
	case a.Error != "":
		return fmt.Errorf("%s: %s", status, a.Error)
	case len(a.Errors) > 0:
		return fmt.Errorf("%s: %s: %s", status, a.Errors[0].Code, a.Errors[0].Message)
	}
	return errors.New(status)
}

func (c *Chain) post(ctx context.Context, at string, form url.Values) (answered, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return answered{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.ask(ctx, request)
}

// ask sends a request and reads its JSON answer. Anything but 200 is an error.
func (c *Chain) ask(ctx context.Context, request *http.Request) (words answered, err error) {
	response, err := c.client(ctx).Do(request)
	if err != nil {
		return answered{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenAnswer))
	if err != nil {
		return answered{}, err
	}
	malformed := json.Unmarshal(body, &words) != nil
	switch {
	case response.StatusCode != http.StatusOK:
		return answered{}, words.refusal(response.Status)
	case malformed:
		return answered{}, errors.New("the answer is not JSON")
	}
	return words, nil
}

// present makes an empty token an error.
func present(token string, err error) (string, error) {
	if err == nil && token == "" {
		err = errors.New("the answer holds no token")
	}
	return token, err
}
