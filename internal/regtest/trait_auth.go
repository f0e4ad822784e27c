package regtest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// basicOnly asks for a name and a password with every request.
func basicOnly() Trait {
	return Trait{
		Name: "Basic", Does: "asks for `Basic` credentials with every request, where there are accounts",
		Source: "ECR: docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html; Nexus without its bearer token realm",
		set: func(o *Options) {
			if o.Auth != nil {
				o.Auth.Basic = true
			}
		},
	}
}

// MissingRightIs401 answers 401, not 403, to who has logged in and lacks a right.
func MissingRightIs401() Trait {
	return Trait{
		Name: "401 for a missing right", Does: "401, not 403, to who has logged in and lacks the right", Source: "docker_auth, Gitea and others; seen on docker_auth with distribution",
		set: func(o *Options) {
			if o.Auth != nil {
				o.Auth.Unauthorized = true
			}
		},
	}
}

// Challenge is a form of WWW-Authenticate.
type Challenge string

// The forms.
const (
	BasicThenBearer   Challenge = "Basic and Bearer in two headers"
	BothInOneHeader   Challenge = "Basic and Bearer in one header"
	BlanksRoundEquals Challenge = "blanks round ="
	NegotiateFirst    Challenge = "Negotiate first"
)

// ChallengeForm asks for credentials in that form. Where Basic is offered it is taken.
func ChallengeForm(form Challenge) Trait {
	basic := `Basic realm="` + tokenService + `"`
	return Trait{
		Name: "challenge: " + string(form), Does: "asks for credentials with " + string(form),
		Source: "RFC 9110, 11.6.1; reports on Artifactory (both), on proxies that add Negotiate, on blanks (go-containerregistry, containers/image)",
		set: func(o *Options) {
			if o.Auth != nil && (form == BasicThenBearer || form == BothInOneHeader) {
				o.Auth.BasicToo = true
			}
		},
		layers: inFront(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&onStatus{ResponseWriter: w, f: func(status int) {
				was := w.Header().Get("WWW-Authenticate")
				if status != http.StatusUnauthorized || was == "" {
					return
				}
				w.Header()["Www-Authenticate"] = map[Challenge][]string{
					BasicThenBearer:   {basic, was},
					BothInOneHeader:   {basic + ", " + was},
					BlanksRoundEquals: {strings.NewReplacer(`=`, ` = `, `,`, ` , `).Replace(was)},
					NegotiateFirst:    {"Negotiate", was},
				}[form]
			}}, r)
		})),
	}
}

// TokenAnswer is a form of a token service's answer.
type TokenAnswer string

// The forms.
const (
	OnlyAccessToken   TokenAnswer = "only access_token"
	ExpiresAsText     TokenAnswer = "expires_in as a text"
	ExpiresAsFraction TokenAnswer = "expires_in with a fraction"
	OddIssuedAt       TokenAnswer = "an odd issued_at"
)

// TokenAnswers answers requests for tokens in that form.
func TokenAnswers(form TokenAnswer) Trait {
	return Trait{
		Name: "tokens: " + string(form), Does: "answers requests for a token with " + string(form),
		Source: "ACR (only access_token); others in reports on containers/image and go-containerregistry",
		layers: inFront(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path != tokenPath {
				next.ServeHTTP(w, r)
				return
			}
			answer := keep(next, r)
			members := map[string]any{}
			if answer.status == http.StatusOK && json.Unmarshal(answer.body.Bytes(), &members) == nil {
				form.change(members)
				answer.replace(marshal(members))
			}
			answer.send(w, r.Method)
		})),
	}
}

func (f TokenAnswer) change(members map[string]any) {
	switch f {
	case OnlyAccessToken:
		delete(members, "token")
		delete(members, "expires_in")
		delete(members, "issued_at")
	case ExpiresAsText:
		members["expires_in"] = "300"
	case ExpiresAsFraction:
		members["expires_in"] = 299.9
	case OddIssuedAt:
		members["issued_at"] = "2026-11-22 14:30:00 +0000 UTC m=+0.001"
	}
}
