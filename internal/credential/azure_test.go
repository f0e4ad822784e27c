package credential

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

const azureRepository = "acme.azurecr.io/team/app"

func azureServices(t *testing.T, wantField, wantProof string) hosts {
	t.Helper()
	login := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/tenant/oauth2/v2.0/token" || r.FormValue("grant_type") != "client_credentials" ||
			r.FormValue("client_id") != "client" || r.FormValue("scope") != "https://containerregistry.azure.net/.default" {
			t.Errorf("asked %s %v", r.URL, r.Form)
		}
		if got := r.FormValue(wantField); got != wantProof {
			t.Errorf("%s is %q, want %q", wantField, got, wantProof)
		}
		if federated := r.FormValue("client_assertion_type") != ""; federated != (wantField == "client_assertion") {
			t.Errorf("client_assertion_type is %q", r.FormValue("client_assertion_type"))
		}
		answer(200, `{"access_token": "access"}`)(w, r)
	}
	exchange := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth2/exchange" || r.FormValue("grant_type") != "access_token" ||
			r.FormValue("access_token") != "access" || r.FormValue("service") != r.URL.Host || r.FormValue("tenant") != "tenant" {
			t.Errorf("asked %s %v", r.URL, r.Form)
		}
		answer(200, `{"refresh_token": "refresh"}`)(w, r)
	}
	return hosts{
		"login.microsoftonline.com":        login,
		"login.microsoftonline.us":         login,
		"login.partner.microsoftonline.cn": login,
		"authority.example":                login,
		"acme.azurecr.io":                  exchange,
		"acme.azurecr.us":                  exchange,
		"acme.azurecr.cn":                  exchange,
		"runner.example": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer hunter2" || r.FormValue("audience") != "api://AzureADTokenExchange" || r.FormValue("v") != "1" {
				t.Errorf("asked %s", r.URL)
			}
			answer(200, `{"value": "id-token"}`)(w, r)
		},
	}
}

var servicePrincipal = environment{"AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant"}

func TestAzure(t *testing.T) {
	job := environment{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://runner.example/id?v=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "hunter2"}
	secret := environment{"AZURE_CLIENT_SECRET": "hunter2"}
	for _, test := range []struct {
		name, repo   string
		env          environment
		field, proof string
		origin       string
	}{
		{"secret", azureRepository, job.with(secret), "client_secret", "hunter2", "AZURE_CLIENT_SECRET"},
		{"file", azureRepository, job.with(environment{"AZURE_FEDERATED_TOKEN_FILE": writeFile(t, "token", "jwt\n", 0o600)}), "client_assertion", "jwt", "AZURE_FEDERATED_TOKEN_FILE"},
		{"job", azureRepository, job, "client_assertion", "id-token", "the job's ID token"},
		{"US government", "acme.azurecr.us/app", secret, "client_secret", "hunter2", "AZURE_CLIENT_SECRET"},
		{"China", "acme.azurecr.cn/app", secret, "client_secret", "hunter2", "AZURE_CLIENT_SECRET"},
		{"own authority", azureRepository, secret.with(environment{"AZURE_AUTHORITY_HOST": "https://authority.example/"}), "client_secret", "hunter2", "AZURE_CLIENT_SECRET"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := servicePrincipal.with(test.env)
			got := find(t, &Chain{Getenv: env.get, transport: azureServices(t, test.field, test.proof)}, Target, test.repo)
			want := authn.AuthConfig{Username: "00000000-0000-0000-0000-000000000000", Password: "refresh"}
			if got.Auth != want || got.Origin != "Azure (AZURE_CLIENT_ID, AZURE_TENANT_ID and "+test.origin+")" {
				t.Errorf("found %s %+v, want %+v", got, got.Auth, want)
			}
		})
	}
}

// TestAzureAuthority: each cloud's secret goes to that cloud's login service.
func TestAzureAuthority(t *testing.T) {
	for host, want := range map[string]string{
		"acme.azurecr.io": "https://login.microsoftonline.com",
		"acme.azurecr.us": "https://login.microsoftonline.us",
		"acme.azurecr.cn": "https://login.partner.microsoftonline.cn",
	} {
		if got := (&Chain{}).azureAuthority(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestAzureNeedsVariables(t *testing.T) {
	for name, env := range map[string]environment{
		"none":      {},
		"no proof":  servicePrincipal,
		"no tenant": {"AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "s"},
		"no client": {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_SECRET": "s"},
		"half job":  servicePrincipal.with(environment{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://runner.example"}),
	} {
		got := find(t, &Chain{Getenv: env.get, transport: hosts{}}, Target, azureRepository)
		if !got.Anonymous() || got.Notice != "" {
			t.Errorf("%s: found %s, notice %q", name, got, got.Notice)
		}
	}
}

func TestAzureRefuses(t *testing.T) {
	secret := servicePrincipal.with(environment{"AZURE_CLIENT_SECRET": "hunter2"})
	job := servicePrincipal.with(environment{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://runner.example/id", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "hunter2"})
	granted := answer(200, `{"access_token": "opaque-access"}`)
	for _, test := range []struct {
		name     string
		env      environment
		services hosts
		want     string
	}{
		{"client", secret, hosts{"login.microsoftonline.com": answer(401, `{"error": "invalid_client", "error_description": "AADSTS7000215: wrong secret hunter2.\r\nTrace ID: 1"}`)},
			"ask for an access token: 401 Unauthorized: invalid_client: AADSTS7000215: wrong secret ***."},
		{"no token", secret, hosts{"login.microsoftonline.com": answer(200, `{}`)}, "ask for an access token: the answer holds no token"},
		{"no JSON", secret, hosts{"login.microsoftonline.com": answer(200, `<html>`)}, "ask for an access token: the answer is not JSON"},
		{"too much", secret, hosts{"login.microsoftonline.com": answer(200, strings.Repeat(" ", maxTokenAnswer)+`{"access_token": "x"}`)}, "ask for an access token: the answer is not JSON"},
		{"registry", secret, hosts{"login.microsoftonline.com": granted, "acme.azurecr.io": answer(401, `{"errors": [{"code": "UNAUTHORIZED", "message": "opaque-access is refused"}]}`)},
			"exchange the access token at the registry: 401 Unauthorized: UNAUTHORIZED: *** is refused"},
		{"registry, long", secret, hosts{"login.microsoftonline.com": granted, "acme.azurecr.io": answer(401, `{"errors": [{"code": "X", "message": "`+strings.Repeat("é", 1000)+`"}]}`)},
			"é…; check these variables"},
		{"registry without token", secret, hosts{"login.microsoftonline.com": granted, "acme.azurecr.io": answer(200, `{}`)}, "registry: the answer holds no token"},
		{"job", job, hosts{"runner.example": answer(403, `hunter2`)}, "get the job's ID token: 403 Forbidden"},
		{"job without token", job, hosts{"runner.example": answer(200, `{}`)}, "get the job's ID token: the answer holds no token"},
		{"file", servicePrincipal.with(environment{"AZURE_FEDERATED_TOKEN_FILE": "/nowhere/token"}), nil, "/nowhere/token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := find(t, &Chain{Getenv: test.env.get, transport: test.services}, Source, azureRepository)
			if !got.Anonymous() || !strings.Contains(got.Notice, test.want) {
				t.Errorf("found %s, notice %q, want %q", got, got.Notice, test.want)
			}
			if strings.Contains(got.Notice, "hunter2") || strings.Contains(got.Notice, "opaque") || strings.ContainsAny(got.Notice, "\r\n") || len(got.Notice) > 600 {
				t.Errorf("notice says too much: %q", got.Notice)
			}
		})
	}
}
