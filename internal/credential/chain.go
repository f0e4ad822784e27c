package credential

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Chain is everything that credentials of a run may come from. It logs in to a
// cloud at most once for a host, and may be used by several goroutines. It must
// not be copied after its first use. The zero value finds nothing.
type Chain struct {
	Source, Target Login
	Entries        []Entry
	GitHubToken    string // used for ghcr.io and nowhere else
	GitHubActor    string // the token's user name; may be empty
	// Getenv reads the environment; nil: it is empty. It decides which places
	// there are. The AWS SDK, once chosen, and credential helper programs read the
	// process's own.
	Getenv func(string) string
	// Roots are the authorities of the login services of clouds; nil: the system's.
	Roots *x509.CertPool

	// transport is to Google and Azure; nil: one with proxyFor. proxyFor is which proxy a request goes by, to AWS too;
	// nil: as the process's environment says.
	transport http.RoundTripper
	proxyFor  func(*http.Request) (*url.URL, error)
	network   struct {
		once      sync.Once
		transport *http.Transport
	}
	config struct {
		once sync.Once
		file *dockerFile
		err  error
	}
	logins logins
}

// Format prints no value.
func (*Chain) Format(s fmt.State, _ rune) { write(s, "(credential chain)") }

// MarshalText prints no value.
func (*Chain) MarshalText() ([]byte, error) { return []byte("(credential chain)"), nil }

// Validate says everything that is wrong with the inputs, in one error. It
// contacts nothing.
func (c *Chain) Validate() error {
	faults := []error{c.Source.validate(Source), c.Target.validate(Target)}
	places := map[scope]int{}
	for i, entry := range c.Entries {
		faults = append(faults, entry.validate(i+1))
		if first, seen := places[scopeOf(entry.Registry)]; seen {
			faults = append(faults, fmt.Errorf("registry-auth entries %d and %d are for the same registry: keep one of them", first, i+1))
			continue
		}
		places[scopeOf(entry.Registry)] = i + 1
	}
	return errors.Join(faults...)
}

// validFor is Validate, but a fault of the side's own inputs stands alone: the error line of a
// repository has no room for what does not concern it.
func (c *Chain) validFor(side Side) error {
	if own := map[Side]Login{Source: c.Source, Target: c.Target}[side].validate(side); own != nil {
		return own
	}
	return c.Validate()
}

func (l Login) validate(side Side) error {
	switch {
	case l.Username == "" && l.Password != "":
		return fmt.Errorf("%s-password is given without %s-username: give both, or neither", side, side)
	case l.Username != "" && l.Password == "":
		return fmt.Errorf("%s-username is given without %s-password: give both, or neither; a secret that is not set arrives empty", side, side)
	}
	return nil
}

// validate names an entry by its place: a misplaced secret may be in any field.
func (e Entry) validate(place int) error {
	var missing []string
	for _, field := range []struct{ name, value string }{{"registry", e.Registry}, {"username", e.Username}, {"password", e.Password}} {
		if strings.TrimSpace(field.value) == "" {
			missing = append(missing, field.name)
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("registry-auth entry %d has no %s: give registry, username and password; a secret that is not set arrives empty", place, strings.Join(missing, " and no "))
}

// place looks for a credential in one place. No origin: there is none for the
// repository.
type place func(context.Context, Side, name.Repository) (Credential, error)

// Find returns the credential for one side and repository: of the first place
// that has one, anonymous if none has. It may log in to a cloud, or run a
// credential helper, each within 30 seconds.
func (c *Chain) Find(ctx context.Context, side Side, repo name.Repository) (Credential, error) {
	if err := c.validFor(side); err != nil {
		return Credential{}, err
	}
	var notices []string
	for _, look := range []place{c.input, c.entry, c.docker, c.cloud, c.token} {
		found, err := look(ctx, side, repo)
		if err != nil {
			return Credential{}, annotate(err, notices)
		}
		if found.Notice != "" {
			notices = append(notices, found.Notice)
		}
		if found.Origin != "" {
			found.Notice = strings.Join(notices, "; ")
			return found, nil
		}
	}
	return Credential{Origin: anonymous, Notice: strings.Join(notices, "; ")}, nil
}

func annotate(err error, notices []string) error {
	if len(notices) == 0 {
		return err
	}
	return fmt.Errorf("%w; before that: %s", err, strings.Join(notices, "; "))
}

func (c *Chain) env(key string) string {
	if c.Getenv == nil {
		return ""
	}
	return c.Getenv(key)
}

func (c *Chain) input(_ context.Context, side Side, _ name.Repository) (Credential, error) {
	var login Login
	switch side {
	case Source:
		login = c.Source
	case Target:
		login = c.Target
	case Elsewhere:
	}
	if !login.given() {
		return Credential{}, nil
	}
	return Credential{
		Auth:   authn.AuthConfig{Username: login.Username, Password: login.Password},
		Origin: fmt.Sprintf("the %s-username and %s-password inputs", side, side),
	}, nil
}

func (c *Chain) entry(_ context.Context, _ Side, repo name.Repository) (Credential, error) {
	var found Credential
	length := -1
	for _, entry := range c.Entries {
		s := scopeOf(entry.Registry)
		if len(s.path) > length && s.covers(repo) {
			length = len(s.path)
			found = Credential{
				Auth:   authn.AuthConfig{Username: entry.Username, Password: entry.Password},
				Origin: "registry-auth entry " + s.String(),
			}
		}
	}
	return found, nil
}

const gitHubToken = "the github-token input"

func (c *Chain) token(_ context.Context, _ Side, repo name.Repository) (Credential, error) {
	if c.GitHubToken == "" || vendorOf(repo.RegistryStr()) != gitHub {
		return Credential{}, nil
	}
	user := c.GitHubActor
	if user == "" {
		user = "x-access-token"
	}
	return Credential{Auth: authn.AuthConfig{Username: user, Password: c.GitHubToken}, Origin: gitHubToken}, nil
}
