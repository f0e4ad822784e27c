package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

const getDev = "^GET /v2/acme/app/manifests/dev$"

func TestSmallRequestsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		wrap func(http.Handler) http.Handler
	}{
		{"408", strikes(1, getDev, status(http.StatusRequestTimeout))},
		{"429", strikes(1, getDev, status(http.StatusTooManyRequests))},
		{"500", regtest.FailOnce(request(getDev), http.StatusInternalServerError)},
		{"502", regtest.FailOnce(request(getDev), http.StatusBadGateway)},
		{"503", regtest.FailOnce(request(getDev), http.StatusServiceUnavailable)},
		{"504", regtest.FailOnce(request(getDev), http.StatusGatewayTimeout)},
		{"520", regtest.FailOnce(request(getDev), 520)},
		{"reset before", regtest.ResetBefore(request(getDev))},
		{"reset after", regtest.ResetAfter(request(getDev))},
		{"closed without an answer", strikes(1, getDev, hangup)},
		{"cut body", regtest.CutBody(request(getDev), 10)},
		{"no body", regtest.CutBody(request(getDev), 0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			want := tagged(t, reg, regtest.Access{}, "acme/app", "dev")
			m, err := target(t, reg, "acme/app").GetManifest(t.Context(), "dev")
			if err != nil || m.Digest != want.Digest {
				t.Errorf("got %s, error %v", m.Digest, err)
			}
			wantRequests(t, reg, getDev, 2)
		})
	}
}

func TestChallengeAndTokenAreAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"^GET /v2/$", "^GET /token$"} {
		for name, wrap := range map[string]func(http.Handler) http.Handler{
			"503":   regtest.FailOnce(request(pattern), http.StatusServiceUnavailable),
			"reset": regtest.ResetBefore(request(pattern)),
			"cut":   regtest.CutBody(request(pattern), 5),
		} {
			t.Run(name+" "+pattern, func(t *testing.T) {
				t.Parallel()
				reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: wrap})
				fill(t, reg, "acme/app")
				r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
				if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
					t.Error(err)
				}
				wantRequests(t, reg, pattern, 2)
			})
		}
	}
}

func TestFinalStatusesAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []int{400, 403, 404, 405, 410, 501} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: strikes(always, getDev, status(code))})
			_, err := target(t, reg, "acme/app").GetManifest(t.Context(), "dev")
			var e *Error
			if !errors.As(err, &e) || e.Status != code || e.Code != "TOOMANYREQUESTS" || e.Detail != "come back later" {
				t.Errorf("error %#v", err)
			}
			wantRequests(t, reg, getDev, 1)
		})
	}
}

// An answer that never gets better is the error, in the registry's own words.
func TestLastAnswerIsTheError(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	bubble(t, open200(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		status(http.StatusServiceUnavailable)(w, r, nil)
	}), func(t *testing.T, r *Repository) {
		began := time.Now()
		_, err := r.GetManifest(t.Context(), "dev")
		var e *Error
		if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || e.Code != "TOOMANYREQUESTS" {
			t.Errorf("error %v", err)
		}
		took(t, began, wire.DefaultRetryFor, wire.DefaultRetryFor+5*time.Second)
	})
	if n := asked.Load(); n < retry.MinAttempts || n > 40 {
		t.Errorf("asked %d times, want %d", asked.Load(), retry.MinAttempts)
	}
}

