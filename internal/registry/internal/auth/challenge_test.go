package auth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const bearerChallenge = `Bearer realm="https://auth.example/token",service="x"`

// challengeForm is a WWW-Authenticate header as registries and proxies send it, and the
// one challenge that is left of it.
type challengeForm struct {
	name   string
	header []string
	want   string
}

var challengeForms = []challengeForm{
	{"plain", []string{bearerChallenge}, bearerChallenge},
	{"blanks around =", []string{"Bearer realm = \"https://auth.example/token\" ,\tservice\t=\t\"x\""}, bearerChallenge},
	{"Basic first, two headers", []string{`Basic realm="x"`, bearerChallenge}, bearerChallenge},
	{"Basic first, one header", []string{`Basic realm="x", ` + bearerChallenge}, bearerChallenge},
	{"Bearer first, one header", []string{bearerChallenge + `, Basic realm="x"`}, bearerChallenge},
	{"Negotiate first, two headers", []string{"Negotiate", bearerChallenge}, bearerChallenge},
	{"Negotiate first, one header", []string{"Negotiate, " + bearerChallenge}, bearerChallenge},
	{"Negotiate with a token68", []string{"Negotiate YIIC+/==, " + bearerChallenge}, bearerChallenge},
	{"Negotiate, then Basic", []string{`Negotiate, Basic realm="x"`}, `Basic realm="x"`},
	{"Negotiate alone", []string{"Negotiate"}, "Negotiate"},
	{"Bearer without a realm", []string{`Bearer service="x", Basic realm="x"`}, `Basic realm="x"`},
	{"Bearer without a realm alone", []string{`Bearer service="x"`}, `Bearer service="x"`},
	{"empty parameter", []string{`Bearer service="",realm="https://auth.example/token"`}, `Bearer realm="https://auth.example/token"`},
	{"no quotes", []string{"Bearer realm=https://auth.example/token, service=x"}, bearerChallenge},
	{"commas within", []string{`Bearer realm="https://auth.example/token",scope="a:pull,push"`}, `Bearer realm="https://auth.example/token",scope="a:pull,push"`},
	{"escapes", []string{`Basic realm="a \"b\" \\c"`}, `Basic realm="a \"b\" \\c"`},
	{"other cases", []string{`BEARER Realm="https://auth.example/token",SERVICE="x"`}, `BEARER realm="https://auth.example/token",service="x"`},
	{"empty elements", []string{`, ,` + bearerChallenge + `,,`}, bearerChallenge},
	{"quote that does not close", []string{`Bearer realm="https://auth.example/token`, `Basic realm="x"`}, `Basic realm="x"`},
	{"nothing", nil, ""},
	{"no challenge", []string{"=="}, "=="},
}

func TestOneChallenge(t *testing.T) {
	t.Parallel()
	for _, test := range challengeForms {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Www-Authenticate": test.header}
			if oneChallenge(header); strings.Join(header["Www-Authenticate"], "|") != test.want {
				t.Errorf("got %q, want %q", header["Www-Authenticate"], test.want)
			}
		})
	}
}

// What go-containerregistry's own reading makes of the four forms that oneChallenge
// names: were it to read them, there would be no need for another parser.
func TestChallengesThatAnotherParserIsNeededFor(t *testing.T) {
	t.Parallel()
	registry, err := name.NewRegistry("registry.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"blanks around =", "Basic first, one header", "empty parameter", "no quotes"} {
		i := slices.IndexFunc(challengeForms, func(f challengeForm) bool { return f.name == name })
		realm := func(header ...string) string {
			answer := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": header}, Body: http.NoBody}
			c, err := transport.Ping(t.Context(), registry, canned{answer})
			if err != nil {
				t.Fatal(err)
			}
			return c.Scheme + " " + c.Parameters["realm"]
		}
		form := challengeForms[i]
		if got := realm(form.header...); got == realm(form.want) {
			t.Errorf("%s: go-containerregistry reads it, as %q", name, got)
		}
	}
}

// FuzzOneChallenge holds that go-containerregistry reads what is left as it was read here.
func FuzzOneChallenge(f *testing.F) {
	for _, form := range challengeForms {
		f.Add(strings.Join(form.header, ", "))
	}
	registry, err := name.NewRegistry("registry.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		header := http.Header{"Www-Authenticate": {value}}
		challenges := parseChallenges(header)
		if oneChallenge(header); len(challenges) == 0 {
			return
		}
		answer := &http.Response{StatusCode: http.StatusUnauthorized, Header: header, Body: http.NoBody}
		c, err := transport.Ping(t.Context(), registry, canned{answer})
		if err != nil {
			t.Fatal(err)
		}
		picked := pickChallenge(challenges)
		if !picked.is(c.Scheme) {
			t.Errorf("%q is read as %q, then as %q", value, picked.scheme, c.Scheme)
		}
		last := map[string]string{} // of a name that stands twice
		for _, p := range picked.params {
			if p.value != "" {
				last[p.name] = p.value
			}
		}
		for name, value := range last {
			if c.Parameters[name] != value {
				t.Errorf("parameter %q of %q is read as %q, want %q", name, header, c.Parameters[name], value)
			}
		}
	})
}

// The life of a token is what the service says, in whatever form.
func TestLifeOfAToken(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		`300`: "300", `"300"`: "300", `299.9`: "299", `"299.9"`: "299", `3e2`: "300", `"soon"`: "", `-5`: "", `0`: "", `null`: "", `{}`: "", `1e99`: "", `"NaN"`: "",
	} {
		t.Run(said, func(t *testing.T) {
			registry, err := name.NewRegistry("registry.example")
			if err != nil {
				t.Fatal(err)
			}
			answer := httptest.NewRecorder()
			answer.Body.Write(wholeSeconds(fmt.Appendf(nil, `{"access_token":"t","expires_in":%s,"issued_at":17}`, said)))
			c := &transport.Challenge{Scheme: "bearer", Parameters: map[string]string{"realm": "https://registry.example/token"}}
			got, err := transport.Exchange(t.Context(), registry, authn.Anonymous, canned{answer.Result()}, nil, c)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = "0"
			}
			if fmt.Sprint(got.ExpiresIn) != want || got.AccessToken != "t" {
				t.Errorf("a life of %d s, want %s", got.ExpiresIn, want)
			}
		})
	}
	if text := "no JSON"; string(wholeSeconds([]byte(text))) != text {
		t.Error("what is no JSON is changed")
	}
}
