package regtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

func oneUser() *regtest.Auth {
	return &regtest.Auth{Users: map[string]regtest.User{
		"ann": {Password: "secret", Grants: []regtest.Grant{{Repository: "acme/*", Actions: []string{"pull", "push"}}}},
		"bob": {Password: "secret", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"pull"}}}},
		"eve": {Password: "secret", Grants: []regtest.Grant{{Repository: "acme/app", Actions: []string{"*"}}}},
	}}
}

// ask sends one request as it is, with no second try.
func ask(t *testing.T, method, address string, header map[string]string, body string) (*http.Response, string) {
	t.Helper()
	return askBy(t, http.DefaultClient, method, address, header, body)
}

func askBy(t *testing.T, client *http.Client, method, address string, header map[string]string, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

func basic(user, password string) map[string]string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return map[string]string{"Authorization": r.Header.Get("Authorization")}
}

type issued struct {
	Token        string
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"`
}

func getToken(t *testing.T, r *regtest.Registry, user string, scopes ...string) issued {
	t.Helper()
	query := url.Values{"scope": scopes, "service": {"registry.test"}, "offline_token": {"true"}}
	answer, text := askBy(t, r.Access("", "").Client, "GET", "http://"+r.Host()+"/token?"+query.Encode(), basic(user, "secret"), "")
	return parseToken(t, answer, text)
}

func postToken(t *testing.T, r *regtest.Registry, form url.Values) issued {
	t.Helper()
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	answer, text := ask(t, "POST", "http://"+r.Host()+"/token", header, form.Encode())
	return parseToken(t, answer, text)
}

func parseToken(t *testing.T, answer *http.Response, text string) issued {
	t.Helper()
	var i issued
	if err := json.Unmarshal([]byte(text), &i); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("token: status %d, %v: %s", answer.StatusCode, err, text)
	}
	return i
}

func withToken(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

func checkRefusal(t *testing.T, answer *http.Response, text string, status int, code string) {
	t.Helper()
	if answer.StatusCode != status || !strings.Contains(text, `"code":"`+code+`"`) {
		t.Errorf("%s %s: status %d %s, want %d %s", answer.Request.Method, answer.Request.URL, answer.StatusCode, text, status, code)
	}
}

func TestChallengeNamesRealmAndScope(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser()})
	tests := map[string]struct{ method, path, scope string }{
		"ping":   {"GET", "/v2/", ""},
		"pull":   {"GET", "/v2/acme/app/manifests/v1", `,scope="repository:acme/app:pull"`},
		"push":   {"PUT", "/v2/acme/app/manifests/v1", `,scope="repository:acme/app:pull,push"`},
		"upload": {"POST", "/v2/acme/app/blobs/uploads/", `,scope="repository:acme/app:pull,push"`},
		"mount":  {"POST", "/v2/acme/app/blobs/uploads/?mount=sha256:0&from=acme/base", `,scope="repository:acme/app:pull,push repository:acme/base:pull"`},
		"delete": {"DELETE", "/v2/acme/app/manifests/v1", `,scope="repository:acme/app:delete"`},
	}
	for name, test := range tests {
		answer, text := ask(t, test.method, "http://"+r.Host()+test.path, nil, "")
		checkRefusal(t, answer, text, 401, "UNAUTHORIZED")
		want := `Bearer realm="http://` + r.Host() + `/token",service="registry.test"` + test.scope
		if got := answer.Header.Get("WWW-Authenticate"); got != want {
			t.Errorf("%s: challenge %s, want %s", name, got, want)
		}
	}
}

func TestTokenCoversItsScopesOnly(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser()})
	base := "http://" + r.Host() + "/v2/"
	pull := getToken(t, r, "ann", "repository:acme/app:pull").Token
	both := getToken(t, r, "ann", "repository:acme/app:pull,push").Token
	tests := map[string]struct {
		token, method, path string
		status              int
	}{
		"pull":                          {pull, "GET", "acme/app/manifests/v1", 404},
		"ping":                          {pull, "GET", "", 200},
		"push with a pull token":        {pull, "POST", "acme/app/blobs/uploads/", 401},
		"another repository":            {both, "GET", "acme/other/manifests/v1", 401},
		"push":                          {both, "POST", "acme/app/blobs/uploads/", 202},
		"mount from another repository": {both, "POST", "acme/app/blobs/uploads/?mount=sha256:0&from=acme/base", 401},
		"mount from a forbidden one":    {both, "POST", "acme/app/blobs/uploads/?mount=sha256:0&from=other/base", 403},
		"no grant":                      {both, "GET", "other/app/manifests/v1", 403},
		"delete without the grant":      {both, "DELETE", "acme/app/manifests/v1", 403},
		"made up":                       {"made-up", "GET", "acme/app/manifests/v1", 401},
	}
	for name, test := range tests {
		answer, text := ask(t, test.method, base+test.path, withToken(test.token), "")
		if answer.StatusCode != test.status {
			t.Errorf("%s: status %d %s, want %d", name, answer.StatusCode, text, test.status)
		}
		switch test.status {
		case 401:
			checkRefusal(t, answer, text, 401, "UNAUTHORIZED")
		case 403:
			checkRefusal(t, answer, text, 403, "DENIED")
		}
	}
}

