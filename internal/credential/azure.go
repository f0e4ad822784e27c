package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	// azureUser goes with a registry's refresh token as password.
	// See https://learn.microsoft.com/azure/container-registry/container-registry-authentication#az-acr-login-with---expose-token.
	azureUser = "00000000-0000-0000-0000-000000000000"
	// azureScope is one for all clouds, as in the Azure SDK's azcontainerregistry.
	azureScope = "https://containerregistry.azure.net/.default"
	// azureAudience is what a GitHub ID token must be made for.
	// See https://learn.microsoft.com/entra/workload-id/workload-identity-federation-create-trust.
	azureAudience = "api://AzureADTokenExchange"
	maxAssertion  = 64 << 10
)

// azureAuthorities are the clouds' login services by their registries' domain.
var azureAuthorities = map[string]string{
	"io": "https://login.microsoftonline.com",
	"cn": "https://login.partner.microsoftonline.cn",
	"us": "https://login.microsoftonline.us",
}

// azure logs in as a service principal in two requests. The helper made for
// this, docker-credential-acr-env, rests on SDKs that were retired in 2023, and
// takes any host that merely contains azurecr.io for a registry of Azure.
func (c *Chain) azure() cloudLogin {
	if c.env("AZURE_CLIENT_ID") == "" || c.env("AZURE_TENANT_ID") == "" {
		return cloudLogin{}
	}
	proof := c.azureProof()
	if proof.origin == "" {
		return cloudLogin{}
	}
	return cloudLogin{
		origin: "Azure (AZURE_CLIENT_ID, AZURE_TENANT_ID and " + proof.origin + ")",
		check:  "check these variables, and for a federated login that the application trusts this workflow",
		do: func(ctx context.Context, host string) (authn.AuthConfig, error) {
			return c.logInToAzure(ctx, host, proof)
		},
	}
}

// azureProof is how a service principal shows that it is itself. Without an
// origin: it cannot.
type azureProof struct {
	origin string
	field  string // of the token request
	value  func(context.Context) (string, error)
}

func (c *Chain) azureProof() azureProof {
	switch {
	case c.env("AZURE_CLIENT_SECRET") != "":
		return azureProof{"AZURE_CLIENT_SECRET", "client_secret", func(context.Context) (string, error) {
			return c.env("AZURE_CLIENT_SECRET"), nil
		}}
	case c.env("AZURE_FEDERATED_TOKEN_FILE") != "":
		return azureProof{"AZURE_FEDERATED_TOKEN_FILE", "client_assertion", func(context.Context) (string, error) {
			text, err := readBounded(c.env("AZURE_FEDERATED_TOKEN_FILE"), maxAssertion)
			return strings.TrimSpace(string(text)), err
		}}
	case c.env("ACTIONS_ID_TOKEN_REQUEST_URL") != "" && c.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN") != "":
		return azureProof{"the job's ID token", "client_assertion", c.gitHubIDToken}
	}
	return azureProof{}
}

func (c *Chain) logInToAzure(ctx context.Context, host string, proof azureProof) (authn.AuthConfig, error) {
	shown, err := proof.value(ctx)
	if err != nil {
		return authn.AuthConfig{}, redact(ctx, fmt.Errorf("get %s: %w", proof.origin, err), c.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
	}
	access, err := c.azureAccessToken(ctx, host, proof.field, shown)
	if err != nil {
		return authn.AuthConfig{}, redact(ctx, fmt.Errorf("ask for an access token: %w", err), shown)
	}
	refresh, err := c.azureRefreshToken(ctx, host, access)
	if err != nil {
		return authn.AuthConfig{}, redact(ctx, fmt.Errorf("exchange the access token at the registry: %w", err), shown, access)
	}
	return authn.AuthConfig{Username: azureUser, Password: refresh}, nil
}

// azureAccessToken is the client credentials grant.
// See https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow.
func (c *Chain) azureAccessToken(ctx context.Context, host, field, proof string) (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"},
		"client_id":  {c.env("AZURE_CLIENT_ID")},
		"scope":      {azureScope},
		field:        {proof},
	}
	if field == "client_assertion" {
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	}
	words, err := c.post(ctx, c.azureAuthority(host)+"/"+url.PathEscape(c.env("AZURE_TENANT_ID"))+"/oauth2/v2.0/token", form)
	return present(words.AccessToken, err)
}

// azureRefreshToken is what docker takes as a password, for three hours.
// See https://azure.github.io/acr/AAD-OAuth.html.
func (c *Chain) azureRefreshToken(ctx context.Context, host, access string) (string, error) {
	words, err := c.post(ctx, "https://"+host+"/oauth2/exchange", url.Values{
		"grant_type":   {"access_token"},
		"service":      {host},
		"tenant":       {c.env("AZURE_TENANT_ID")},
		"access_token": {access},
	})
	return present(words.RefreshToken, err)
}

// azureAuthority is AZURE_AUTHORITY_HOST, which AKS sets, or the cloud's own.
func (c *Chain) azureAuthority(host string) string {
	if authority := c.env("AZURE_AUTHORITY_HOST"); authority != "" {
		return strings.TrimRight(authority, "/")
	}
	return azureAuthorities[azureHost.FindStringSubmatch(host)[1]]
}

// gitHubIDToken asks the runner for an ID token, which a job with id-token:
// write may. azure/login does the same, but its login stays on the host.
// See https://docs.github.com/actions/reference/security/oidc.
func (c *Chain) gitHubIDToken(ctx context.Context) (string, error) {
	at, err := url.Parse(c.env("ACTIONS_ID_TOKEN_REQUEST_URL"))
	if err != nil {
		return "", errors.New("ACTIONS_ID_TOKEN_REQUEST_URL is no URL")
	}
	query := at.Query()
	query.Set("audience", azureAudience)
	at.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+c.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
	words, err := c.ask(ctx, request)
	return present(words.Value, err)
}
