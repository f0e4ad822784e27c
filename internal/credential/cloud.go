package credential

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/proxy"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// cloudLogin is how the environment logs in to a vendor's registries. The zero
// value: it does not.
type cloudLogin struct {
	origin string // in words
	do     func(ctx context.Context, host string) (authn.AuthConfig, error)
	check  string // what to look at when it fails
}

func (c *Chain) cloudLogin(v vendor) cloudLogin {
	switch v {
	case amazonECR, amazonPublic:
		return c.amazon(v)
	case googleCloud:
		return c.google()
	case azureACR:
		return c.azure()
	case other, dockerHub, gitHub:
	}
	return cloudLogin{}
}

// cloud logs in with the environment's own variables. A login that fails is an
// error where anonymous access cannot serve: no cloud lets strangers push, and
// private ECR lets none of them pull. Elsewhere it is a notice, since the image
// may be public.
func (c *Chain) cloud(ctx context.Context, side Side, repo name.Repository) (Credential, error) {
	host := repo.RegistryStr()
	v := vendorOf(host)
	how := c.cloudLogin(v)
	if how.do == nil {
		return Credential{}, nil
	}
	auth, err := c.logins.once(ctx, host, func(ctx context.Context) (authn.AuthConfig, error) {
		return how.do(ctx, hostOf(host))
	})
	switch {
	case ctx.Err() != nil:
		return Credential{}, context.Cause(ctx)
	case err == nil:
		return Credential{Auth: auth, Origin: how.origin}, nil
	}
	var authority untrusted
	if hint := proxy.Hint("the login service", err); hint != "" {
		how.check = strings.ReplaceAll(hint, "\n", " ")
	} else if errors.As(err, &authority) {
		how.check = "if the authority is your own, give its certificate in PEM form in the input ca-certificates; if it is not, a proxy may intercept TLS"
	}
	err = fmt.Errorf("log in to %s with %s: %w; %s", host, how.origin, err, how.check)
	if side == Target || v == amazonECR {
		return Credential{}, err
	}
	return Credential{Notice: err.Error()}, nil
}

// maxAnswer bounds what is repeated of a login service's words.
const maxAnswer = 300

// untrusted is the text of an error about a login service whose certificate is
// signed by an unknown authority: no variable is wrong then.
type untrusted string

func (u untrusted) Error() string { return string(u) }

// redact makes an error of a login service fit for a message: the first line
// only, since AWS goes on with the signed headers, the session token among
// them; bounded; without the secrets that were sent.
func redact(ctx context.Context, err error, secrets ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if refused := proxy.Find(err); refused != nil {
		return refused // it never got as far as the service, and holds no secret
	}
	text := err.Error()
	if end := strings.IndexAny(text, "\r\n"); end >= 0 {
		text = text[:end]
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	if len(text) > maxAnswer {
		text = strings.ToValidUTF8(text[:maxAnswer], "") + "…"
	}
	if isUntrusted(err) {
		return untrusted(text)
	}
	return errors.New(text)
}
