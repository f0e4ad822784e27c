package regtest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Fault is a way in which a request goes wrong.
type Fault string

// The faults. Each fits some requests and no others.
const (
	Status500 Fault = "500" // these four with Retry-After in seconds, as a date, or without
	Status502 Fault = "502"
	Status503 Fault = "503"
	Status429 Fault = "429"
	// NoRequest resets the connection before anything is done, NoAnswer when all is done and nothing answered; with
	// HTTP/2 it is the stream that is reset.
	NoRequest Fault = "reset before"
	NoAnswer  Fault = "reset after"
	// CutAnswer ends a body anywhere, by a reset or, as some proxies do, as if that were all of it.
	CutAnswer  Fault = "answer cut"
	FlipAnswer Fault = "byte of the answer flipped"
	// FlipUpload and CutUpload meet blobs and manifests that are written by digest. A manifest that is written by tag is
	// not flipped: its bytes are all that the registry knows of it, so that no client could prevent what that does.
	FlipUpload Fault = "byte of the upload flipped"
	CutUpload  Fault = "upload cut"
	LostUpload Fault = "upload session gone"
	// RefuseToken does not know the token of one request; ExpireTokens forgets all in the middle of a body.
	RefuseToken  Fault = "token refused"
	ExpireTokens Fault = "tokens expired"
	// Lag makes what is written readable only after a while; until then there is what was there before.
	Lag Fault = "reads lag behind"
	// Stall sends nothing for longer than anybody should wait: before or after the deed, or in the middle of a body.
	Stall Fault = "stall"
	// Redirect serves a blob from another host, whose URLs are soon worthless and which takes no Authorization.
	Redirect Fault = "redirected"
	// NoDigest answers with another Docker-Content-Digest, with one that is none, or without.
	NoDigest Fault = "wrong Docker-Content-Digest"
	// Endless answers a manifest with more bytes than anybody should read.
	Endless Fault = "endless manifest"
	// Elsewhere names another host or another scheme in the Location of an upload or in the realm of a challenge.
	Elsewhere Fault = "points elsewhere"
	// LoseConnection resets the connection with every request that is under way on it, before or after the deed.
	LoseConnection Fault = "connection lost"
	// GoAway answers, and takes no further request on the connection: GOAWAY with HTTP/2, else Connection: close.
	GoAway Fault = "go away"
	// Unlisted takes a manifest with a subject, and the referrers API does not list it until it is written again.
	Unlisted Fault = "acknowledged and not listed"
	// Lost takes a manifest or a blob that is new, and forgets it: 201, then 404. It needs Options.Delete.
	Lost Fault = "acknowledged and lost"
	// WebPage answers with a page of HTML, as a proxy's login does: 200 in place of JSON.
	WebPage Fault = "a web page"
)

// Faults are all of them.
func Faults() []Fault {
	return []Fault{
		Status500, Status502, Status503, Status429, NoRequest, NoAnswer, CutAnswer, FlipAnswer, FlipUpload, CutUpload,
		LostUpload, RefuseToken, ExpireTokens, Lag, Stall, Redirect, NoDigest, Endless, Elsewhere,
		LoseConnection, GoAway, Unlisted, Lost, WebPage,
	}
}

// ChaosOptions say how much goes wrong, and for how long.
type ChaosOptions struct {
	Seed uint64
	// Side is part of every request's name: two registries of one seed differ by it.
	Side string
	// Rate is the probability of each fault at each request that it fits; Rates are those of single faults instead.
	Rate  float64
	Rates map[Fault]float64
	// Stall is how long a stall lasts, 40 s by default, and Lag the longest that reads lag behind, 5 s by default.
	Stall, Lag time.Duration
	// Delay is the longest that any request waits before it is served: requests then arrive in another order with
	// another seed.
	Delay time.Duration
}

// Chaos makes a registry unreliable for everybody but Push, Read and the like. What happens to a request depends on
// the seed, on the request's name, and on how many of that name came before, and not on what runs at the same time:
// a seed that was told meets a program with much the same faults again.
type Chaos struct {
	options   ChaosOptions
	registry  *Registry
	elsewhere *elsewhere
	lags      *lags
	omission  *Omission
	api       bool // the registry has the referrers API

	mu      sync.Mutex
	quiet   bool
	times   map[string]int
	strikes []Strike
}

// Strike is one fault that struck.
type Strike struct {
	Request string // method and path with the side before it, and how many of the kind there were, this one included
	Fault   Fault
	Detail  string
	At      time.Time
}

func (s Strike) String() string {
	return fmt.Sprintf("%s %s: %s %s", s.At.Format("15:04:05.000"), s.Request, s.Fault, s.Detail)
}

