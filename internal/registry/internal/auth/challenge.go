package auth

import (
	"net/http"
	"strings"
)

// authChallenge is one challenge of a WWW-Authenticate header.
type authChallenge struct {
	scheme string
	params []authParam
}

// authParam is one parameter; its name is in lower case.
type authParam struct{ name, value string }

func (c authChallenge) param(name string) string {
	for _, p := range c.params {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

func (c authChallenge) is(scheme string) bool { return strings.EqualFold(c.scheme, scheme) }

// String is the challenge as every parser reads it: quoted, without blanks. A
// parameter without a value is left out.
func (c authChallenge) String() string {
	var b strings.Builder
	b.WriteString(c.scheme)
	separator := " "
	for _, p := range c.params {
		if p.value == "" {
			continue
		}
		b.WriteString(separator + p.name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p.value) + `"`)
		separator = ","
	}
	return b.String()
}

// oneChallenge leaves in the header of a 401 the one challenge that is answered:
// Bearer where it is offered, then Basic, then whatever comes first. go-containerregistry
// reads the result; by itself it takes the first of Basic and Bearer, and fails at
//
//	Bearer realm = "https://auth.example/token" , service = "x"   (blanks around "=": no parameter is read)
//	Basic realm="x", Bearer realm="https://auth.example/token"    (two challenges in one header: the second is not seen)
//	Bearer service="",realm="https://auth.example/token"          (an empty parameter: what comes after it is not read)
//	Bearer realm=https://auth.example/token                       (no quotes: the realm is "https")
//
// all of which registries and the proxies before them send (RFC 9110 §11.6.1 allows
// all but the last).
func oneChallenge(header http.Header) {
	challenges := parseChallenges(header)
	if len(challenges) > 0 {
		header["Www-Authenticate"] = []string{pickChallenge(challenges).String()}
	}
}

func pickChallenge(challenges []authChallenge) authChallenge {
	for _, usable := range []func(authChallenge) bool{
		func(c authChallenge) bool { return c.is("bearer") && c.param("realm") != "" },
		func(c authChallenge) bool { return c.is("basic") },
		func(c authChallenge) bool { return c.is("bearer") },
	} {
		for _, c := range challenges {
			if usable(c) {
				return c
			}
		}
	}
	return challenges[0]
}

// lacksScope reports whether a refusal says that the token is good and the right is
// missing (RFC 6750 §3.1).
func lacksScope(header http.Header) bool {
	for _, c := range parseChallenges(header) {
		if c.is("bearer") && c.param("error") == "insufficient_scope" {
			return true
		}
	}
	return false
}

// maxChallenges bounds how many challenges, and how many parameters of one, are read.
const maxChallenges = 16

// parseChallenges reads every WWW-Authenticate header (RFC 9110 §11.6.1). What cannot
// be read ends the header that it is in.
func parseChallenges(header http.Header) (all []authChallenge) {
	for _, value := range header["Www-Authenticate"] {
		s := challengeScanner{rest: value}
		for len(all) < maxChallenges {
			c, ok := s.challenge()
			if !ok {
				break
			}
			all = append(all, c)
		}
	}
	return all
}

// challengeScanner reads one header's value from left to right.
type challengeScanner struct{ rest string }

// challenge reads a scheme and the parameters up to the next scheme.
func (s *challengeScanner) challenge() (c authChallenge, ok bool) {
	s.skip(", \t")
	if c.scheme = s.token(); c.scheme == "" {
		return c, false
	}
	for len(c.params) < maxChallenges {
		before := s.rest
		s.skip(", \t")
		p, ok := s.param()
		if !ok { // the next challenge's scheme; or a token68, of a scheme that is not answered
			s.rest = before
			s.skipToken68()
			return c, true
		}
		c.params = append(c.params, p)
	}
	return c, true
}

// param reads token BWS "=" BWS ( token / quoted-string ).
func (s *challengeScanner) param() (p authParam, ok bool) {
	if p.name = strings.ToLower(s.token()); p.name == "" {
		return p, false
	}
	s.skip(" \t")
	if !strings.HasPrefix(s.rest, "=") {
		return p, false
	}
	s.rest = s.rest[1:]
	s.skip(" \t")
	p.value, ok = s.value()
	return p, ok
}

// skipToken68 skips what Negotiate may have in place of parameters, which may end in
// "=" (RFC 9110 §11.2).
func (s *challengeScanner) skipToken68() {
	rest := strings.TrimLeft(s.rest, " \t")
	if rest == s.rest || strings.HasPrefix(rest, ",") {
		return
	}
	if end := strings.IndexByte(rest, ','); end >= 0 {
		s.rest = rest[end:]
	} else {
		s.rest = ""
	}
}

func (s *challengeScanner) skip(blanks string) { s.rest = strings.TrimLeft(s.rest, blanks) }

func (s *challengeScanner) token() string {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token
}

// isTokenByte follows RFC 9110 §5.6.2.
func isTokenByte(b byte) bool {
	return b > ' ' && b < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(b))
}

// value reads a quoted string, or what is not quoted up to a comma or a blank.
func (s *challengeScanner) value() (value string, ok bool) {
	if !strings.HasPrefix(s.rest, `"`) {
		end := strings.IndexAny(s.rest, ", \t")
		if end < 0 {
			end = len(s.rest)
		}
		value, s.rest = s.rest[:end], s.rest[end:]
		return value, true
	}
	var b strings.Builder
	for n := 1; n < len(s.rest); n++ {
		switch c := s.rest[n]; {
		case c == '"':
			s.rest = s.rest[n+1:]
			return b.String(), true
		case c == '\\' && n+1 < len(s.rest):
			n++
			b.WriteByte(s.rest[n])
		default:
			b.WriteByte(c)
		}
	}
	return "", false // the closing quote is missing
}
