package credential

import (
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Side is the end of a promotion that a credential is for.
type Side string

// The sides of a promotion. Elsewhere is a repository that is read beside it, as
// environments are that a history lists: what the inputs give for a side is not for it.
const (
	Source    Side = "source"
	Target    Side = "target"
	Elsewhere Side = "environment"
)

// Credential is what to log in to one repository with. The zero Auth is
// anonymous. However it is printed, only its origin shows; that holds for
// encoding/json too, but not for a field of Auth on its own, nor for an
// unexported field that holds a Credential, whose methods fmt cannot call.
type Credential struct {
	Auth   authn.AuthConfig
	Origin string // where it came from, in words; never its value
	Notice string // why an earlier place had nothing, or empty
}

const anonymous = "none (anonymous)"

// Anonymous says whether there is nothing to log in with.
func (c Credential) Anonymous() bool { return c.Auth == authn.AuthConfig{} }

// Secrets are the credential's values that no log may show.
func (c Credential) Secrets() []string {
	var all []string
	for _, secret := range []string{c.Auth.Password, c.Auth.Auth, c.Auth.IdentityToken, c.Auth.RegistryToken} {
		if secret != "" {
			all = append(all, secret)
		}
	}
	return all
}

// String is the credential's origin.
func (c Credential) String() string {
	if c.Origin == "" {
		return anonymous
	}
	return c.Origin
}

// Format prints the origin for every verb, %#v included.
func (c Credential) Format(s fmt.State, _ rune) { write(s, c.String()) }

// MarshalText is the origin: encoding/json and slog print no more than fmt does.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Login is a user name and a password as one side's inputs give them. Both or
// neither.
type Login struct{ Username, Password string }

// Format prints no value.
func (Login) Format(s fmt.State, _ rune) { write(s, "(login)") }

// MarshalText prints no value.
func (Login) MarshalText() ([]byte, error) { return []byte("(login)"), nil }

func (l Login) given() bool { return l != Login{} }

// Entry is one item of registry-auth. Registry is a host, or a host and the
// first segments of a repository's path.
type Entry struct{ Registry, Username, Password string }

// Format prints no value: all text of registry-auth may hold a secret.
func (Entry) Format(s fmt.State, _ rune) { write(s, "(registry-auth entry)") }

// MarshalText prints no value.
func (Entry) MarshalText() ([]byte, error) { return []byte("(registry-auth entry)"), nil }

// write ignores the error as package fmt itself does: a Formatter cannot report one.
func write(w io.Writer, text string) { _, _ = io.WriteString(w, text) }