func TestConnectionThatNeverWorks(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	bubble(t, open200(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		hangup(w, nil, nil)
	}), func(t *testing.T, r *Repository) {
		_, err := r.GetManifest(t.Context(), "dev")
		var e *Error
		if !errors.As(err, &e) || e.Status != 0 || !errors.Is(err, wire.ErrHungUp) {
			t.Errorf("error %v", err)
		}
		lacks(t, err.Error(), "http://")
	})
	if n := asked.Load(); n < retry.MinAttempts || n > 40 {
		t.Errorf("asked %d times, want %d", asked.Load(), retry.MinAttempts)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	inHalfAMinute := func() string { return time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat) }
	for _, test := range []struct {
		name        string
		status      int
		value       func() string
		least, most time.Duration
	}{
		{"seconds", 429, func() string { return "20" }, 20 * time.Second, 20 * time.Second},
		{"seconds with 503", 503, func() string { return "20" }, 20 * time.Second, 20 * time.Second},
		{"seconds with 500", 500, func() string { return "20" }, 20 * time.Second, 20 * time.Second},
		{"date", 429, inHalfAMinute, 29 * time.Second, 30 * time.Second},
		{"epoch", 429, func() string { return strconv.FormatInt(time.Now().Add(30*time.Second).Unix(), 10) }, 29 * time.Second, 30 * time.Second},
		{"epoch that is past", 429, func() string { return strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10) }, firstWait / 2, firstWait},
		{"minutes", 429, func() string { return "300" }, wire.MaxThrottleWait, wire.MaxThrottleWait},
		{"now", 429, func() string { return "0" }, firstWait / 2, firstWait},
		{"past", 429, func() string { return "Fri, 31 Dec 1999 23:59:59 GMT" }, firstWait / 2, firstWait},
		{"negative", 429, func() string { return "-5" }, firstWait / 2, firstWait},
		{"nonsense", 429, func() string { return "soon" }, firstWait / 2, firstWait},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked atomic.Int32
			h := func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1)%2 == 1 {
					status(test.status, "Retry-After", test.value())(w, r, nil)
					return
				}
				w.Header().Set("Docker-Content-Digest", sha([]byte(emptyIndex)))
				_, _ = io.WriteString(w, emptyIndex)
			}
			for _, read := range []func(context.Context, *Repository) error{
				func(ctx context.Context, r *Repository) error { _, err := r.GetManifest(ctx, "dev"); return err },
				func(ctx context.Context, r *Repository) error {
					_, err := io.ReadAll(r.OpenBlob(ctx, descriptor([]byte(emptyIndex))))
					return err
				},
			} {
				bubble(t, open200(h), func(t *testing.T, r *Repository) {
					began := time.Now()
					if err := read(t.Context(), r); err != nil {
						t.Error(err)
					}
					took(t, began, test.least, test.most)
				})
			}
		})
	}
}

const firstWait = wire.DefaultRetryFor / 600

// What asks for hours is not waited for: the run ends at once, and says how long.
func TestRetryAfterOfHours(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"21600": "for 6 h,", "5400": "for 1 h 30 min,", "9223372036854775807": "for a day or more,",
		"in three hours": "for 3 h,", "epoch": "for 2 h,",
	} {
		t.Run(value, func(t *testing.T) {
			var requests atomic.Int32
			h := func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				after := map[string]string{
					"in three hours": time.Now().Add(3 * time.Hour).UTC().Format(http.TimeFormat),
					"epoch":          strconv.FormatInt(time.Now().Add(2*time.Hour).Unix(), 10),
				}[value]
				status(http.StatusTooManyRequests, "Retry-After", cmp.Or(after, value))(w, r, nil)
			}
			bubble(t, open200(h), func(t *testing.T, r *Repository) {
				began := time.Now()
				_, err := r.GetManifest(t.Context(), "dev")
				took(t, began, 0, time.Second)
				_, blobErr := io.ReadAll(r.OpenBlob(t.Context(), descriptor([]byte(emptyIndex))))
				took(t, began, 0, time.Second)
				for _, err := range []error{err, blobErr} {
					if err == nil {
						t.Fatal("no error")
					}
					contains(t, err.Error(), "429 Too Many Requests")
					contains(t, HintOf(err), want, "log in", "docker/login-action")
				}
			})
			if requests.Load() != 2 {
				t.Errorf("%d requests, want one each", requests.Load())
			}
		})
	}
}

var errTimeUp = errors.New("the run's time is up")

// A wait ends with the run, at once, and says both why and what the time went for.
func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	busy := status(http.StatusTooManyRequests, "Retry-After", "50")
	for name, do := range map[string]func(context.Context, *Repository) error{
		"small": func(ctx context.Context, r *Repository) error { _, err := r.GetManifest(ctx, "dev"); return err },
		"download": func(ctx context.Context, r *Repository) error {
			_, err := io.ReadAll(r.OpenBlob(ctx, descriptor(content(10))))
			return err
		},
		"upload": func(ctx context.Context, r *Repository) error {
			_, err := r.PutBlob(ctx, upload(content(10)))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := open200(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.Header().Set("Location", "/v2/acme/app/blobs/uploads/1")
					w.WriteHeader(http.StatusAccepted)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				busy(w, r, nil)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errTimeUp)
				defer cancel()
				began := time.Now()
				err := do(ctx, r)
				took(t, began, 5*time.Second, 5*time.Second)
				if !errors.Is(err, errTimeUp) {
					t.Fatalf("error %v, want the context's cause", err)
				}
				contains(t, err.Error(), "429 Too Many Requests", "TOOMANYREQUESTS", "come back later")
			})
		})
	}
}