func TestTokenHoldsNoMoreThanGranted(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser()})
	token := getToken(t, r, "bob", "repository:acme/app:pull,push", "repository:x/y:pull").Token
	for path, want := range map[string]int{"acme/app": 404, "x/y": 404} {
		if answer, text := ask(t, "GET", "http://"+r.Host()+"/v2/"+path+"/manifests/v1", withToken(token), ""); answer.StatusCode != want {
			t.Errorf("pull %s: status %d %s, want %d", path, answer.StatusCode, text, want)
		}
	}
	answer, text := ask(t, "POST", "http://"+r.Host()+"/v2/acme/app/blobs/uploads/", withToken(token), "")
	checkRefusal(t, answer, text, 403, "DENIED")
}

func TestGrantWithoutStarIsOneRepository(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser()})
	token := getToken(t, r, "eve", "repository:acme/app:pull", "repository:acme/app2:pull").Token
	for path, want := range map[string]int{"acme/app": 404, "acme/app2": 403} {
		answer, _ := ask(t, "GET", "http://"+r.Host()+"/v2/"+path+"/manifests/v1", withToken(token), "")
		if answer.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, answer.StatusCode, want)
		}
	}
}

func TestOneScope(t *testing.T) {
	auth := oneUser()
	auth.OneScope = true
	r := regtest.Serve(t, regtest.Options{Auth: auth})
	for _, scopes := range [][]string{
		{"repository:acme/a:pull", "repository:acme/b:pull"},
		{"repository:acme/a:pull repository:acme/b:pull"},
	} {
		token := getToken(t, r, "ann", scopes...).Token
		for path, want := range map[string]int{"acme/a": 404, "acme/b": 401} {
			answer, _ := ask(t, "GET", "http://"+r.Host()+"/v2/"+path+"/manifests/v1", withToken(token), "")
			if answer.StatusCode != want {
				t.Errorf("%q: %s: status %d, want %d", scopes, path, answer.StatusCode, want)
			}
		}
	}
}

