package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

func TestTokenServiceWithTroubleIsNotTakenForARefusal(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int32
	var broken atomic.Bool
	broken.Store(true)
	answer := strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if broken.Load() {
			status(http.StatusServiceUnavailable)(w, r, nil)
			return
		}
		next.ServeHTTP(w, r)
	})(bearer(300, &tokens))
	h := func(w http.ResponseWriter, r *http.Request) {
		if n := len(r.URL.Query()["scope"]); r.URL.Path == "/token" && n != 2 {
			t.Errorf("token asked for with %d scopes: they were taken apart for nothing", n)
		}
		answer.ServeHTTP(w, r)
	}
	bubble(t, h, func(t *testing.T, r *Repository) {
		r.session.auth.Want("other/app", Pull)
		if _, err := r.GetManifest(t.Context(), "dev"); err == nil || errors.Is(err, ErrUnauthorized) {
			t.Errorf("error %v, want that of the service", err)
		}
		broken.Store(false)
		if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{})
	fill(t, reg, "acme/app")
	r := repository(t, client(t, logins("ci", secret)), credential.Target, reg.Host()+"/acme/app", Push)
	everywhere(t, []*Repository{r})
	reg.RevokeTokens()
	reg.ResetRequests()
	everywhere(t, []*Repository{r})
	if _, err := r.PutManifest(t.Context(), "next", NewManifest("application/vnd.oci.image.index.v1+json", []byte(emptyIndex))); err != nil {
		t.Error(err)
	}
	wantRequests(t, reg, "^GET /v2/$", 0)
	wantRequests(t, reg, "/token$", 1)
}

// The streamed body of an upload cannot be sent again, so a refused token is replaced before the
// upload starts over.
func TestTokenRevokedBeforeABodyIsStreamed(t *testing.T) {
	t.Parallel()
	var reg *regtest.Registry
	wrap := strikes(1, "^PUT /v2/acme/app/blobs/uploads/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		reg.RevokeTokens()
		next.ServeHTTP(w, r)
	})
	reg = guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: wrap})
	r := repository(t, client(t, logins("ci", secret)), credential.Target, reg.Host()+"/acme/app", Push)
	blob := content(4 << 20)
	if _, err := r.PutBlob(t.Context(), upload(blob)); err != nil {
		t.Fatal(err)
	}
	puts := matching(reg, "^PUT ")
	if len(puts) != 2 || puts[1].Status != http.StatusCreated || puts[1].Received != int64(len(blob)) {
		t.Errorf("uploads %+v, want one that is refused and one that is taken", puts)
	}
	wantRequests(t, reg, "/token$", 2)
	for _, q := range matching(reg, "^(HEAD|POST) ") {
		if q.Status == http.StatusUnauthorized {
			t.Errorf("%s %s with the token that was refused", q.Method, q.Path)
		}
	}
	last := ""
	for _, q := range matching(reg, "(^PUT |/token$)") {
		if last = q.Path; strings.HasSuffix(q.Path, "/token") {
			last = "token"
		}
	}
	if last == "token" {
		t.Error("the fresh token came after the body")
	}
}

// bearer is a registry with a token service that counts its tokens, and states their life.
func bearer(life int, tokens *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("t", tokens.Add(1)), "expires_in": life})
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = io.WriteString(w, emptyIndex)
		}
	}
}

func TestTokenIsReplacedBeforeItExpires(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		life  int
		after time.Duration
		want  int32
	}{
		{"long", 300, 280 * time.Second, 1},
		{"nearly over", 300, 291 * time.Second, 2},
		{"short", 5, 0, 1},
		{"unstated", 0, 40 * time.Second, 1},
		{"unstated, over", 0, 55 * time.Second, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tokens atomic.Int32
			bubble(t, bearer(test.life, &tokens), func(t *testing.T, r *Repository) {
				for range 2 {
					if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(test.after)
				}
			})
			if got := tokens.Load(); got != test.want {
				t.Errorf("%d tokens, want %d", got, test.want)
			}
		})
	}
}

// Throttling by the token service is not a stall of the request.
func TestTokenServiceThatAsksToWait(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int32
	blob := content(100)
	answer := bearer(300, &tokens)
	busy := strikes(1, "^GET /token$", status(http.StatusTooManyRequests, "Retry-After", "45"))
	h := busy(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") && r.Header.Get("Authorization") != "" {
			_, _ = w.Write(blob)
			return
		}
		answer(w, r)
	}))
	bubble(t, h.ServeHTTP, func(t *testing.T, r *Repository) {
		began := time.Now()
		got, err := io.ReadAll(r.OpenBlob(t.Context(), descriptor(blob)))
		if err != nil || len(got) != len(blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
		took(t, began, 45*time.Second, 46*time.Second)
	})
	if got := tokens.Load(); got != 1 {
		t.Errorf("%d tokens, want 1", got)
	}
}