// Where there was no answer, the last failure says what the time went for.
func TestWaitAfterNoAnswerEndsWithTheContext(t *testing.T) {
	t.Parallel()
	drop := func(w http.ResponseWriter, r *http.Request) { hangup(w, r, nil) }
	for name, h := range map[string]http.HandlerFunc{"challenge": drop, "request": open200(drop)} {
		t.Run(name, func(t *testing.T) {
			bubble(t, h, func(t *testing.T, r *Repository) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errTimeUp)
				defer cancel()
				_, err := r.GetManifest(ctx, "dev")
				if !errors.Is(err, errTimeUp) {
					t.Fatalf("error %v, want the context's cause", err)
				}
				contains(t, err.Error(), "the last attempt failed", wire.ErrHungUp.Error())
			})
		})
	}
}

func TestWaitForTheChallengeEndsWithTheContext(t *testing.T) {
	t.Parallel()
	h := func(w http.ResponseWriter, r *http.Request) {
		status(http.StatusTooManyRequests, "Retry-After", "50")(w, r, nil)
	}
	bubble(t, h, func(t *testing.T, r *Repository) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errTimeUp)
		defer cancel()
		began := time.Now()
		_, err := r.GetManifest(ctx, "dev")
		took(t, began, 5*time.Second, 5*time.Second)
		if !errors.Is(err, errTimeUp) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's cause", err)
		}
	})
}

func TestContextThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	blob := content(10)
	for name, do := range map[string]func(context.Context, *Repository) error{
		"manifest": func(ctx context.Context, r *Repository) error { _, err := r.GetManifest(ctx, "dev"); return err },
		"download": func(ctx context.Context, r *Repository) error {
			_, err := io.ReadAll(r.OpenBlob(ctx, descriptor(blob)))
			return err
		},
		"upload": func(ctx context.Context, r *Repository) error { _, err := r.PutBlob(ctx, upload(blob)); return err },
	} {
		for _, where := range []http.HandlerFunc{hang, open200(hang)} { // at the challenge, at the request
			t.Run(name, func(t *testing.T) {
				bubble(t, where, func(t *testing.T, r *Repository) {
					ctx, cancel := context.WithCancelCause(t.Context())
					began := time.Now()
					time.AfterFunc(2*time.Second, func() { cancel(errTimeUp) })
					err := do(ctx, r)
					took(t, began, 2*time.Second, 2*time.Second)
					if !errors.Is(err, errTimeUp) || errors.Is(err, context.Canceled) {
						t.Errorf("error %v, want the context's cause alone", err)
					}
					if HintOf(err) != "" {
						t.Errorf("hint %q for a run that was ended", HintOf(err))
					}
				})
			})
		}
	}
}

// A registry that takes the connection and says nothing is noticed.
func TestStalledSmallAnswer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	bubble(t, open200(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if n == 1 {
			<-r.Context().Done()
			return
		}
		if n == 2 { // and in the middle of the body
			_, _ = io.WriteString(w, emptyIndex[:10])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, emptyIndex)
	}), func(t *testing.T, r *Repository) {
		began := time.Now()
		if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
			t.Error(err)
		}
		took(t, began, 60*time.Second, 61*time.Second)
	})
}

func TestWaitingForOneHostIsNotForever(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	c := client(t, nil)
	r := repository(t, c, credential.Target, reg.Host()+"/acme/app", Push)
	_, _ = r.HasManifest(t.Context(), digestOf(nil)) // the host is known from here on
	for range wire.SmallConnections {
		if _, err := c.hosts.Of(reg.Host()).Acquire(t.Context(), wire.Small); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errTimeUp)
	defer cancel()
	if _, err := r.GetManifest(ctx, "dev"); !errors.Is(err, errTimeUp) {
		t.Errorf("error %v, want the context's cause", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	w := &world{}
	r := repository(t, w.client(t, nil, nil), credential.Source, "registry.example/acme/app", Pull)
	_, err := r.GetManifest(t.Context(), "dev")
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "read manifest at the source registry.example/acme/app:dev", "no such host")
	contains(t, HintOf(err), "registry.example", "spelling")
	if got := strings.Join(w.refuse, " "); got != "registry.example:443" {
		t.Errorf("dialled %s", got)
	}
}