func TestTokenEnds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		auth := oneUser()
		auth.TokenTTL = 50 * time.Millisecond
		r := regtest.Serve(t, regtest.Options{Memory: m, Auth: auth})
		client, address := r.Access("", "").Client, "http://"+r.Host()+"/v2/acme/app/manifests/v1"
		token := getToken(t, r, "ann", "repository:acme/app:pull")
		if token.ExpiresIn != 1 {
			t.Errorf("expires_in %d, want 1", token.ExpiresIn)
		}
		if answer, _ := askBy(t, client, "GET", address, withToken(token.Token), ""); answer.StatusCode != 404 {
			t.Errorf("fresh token: status %d", answer.StatusCode)
		}
		time.Sleep(60 * time.Millisecond)
		answer, text := askBy(t, client, "GET", address, withToken(token.Token), "")
		checkRefusal(t, answer, text, 401, "UNAUTHORIZED")
		if challenge := answer.Header.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="invalid_token"`) {
			t.Errorf("challenge %s", challenge)
		}
	})
}

func TestRevokeTokens(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser()})
	address := "http://" + r.Host() + "/v2/acme/app/manifests/v1"
	token := getToken(t, r, "ann", "repository:acme/app:pull")
	r.RevokeTokens()
	if answer, _ := ask(t, "GET", address, withToken(token.Token), ""); answer.StatusCode != 401 {
		t.Errorf("revoked token: status %d", answer.StatusCode)
	}
	fresh := postToken(t, r, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}, "scope": {"repository:acme/app:pull"},
	})
	if answer, _ := ask(t, "GET", address, withToken(fresh.AccessToken), ""); answer.StatusCode != 404 {
		t.Errorf("token from refresh token: status %d", answer.StatusCode)
	}
	if answer, _ := ask(t, "GET", "http://"+r.Host()+"/v2/", withToken(token.RefreshToken), ""); answer.StatusCode != 401 {
		t.Errorf("refresh token as token: status %d", answer.StatusCode)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {fresh.AccessToken}}
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	if answer, _ := ask(t, "POST", "http://"+r.Host()+"/token", header, form.Encode()); answer.StatusCode != 401 {
		t.Errorf("token as refresh token: status %d", answer.StatusCode)
	}
}

func TestTokenByForm(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser()})
	form := url.Values{
		"grant_type": {"password"}, "username": {"ann"}, "password": {"secret"}, "access_type": {"offline"},
		"scope": {"repository:acme/a:pull repository:acme/b:pull,push"},
	}
	token := postToken(t, r, form)
	for _, path := range []string{"acme/a", "acme/b"} {
		if answer, _ := ask(t, "GET", "http://"+r.Host()+"/v2/"+path+"/manifests/v1", withToken(token.AccessToken), ""); answer.StatusCode != 404 {
			t.Errorf("%s: status %d", path, answer.StatusCode)
		}
	}
	if token.RefreshToken == "" {
		t.Error("no refresh token for offline access")
	}
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for name, change := range map[string][2]string{
		"wrong password":     {"password", "wrong"},
		"unknown user":       {"username", "nobody"},
		"unknown grant type": {"grant_type", "magic"},
		"made-up refresh":    {"grant_type", "refresh_token"},
	} {
		bad := url.Values{}
		for k, v := range form {
			bad[k] = v
		}
		bad.Set(change[0], change[1])
		answer, text := ask(t, "POST", "http://"+r.Host()+"/token", header, bad.Encode())
		if answer.StatusCode != 401 {
			t.Errorf("%s: status %d %s", name, answer.StatusCode, text)
		}
	}
}

func TestTokenServiceRefuses(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser()})
	for name, header := range map[string]map[string]string{
		"wrong password": basic("ann", "wrong"), "unknown user": basic("nobody", "secret"), "no account": nil,
	} {
		answer, text := ask(t, "GET", "http://"+r.Host()+"/token?scope=repository:acme/app:pull", header, "")
		if answer.StatusCode != 401 {
			t.Errorf("%s: status %d %s", name, answer.StatusCode, text)
		}
		checkRefusal(t, answer, text, 401, "UNAUTHORIZED")
	}
}

func TestAnonymous(t *testing.T) {
	for _, useBasic := range []bool{false, true} {
		auth := oneUser()
		auth.Basic = useBasic
		auth.Anonymous = []regtest.Grant{{Repository: "public/app", Actions: []string{"pull"}}}
		auth.Users["pub"] = regtest.User{Password: "secret", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}}
		r := regtest.Serve(t, regtest.Options{Auth: auth})
		i := regtest.Build(regtest.Spec{})
		push(t, i, r.Access("pub", "secret"), "public/app", "v1")
		push(t, i, r.Access("pub", "secret"), "private/app", "v1")
		read(t, r.Access("", ""), "public/app", "v1")
		if _, err := regtest.Read(t.Context(), r.Access("", ""), "private/app", "v1"); err == nil {
			t.Errorf("basic %v: nobody read a private repository", useBasic)
		}
		if err := i.Push(t.Context(), r.Access("", ""), "public/app", "v2"); err == nil {
			t.Errorf("basic %v: nobody pushed", useBasic)
		}
	}
}

func TestBasic(t *testing.T) {
	auth := oneUser()
	auth.Basic = true
	r := regtest.Serve(t, regtest.Options{Auth: auth})
	push(t, regtest.Build(regtest.Spec{}), r.Access("ann", "secret"), "acme/app", "v1")
	address := "http://" + r.Host() + "/v2/acme/app/manifests/v1"
	answer, text := ask(t, "GET", address, nil, "")
	checkRefusal(t, answer, text, 401, "UNAUTHORIZED")
	if got := answer.Header.Get("WWW-Authenticate"); got != `Basic realm="registry.test"` {
		t.Errorf("challenge %s", got)
	}
	answer, text = ask(t, "GET", address, basic("ann", "wrong"), "")
	checkRefusal(t, answer, text, 401, "UNAUTHORIZED")
	answer, text = ask(t, "PUT", address, basic("bob", "secret"), "")
	checkRefusal(t, answer, text, 403, "DENIED")
	read(t, r.Access("bob", "secret"), "acme/app", "v1")
}

func TestPushAndReadWithTokens(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser(), Delete: true})
	i := attached(regtest.Spec{Seed: "tokens", Platforms: []string{"linux/amd64"}})
	push(t, i, r.Access("ann", "secret"), "acme/app", "v1")
	checkTree(t, "tokens", i, read(t, r.Access("bob", "secret"), "acme/app", "v1"))
	if err := i.Push(t.Context(), r.Access("bob", "secret"), "acme/app", "v2"); err == nil || !strings.Contains(err.Error(), "DENIED") {
		t.Errorf("push by a reader: %v", err)
	}
	if err := i.Push(t.Context(), r.Access("ann", "wrong"), "acme/app", "v2"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("push with a wrong password: %v", err)
	}
	if err := regtest.DeleteManifest(t.Context(), r.Access("ann", "secret"), "acme/app", "v1"); err == nil {
		t.Error("delete without the grant")
	}
	if err := regtest.DeleteManifest(t.Context(), r.Access("eve", "secret"), "acme/app", "v1"); err != nil {
		t.Error(err)
	}
}
