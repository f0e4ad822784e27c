package regtest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// basicOnly asks for a name and a password with every request.
func basicOnly(source string) Trait {
	return Trait{
		Name: "Basic", Does: "asks for `Basic` credentials with every request, where there are accounts", Source: source,
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
		Name: "401 for a missing right", Does: "401, not 403, to who has logged in and lacks the right", Source: "distribution/distribution#2037; SUSE/Portus#1515",
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
		Source: map[Challenge]string{
			BasicThenBearer:   "RFC 9110, section 11.6.1; artifact-keeper/artifact-keeper#409",
			BothInOneHeader:   "RFC 9110, section 11.6.1; prowler-cloud/prowler#12691",
			BlanksRoundEquals: "RFC 9110, section 11.2",
			NegotiateFirst:    "google/go-containerregistry#1075",
		}[form],
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
		Source: map[TokenAnswer]string{
			OnlyAccessToken:   "https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md",
			ExpiresAsText:     "distribution/distribution#1746",
			ExpiresAsFraction: "RFC 8259, section 6",
			OddIssuedAt:       "https://distribution.github.io/distribution/spec/auth/token/",
		}[form],
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
