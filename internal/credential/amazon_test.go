package credential

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
)

// amazonEnvironment clears what the SDK would read of this machine, sets the
// variables for the SDK, and returns the Getenv of a chain.
func amazonEnvironment(t *testing.T, variables environment) environment {
	t.Helper()
	home := t.TempDir()
	for _, name := range os.Environ() {
		if name, _, _ = strings.Cut(name, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "credentials"))
	for name, value := range variables {
		t.Setenv(name, value)
	}
	t.Cleanup(func() { mustBeEmpty(t, home) })
	return variables
}

// mustBeEmpty: a login leaves nothing on disk.
func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("the login left %v in the home (%v)", entries, err)
	}
}

var amazonKeys = environment{
	"AWS_ACCESS_KEY_ID":     "AKIAEXAMPLE",
	"AWS_SECRET_ACCESS_KEY": "hunter2secret",
	"AWS_SESSION_TOKEN":     "hunter2session",
}

// amazonServer answers like ECR, ECR Public and STS.
func amazonServer(t *testing.T, calls *atomic.Int32) *httptest.Server {
	t.Helper()
	token := base64.StdEncoding.EncodeToString([]byte("AWS:ecr-password"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch {
		case strings.Contains(string(body), "AssumeRoleWithWebIdentity"):
			w.Header().Set("Content-Type", "text/xml")
			_, _ = fmt.Fprint(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)
		case strings.HasPrefix(r.Header.Get("X-Amz-Target"), "SpencerFrontendService."):
			_, _ = fmt.Fprintf(w, `{"authorizationData": {"authorizationToken": %q}}`, token)
		case r.Header.Get("X-Amz-Target") == "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken":
			if !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/ecr/") {
				t.Errorf("signed for another region: %s", r.Header.Get("Authorization"))
			}
			_, _ = fmt.Fprintf(w, `{"authorizationData": [{"authorizationToken": %q}]}`, token)
		default:
			t.Errorf("unexpected request: %v %s", r.Header, body)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

const (
	privateAmazon = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app"
	publicAmazon  = "public.ecr.aws/acme/app"
)

func TestAmazon(t *testing.T) {
	webIdentity := environment{
		"AWS_ROLE_ARN":                "arn:aws:iam::123456789012:role/promote",
		"AWS_WEB_IDENTITY_TOKEN_FILE": writeFile(t, "token", "jwt", 0o600),
	}
	for _, test := range []struct {
		name, repo string
		variables  environment
	}{
		{"private", privateAmazon, amazonKeys},
		{"public", publicAmazon, amazonKeys},
		{"web identity", privateAmazon, webIdentity},
	} {
		t.Run(test.name, func(t *testing.T) {
			var calls atomic.Int32
			server := amazonServer(t, &calls)
			env := amazonEnvironment(t, test.variables.with(environment{"AWS_ENDPOINT_URL": server.URL, "AWS_ENDPOINT_URL_STS": server.URL}))
			chain := &Chain{Getenv: env.get}
			got := find(t, chain, Target, test.repo)
			want := authn.AuthConfig{Username: "AWS", Password: "ecr-password"}
			if got.Auth != want || got.Origin != "Amazon ECR (AWS_* variables)" {
				t.Errorf("found %s %+v", got, got.Auth)
			}
			before := calls.Load()
			if again := find(t, chain, Source, test.repo+"/other"); again.Auth != want || calls.Load() != before {
				t.Errorf("logged in to one host twice")
			}
		})
	}
}

func TestAmazonNeedsAnIdentity(t *testing.T) {
	env := amazonEnvironment(t, environment{"AWS_REGION": "eu-west-1"})
	if got := find(t, &Chain{Getenv: env.get}, Source, privateAmazon); !got.Anonymous() || got.Notice != "" {
		t.Errorf("found %s, notice %q", got, got.Notice)
	}
	for _, variable := range amazonVariables {
		how := (&Chain{Getenv: environment{variable: "x"}.get}).cloudLogin(amazonECR)
		if how.do == nil {
			t.Errorf("%s is no identity", variable)
		}
	}
}

// TestAmazonRefuses: the answer's first line is told, its echo of the signed
// headers is not; and no stranger can use a private registry.
func TestAmazonRefuses(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"__type": "InvalidSignatureException", "message": "The signature of hunter2secret does not match\n\nx-amz-security-token:%s"}`, r.Header.Get("X-Amz-Security-Token"))
	}))
	defer server.Close()
	env := amazonEnvironment(t, amazonKeys.with(environment{"AWS_ENDPOINT_URL": server.URL}))
	for _, test := range []struct {
		side  Side
		repo  string
		fatal bool
	}{
		{Source, privateAmazon, true},
		{Target, privateAmazon, true},
		{Source, publicAmazon, false},
		{Target, publicAmazon, true},
	} {
		got, err := (&Chain{Getenv: env.get}).Find(t.Context(), test.side, repository(t, test.repo))
		if (err != nil) != test.fatal {
			t.Errorf("%s %s: error %v", test.side, test.repo, err)
		}
		text := fmt.Sprint(got.Notice, err)
		if !strings.Contains(text, "GetAuthorizationToken: InvalidSignatureException: The signature of *** does not match; check these variables, and that this identity may call ecr") {
			t.Errorf("%s %s: says %q", test.side, test.repo, text)
		}
		if strings.Contains(text, "hunter2") || strings.Contains(text, "\n") {
			t.Errorf("%s %s: says too much: %q", test.side, test.repo, text)
		}
		if err == nil && !got.Anonymous() {
			t.Errorf("%s %s: found %s", test.side, test.repo, got)
		}
	}
}

func TestAmazonAnswersNonsense(t *testing.T) {
	for _, body := range []string{`{}`, `{"authorizationData": []}`, `{"authorizationData": [{}]}`, `{"authorizationData": [{"authorizationToken": "%"}]}`, `{"authorizationData": [{"authorizationToken": "QVdTOg=="}]}`} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		env := amazonEnvironment(t, amazonKeys.with(environment{"AWS_ENDPOINT_URL": server.URL}))
		if _, err := (&Chain{Getenv: env.get}).Find(t.Context(), Source, repository(t, privateAmazon)); err == nil || !strings.Contains(err.Error(), "holds no token") {
			t.Errorf("%s: error %v", body, err)
		}
		server.Close()
	}
}

// TestAmazonBrokenProfile: a profile that does not exist is an error, no panic.
func TestAmazonBrokenProfile(t *testing.T) {
	env := amazonEnvironment(t, environment{"AWS_PROFILE": "absent"})
	_, err := (&Chain{Getenv: env.get}).Find(t.Context(), Source, repository(t, privateAmazon))
	if err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("error %v, want one that names the profile", err)
	}
}

// TestAmazonUnreachable names the call that failed, and its cause alone.
func TestAmazonUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	env := amazonEnvironment(t, environment{
		"AWS_ROLE_ARN":                "arn:aws:iam::123456789012:role/promote",
		"AWS_WEB_IDENTITY_TOKEN_FILE": writeFile(t, "token", "jwt", 0o600),
		"AWS_ENDPOINT_URL_STS":        server.URL,
		"AWS_MAX_ATTEMPTS":            "1",
	})
	_, err := (&Chain{Getenv: env.get}).Find(t.Context(), Source, repository(t, privateAmazon))
	if err == nil || !strings.Contains(err.Error(), `: STS AssumeRoleWithWebIdentity: Post "`+server.URL) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
}

// TestAmazonSparesMetadata: an identity without keys must not lead to the
// instance metadata service.
func TestAmazonSparesMetadata(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked the metadata service %s", r.URL)
	}))
	defer server.Close()
	profile := writeFile(t, "config", "[profile empty]\nregion = eu-west-1\n", 0o600)
	env := amazonEnvironment(t, environment{
		"AWS_PROFILE":                       "empty",
		"AWS_CONFIG_FILE":                   profile,
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL,
	})
	if _, err := (&Chain{Getenv: env.get}).Find(t.Context(), Source, repository(t, privateAmazon)); err == nil {
		t.Error("logged in without an identity")
	}
}

// TestAmazonEndpoint: the host's kind decides which of ECR's endpoints is asked.
func TestAmazonEndpoint(t *testing.T) {
	for host, want := range map[string]string{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":      "api.ecr.eu-west-1.amazonaws.com",
		"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com": "api.ecr-fips.us-east-1.amazonaws.com",
		"123456789012.dkr-ecr.eu-west-1.on.aws":             "ecr.eu-west-1.api.aws",
	} {
		amazonEnvironment(t, amazonKeys)
		registry := parseAmazon(host)
		cfg, err := (&Chain{}).amazonConfig(t.Context(), registry.region)
		if err != nil {
			t.Fatal(err)
		}
		asked := ""
		cfg.HTTPClient = &http.Client{Transport: hosts{want: func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.Host
			answer(200, `{"authorizationData": [{"authorizationToken": "x"}]}`)(w, r)
		}}}
		if _, err := privateToken(t.Context(), ecr.NewFromConfig(cfg, registry.endpoint)); err != nil || asked != want {
			t.Errorf("%s: asked %q, want %q (%v)", host, asked, want, err)
		}
	}
}
