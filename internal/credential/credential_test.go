package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

func TestNothingPrintsSecrets(t *testing.T) {
	const secret = "hunter2"
	auth := authn.AuthConfig{Username: secret, Password: secret, Auth: secret, IdentityToken: secret, RegistryToken: secret}
	chain := &Chain{
		Source:      Login{secret, secret},
		Target:      Login{secret, secret},
		Entries:     []Entry{{secret, secret, secret}},
		GitHubToken: secret,
		GitHubActor: secret,
	}
	chain.logins.slot("host").auth = auth
	chain.config.file = &dockerFile{path: secret}
	for _, value := range []any{
		Credential{Auth: auth, Origin: "origin"},
		&Credential{Auth: auth, Origin: "origin"},
		[]Credential{{Auth: auth}},
		struct{ C Credential }{Credential{Auth: auth}},
		chain.Source, chain.Entries[0], chain.Entries, chain,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
				t.Errorf("%s of a %T prints the secret: %s", verb, value, text)
			}
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "value", value)
		if text := string(encoded) + log.String(); strings.Contains(text, secret) {
			t.Errorf("encoding a %T shows the secret: %s", value, text)
		}
	}
}

func TestCredentialSaysItsOrigin(t *testing.T) {
	for _, test := range []struct {
		credential Credential
		anonymous  bool
		want       string
	}{
		{Credential{}, true, "none (anonymous)"},
		{Credential{Auth: authn.AuthConfig{IdentityToken: "x"}, Origin: "somewhere"}, false, "somewhere"},
		{Credential{Auth: authn.AuthConfig{RegistryToken: "x"}, Origin: "somewhere"}, false, "somewhere"},
	} {
		if got := test.credential.String(); got != test.want {
			t.Errorf("String() = %q, want %q", got, test.want)
		}
		if got := fmt.Sprintf("%+v", test.credential); got != test.want {
			t.Errorf("%%+v = %q, want %q", got, test.want)
		}
		if got := test.credential.Anonymous(); got != test.anonymous {
			t.Errorf("Anonymous() of %s = %v", test.credential, got)
		}
	}
}