// A login that is revoked during a run is final at once.
func TestTokenThatIsNotReplaced(t *testing.T) {
	t.Parallel()
	var withdrawn atomic.Bool
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if withdrawn.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})})
	fill(t, reg, "acme/app")
	r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
	if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	withdrawn.Store(true)
	reg.RevokeTokens()
	reg.ResetRequests()
	if _, err := r.Uncached().GetManifest(t.Context(), "dev"); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("error %v, want that of a refused login", err)
	}
	wantRequests(t, reg, "manifests/dev$", 1)
	wantRequests(t, reg, "/token$", 1)
}

func TestTokenServiceWithoutAToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
		times  int
	}{
		{"no token", http.StatusOK, `{"refresh_token":"` + secret + `"}`, "no token in bearer response", retry.MaxDamaged},
		{"no JSON", http.StatusOK, "<html>" + strings.Repeat(secret, 1000), "get token", retry.MaxDamaged},
		{"a page", http.StatusNotFound, "<html>\n" + strings.Repeat(secret, 1000), " answered 404 Not Found", 1},
		{"endless", http.StatusOK, strings.Repeat(" ", 1<<20), "answer too large", retry.MaxInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wrap := regtest.Answer(request("^GET /token$"), test.status, "application/json", []byte(test.body))
			reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: wrap})
			r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
			_, err := r.GetManifest(t.Context(), "dev")
			if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnauthorized) {
				t.Fatalf("error %v, want that of the token service", err)
			}
			contains(t, err.Error(), test.want)
			lacks(t, err.Error(), secret, "\n")
			if len(err.Error()) > 600 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
			wantRequests(t, reg, "/token$", test.times)
		})
	}
}

// A wait for a token between the start of an upload and its body is no stall.
func TestUploadThatWaitsForAToken(t *testing.T) {
	t.Parallel()
	var tokens, puts atomic.Int32
	answer := bearer(15, &tokens)
	h := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && tokens.CompareAndSwap(1, 2):
			status(http.StatusTooManyRequests, "Retry-After", "45")(w, r, nil)
		case r.Method == http.MethodPost && r.Header.Get("Authorization") != "":
			time.Sleep(12 * time.Second)
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodPut:
			puts.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		default:
			answer(w, r)
		}
	}
	bubble(t, h, func(t *testing.T, r *Repository) {
		began := time.Now()
		if _, err := r.PutBlob(t.Context(), upload(content(1000))); err != nil {
			t.Error(err)
		}
		took(t, began, 57*time.Second, 57*time.Second)
	})
	if puts.Load() != 1 {
		t.Errorf("%d bodies", puts.Load())
	}
}

// An answer without a token, or with an invalid one, is retried.
func TestTokenThatIsDamaged(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"tokem":"t"}`, `{"token":"t`, `{"token":"a b"}`, "{\"token\":\"a\\u0000b\"}", `{"token":""}`, `{"token":"é"}`, `<html>`} {
		var tokens, asked atomic.Int32
		answer := bearer(300, &tokens)
		h := func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" && asked.Add(1) == 1 {
				_, _ = io.WriteString(w, body)
				return
			}
			answer(w, r)
		}
		bubble(t, h, func(t *testing.T, r *Repository) {
			if there, err := r.HasBlob(t.Context(), digestOf(nil)); err != nil || !there {
				t.Errorf("%s: error %v", body, err)
			}
		})
		if asked.Load() != 2 {
			t.Errorf("%s: %d tokens asked for, want 2", body, asked.Load())
		}
	}
}

// A login works with every vendor's form of challenge and token.
func TestChallengesAndTokensOfVendors(t *testing.T) {
	t.Parallel()
	for _, trait := range []regtest.Trait{
		regtest.ChallengeForm(regtest.BasicThenBearer), regtest.ChallengeForm(regtest.BothInOneHeader),
		regtest.ChallengeForm(regtest.BlanksRoundEquals), regtest.ChallengeForm(regtest.NegotiateFirst),
		regtest.TokenAnswers(regtest.OnlyAccessToken), regtest.TokenAnswers(regtest.ExpiresAsText),
		regtest.TokenAnswers(regtest.ExpiresAsFraction), regtest.TokenAnswers(regtest.OddIssuedAt),
	} {
		t.Run(trait.Name, func(t *testing.T) {
			t.Parallel()
			reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Traits: []regtest.Trait{trait}})
			fill(t, reg, "acme/app")
			r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
			if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
				t.Fatal(err)
			}
			wantRequests(t, reg, "/token$", 1)
		})
	}
}
