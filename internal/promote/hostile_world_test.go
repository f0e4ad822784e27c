package promote_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// Hosts of the hostile tests. They have public names and are reached by https: what a registry may point to depends on
// how it is itself reached.
const (
	hostileSource = "source.example"
	hostileTarget = "target.example"
	hostileUser   = "robot"
)

// wild is a network on which two registries have names and passwords, and every other address is a trap. One of the
// registries attacks. It lives in a bubble of testing/synctest, where waiting costs nothing.
type wild struct {
	memory *regtest.Memory
	hosts  map[string]*wildHost // by name
	trap   *wildHost            // stands at every other address
	image  *regtest.Image
	old    string
	sent   atomic.Int64 // bytes that the attacker got rid of

	mu    sync.Mutex
	leaks []string
	trips []string // addresses dialled that are no registry's
}

// wildHost is one registry with its secrets.
type wildHost struct {
	*regtest.Registry
	name            string
	password, token string
	requests        atomic.Int64
}

// newWild makes the network. attack stands before one registry's authentication, and does not see what tests ask.
func newWild(t *testing.T, side string, referrers bool, attack func(*wild, http.Handler) http.Handler) *wild {
	t.Helper()
	w := &wild{memory: regtest.NewMemory(), hosts: map[string]*wildHost{}}
	for _, name := range []string{hostileSource, hostileTarget} {
		h := &wildHost{name: name, password: "password-of-" + name, token: "token-of-" + name}
		wrap := h.guard
		if strings.HasPrefix(name, side) {
			wrap = func(next http.Handler) http.Handler {
				return forUs(func(next http.Handler) http.Handler { return attack(w, next) })(h.guard(next))
			}
		}
		h.Registry = w.start(t, h, regtest.Options{Memory: w.memory, Referrers: referrers, Wrap: wrap})
		w.hosts[name] = h
	}
	w.trap = &wildHost{name: "somewhere else"}
	w.trap.Registry = w.start(t, w.trap, regtest.Options{Memory: w.memory, Backend: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusCreated)
		_, _ = rw.Write([]byte(`{"token":"token-of-a-trap"}`))
	})})
	w.fill(t)
	return w
}

func (w *wild) start(t *testing.T, h *wildHost, o regtest.Options) *regtest.Registry {
	t.Helper()
	inner := o.Wrap
	o.Wrap = func(next http.Handler) http.Handler {
		if inner != nil {
			next = inner(next)
		}
		return w.watch(h, next)
	}
	r, err := regtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *wild) close() {
	for _, h := range []*wildHost{w.hosts[hostileSource], w.hosts[hostileTarget], w.trap} {
		_ = h.Close()
	}
	w.memory.Close()
}

func (w *wild) fill(t *testing.T) {
	t.Helper()
	w.image = regtest.Build(regtest.Spec{Seed: "hostile", Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 2, LayerSize: 60_000})
	w.image.Sign(w.image.Root, ".sig", "ours")
	w.image.Attach(w.image.Root, "application/vnd.example.bundle", "ours")
	previous := regtest.Build(regtest.Spec{Seed: "before hostile", LayerSize: 1000})
	w.old = previous.Root
	push(t, w.image, w.hosts[hostileSource].Registry, "acme/app", "dev")
	push(t, previous, w.hosts[hostileTarget].Registry, "prod/app", "production")
}

// guard asks for a bearer token, which it gives for the password.
func (h *wildHost) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case r.UserAgent() == regtest.Agent:
			next.ServeHTTP(w, r)
		case r.URL.Path == "/token" && password == h.password:
			_, _ = fmt.Fprintf(w, `{"token":%q,"expires_in":3600}`, h.token)
		case r.Header.Get("Authorization") == "Bearer "+h.token:
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service=%q`, h.name, h.name))
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

// watch looks at all that arrives at a host for secrets that are not meant for it.
func (w *wild) watch(h *wildHost, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != regtest.Agent {
			h.requests.Add(1)
			for _, secret := range w.secrets(h) {
				if strings.Contains(fmt.Sprint(r.Header, r.URL, r.Host), secret) {
					w.note(&w.leaks, fmt.Sprintf("%s got %s: %s %s", h.name, secret, r.Method, r.URL))
				}
			}
			if h == w.trap && r.Header.Get("Authorization") != "" {
				w.note(&w.leaks, fmt.Sprintf("%s %s got an authorization", r.Host, r.URL))
			}
		}
		next.ServeHTTP(rw, r)
	})
}

func (w *wild) note(list *[]string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(*list) < 20 && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// secrets are those of every host but one, in each form that they travel in.
func (w *wild) secrets(but *wildHost) (all []string) {
	for _, h := range w.hosts {
		if h != but {
			all = append(all, h.password, h.token, base64.StdEncoding.EncodeToString([]byte(hostileUser+":"+h.password)))
		}
	}
	return all
}

// transport reaches registries by name, by https alone, and the trap by anything else. Its connections carry no TLS:
// the names they are dialled by say where they lead.
func (w *wild) transport() *http.Transport {
	t := w.memory.Transport()
	dial := func(scheme string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			host, found := strings.CutSuffix(address, ":443")
			if h := w.hosts[host]; found && h != nil && scheme == "https" {
				return w.memory.DialContext(ctx, network, h.Host())
			}
			w.note(&w.trips, scheme+"://"+address)
			return w.memory.DialContext(ctx, network, w.trap.Host())
		}
	}
	t.DialContext, t.DialTLSContext = dial("http"), dial("https")
	return t
}

func (w *wild) client(t http.RoundTripper) *registry.Client {
	login := func(host string) credential.Login {
		return credential.Login{Username: hostileUser, Password: w.hosts[host].password}
	}
	return registry.New(registry.Options{Transport: t, Credentials: &credential.Chain{Source: login(hostileSource), Target: login(hostileTarget)}})
}

// meter keeps the most memory that the process held since it was started, in heap objects and stacks, above what it
// held then. It runs outside the bubble, on the real clock.
type meter struct {
	start, high             uint64
	startRoutines, routines int
	stop                    chan struct{}
	done                    chan struct{}
}

func startMeter() *meter {
	runtime.GC()
	m := &meter{stop: make(chan struct{}), done: make(chan struct{})}
	m.start, m.startRoutines = inUse(), runtime.NumGoroutine()
	go func() {
		defer close(m.done)
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for {
			m.high, m.routines = max(m.high, inUse()), max(m.routines, runtime.NumGoroutine())
			select {
			case <-m.stop:
				return
			case <-ticker.C:
			}
		}
	}()
	return m
}

// end returns the most memory in bytes, and the most goroutines.
func (m *meter) end() (memory int64, routines int) {
	close(m.stop)
	<-m.done
	return int64(m.high) - int64(m.start), m.routines - m.startRoutines
}

func inUse() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() + samples[1].Value.Uint64()
}