// StartChaos starts a registry that is unreliable above its authentication and above Options.Wrap, which sees only what
// comes through; and, for blobs that are redirected, a second host. Close ends both.
func StartChaos(options Options, chaos ChaosOptions) (*Registry, *Chaos, error) {
	if chaos.Stall == 0 {
		chaos.Stall = 40 * time.Second
	}
	if chaos.Lag == 0 {
		chaos.Lag = 5 * time.Second
	}
	c := &Chaos{options: chaos, api: options.withTraits().Referrers, times: map[string]int{}, lags: newLags(), omission: NewOmission(), elsewhere: newElsewhere()}
	second := Options{Memory: options.Memory, TLS: options.TLS, HTTP1: options.HTTP1, Backend: c.around(c.elsewhere)}
	if options.Name != "" {
		second.Name = "blobs." + options.Name // loopback is where nobody with a name may point to
	}
	other, err := Start(second)
	if err != nil {
		return nil, nil, err
	}
	c.elsewhere.host = other.Host()
	inner := options.Wrap
	options.Wrap = c.around
	if inner != nil {
		options.Wrap = Chain(c.around, inner)
	}
	if c.registry, err = Start(options); err != nil {
		return nil, nil, closing(other, err)
	}
	c.elsewhere.next, c.registry.beside = c.registry.open, other
	return c.registry, c, nil
}

// Strikes lists what struck so far, in order.
func (c *Chaos) Strikes() []Strike {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Strike(nil), c.strikes...)
}

// Calm ends the chaos: nothing strikes any more, and all that was written can be read.
func (c *Chaos) Calm() {
	c.mu.Lock()
	c.quiet = true
	c.mu.Unlock()
	c.lags.end()
}

// Leaks lists what the second host was sent with an Authorization header.
func (c *Chaos) Leaks() []string { return c.elsewhere.leaked() }

// around is the layer.
func (c *Chaos) around(registry http.Handler) http.Handler {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(registry, w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == Agent || !c.awake() {
			next.ServeHTTP(w, r)
			return
		}
		h := c.hit(r, next)
		if !h.wait() {
			panic(http.ErrAbortHandler)
		}
		switch {
		case c.lags.serve(w, r):
		case h.fault == "":
			next.ServeHTTP(w, r)
		default:
			h.strike(w)
		}
	})
}

func (c *Chaos) awake() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.quiet
}

// hit is one request, its fault, and the dice that the fault's details are thrown with.
type hit struct {
	chaos   *Chaos
	name    string
	fault   Fault
	request *http.Request
	next    http.Handler
	dice    *rand.Rand
}

func (c *Chaos) hit(r *http.Request, next http.Handler) *hit {
	h := &hit{chaos: c, name: c.name(r), request: r, next: next}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", c.options.Seed, h.name))
	h.dice = rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])))
	var hits []Fault
	for _, f := range Faults() {
		rate, own := c.options.Rates[f]
		if !own {
			rate = c.options.Rate
		}
		if h.dice.Float64() < rate && h.fits(f) {
			hits = append(hits, f)
		}
	}
	if len(hits) > 0 {
		h.fault = hits[h.dice.IntN(len(hits))]
	}
	return h
}

// wait is the request's delay. It is false when the client did not wait so long.
func (h *hit) wait() bool {
	if h.chaos.options.Delay == 0 {
		return true
	}
	return sleep(h.request, time.Duration(h.dice.Int64N(int64(h.chaos.options.Delay))))
}

// sleep is false when the client hung up first.
func sleep(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

var uploadSession = regexp.MustCompile(`/uploads/[^/]+$`)

// name is what a request is called in every run: without upload sessions and the like.
func (c *Chaos) name(r *http.Request) string {
	path := uploadSession.ReplaceAllString(c.elsewhere.path(r), "/uploads/…")
	keep := url.Values{}
	for _, key := range []string{"digest", "mount"} {
		if v := r.URL.Query().Get(key); v != "" {
			keep.Set(key, v)
		}
	}
	name := strings.TrimSuffix(fmt.Sprintf("%s %s %s?%s", c.options.Side, r.Method, path, keep.Encode()), "?")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times[name]++
	return fmt.Sprintf("%s #%d", name, c.times[name])
}

// note keeps a strike.
func (h *hit) note(format string, values ...any) {
	h.chaos.mu.Lock()
	defer h.chaos.mu.Unlock()
	h.chaos.strikes = append(h.chaos.strikes, Strike{h.name, h.fault, fmt.Sprintf(format, values...), time.Now()})
}
