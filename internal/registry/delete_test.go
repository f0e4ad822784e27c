package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// The right to delete is requested only for a deletion: a token service that refuses it must not
// affect other requests.
func TestDeleteAsksForItsOwnRight(t *testing.T) {
	t.Parallel()
	refuse := strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.RawQuery, "delete") {
			status(http.StatusForbidden)(w, r, nil)
			return
		}
		next.ServeHTTP(w, r)
	})
	for _, refused := range []bool{false, true} {
		o := regtest.Options{Delete: true}
		if refused {
			o.Wrap = refuse
		}
		reg := guardedRegistry(t, regtest.Auth{}, o)
		fill(t, reg, "acme/app", "acme/other")
		c := client(t, logins("ci", secret))
		r := repository(t, c, credential.Target, reg.Host()+"/acme/app", Push)
		repository(t, c, credential.Target, reg.Host()+"/acme/other", Push)
		if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
			t.Fatal(err)
		}
		for _, q := range matching(reg, "/token$") {
			lacks(t, q.Query, "delete")
		}
		reg.ResetRequests()
		err := r.DeleteTag(t.Context(), "dev")
		if refused != errors.Is(err, ErrUnauthorized) || !refused && err != nil {
			t.Errorf("refused %v: error %v", refused, err)
		}
		tokens := matching(reg, "/token$")
		if len(tokens) != 1 || !strings.Contains(tokens[0].Query, "delete") || strings.Contains(tokens[0].Query, "other") {
			t.Errorf("tokens %+v, want one to delete in this repository", tokens)
		}
		reg.ResetRequests()
		if _, _, err := r.Tags(t.Context()); err != nil {
			t.Errorf("refused %v: after it: %v", refused, err)
		}
		wantRequests(t, reg, "/token$", 0)
	}
}

func TestDeleteThatIsNotSupported(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	tagged(t, reg, regtest.Access{}, "acme/app", "dev")
	if err := target(t, reg, "acme/app").DeleteTag(t.Context(), "dev"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("error %v, want ErrUnsupported", err)
	}
}
