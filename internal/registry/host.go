package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// class is what a request takes a slot of.
type class int

const (
	small class = iota // a question, or a body that is held in memory
	up                 // a blob that is streamed to the host
	down               // a blob that is streamed from it
	classes
)

const (
	// smallRequests is how many small requests run at once at a host. It is
	// latency that they wait for, not bandwidth.
	smallRequests = 96
	// defaultTransfers is how many blobs are streamed at once in each direction
	// unless the user says otherwise.
	defaultTransfers = 48
	// smallMemory bounds the small blobs that are on their way at once, in bytes.
	smallMemory = 8 << 20
)

// hosts are all that a client speaks to.
type hosts struct {
	transfers int
	patience  time.Duration
	memory    *semaphore.Weighted // bytes of small blobs that are held

	mu     sync.Mutex
	byName map[string]*host
}

func newHosts(o Options) *hosts {
	h := &hosts{transfers: o.Transfers, patience: o.Patience, memory: semaphore.NewWeighted(smallMemory), byName: map[string]*host{}}
	if h.transfers <= 0 {
		h.transfers = defaultTransfers
	}
	if h.patience <= 0 {
		h.patience = defaultPatience
	}
	return h
}

// of returns what is known of a host, by the host:port of its URL.
func (h *hosts) of(name string) *host {
	name = strings.ToLower(name)
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.byName[name]
	if known == nil {
		known = newHost(h.transfers, h.patience)
		h.byName[name] = known
	}
	return known
}

// host is what is true of a host whoever asks it: how much it takes at once,
// when it wants to be left alone, and what it has shown that it can do.
//
// A slot is taken for one attempt and held until its answer has been read; never
// while waiting to try again or for a token. An upload holds a slot of its target
// (up) while its source reads with one of another host or direction (down).
// Whoever holds one of down waits for no other, so that no circle of waits is
// possible, even where two hosts copy to each other. Blobs that are small are
// read before anything is sent, so that small slots are never held two at a time.
type host struct {
	patience time.Duration
	limits   [classes]*limiter
	answered atomic.Bool // anything, in this run
	well     atomic.Bool // as a registry does

	mu        sync.Mutex
	notBefore time.Time // it asked to be left alone until then
	putOff    time.Time // since when it has asked so without an answer that was well
	paces     [paces]pace
	facts     facts
}

func newHost(transfers int, patience time.Duration) *host {
	return &host{patience: patience, limits: [classes]*limiter{
		small: newLimiter(smallRequests), up: newLimiter(transfers), down: newLimiter(transfers),
	}}
}

// slot is the right to make one attempt.
type slot struct {
	host  *host
	class class
	round int
}

// enter waits until the host may be asked, and for a slot.
func (h *host) enter(ctx context.Context, c class) (slot, error) {
	for {
		if err := h.rest(ctx); err != nil {
			return slot{}, err
		}
		round, err := h.limits[c].take(ctx)
		if err != nil {
			return slot{}, err
		}
		if h.pause() <= 0 { // it may have asked for one while the slot was waited for
			return slot{h, c, round}, nil
		}
		h.limits[c].give()
	}
}

// enterNow enters without waiting, or fails with errBusy.
func (h *host) enterNow(c class) (slot, error) {
	if h.pause() > 0 {
		return slot{}, errBusy
	}
	round, ok := h.limits[c].takeNow()
	if !ok {
		return slot{}, errBusy
	}
	return slot{h, c, round}, nil
}

// errBusy says that there is no slot now.
var errBusy = errors.New("too much is on its way")

func (s slot) leave() { s.host.limits[s.class].give() }

// rest waits as long as the host asked for.
func (h *host) rest(ctx context.Context) error {
	for {
		d := h.pause()
		if d <= 0 {
			return nil
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
}

func (h *host) pause() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.notBefore.IsZero() {
		return 0
	}
	return time.Until(h.notBefore)
}

// relents reports whether a host that asks to come back later may still be waited
// for: some ask so for hours.
func (h *host) relents() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.putOff.IsZero() || time.Since(h.putOff) < putOffs*h.patience
}

// heard takes from an answer what it tells of the host.
func (h *host) heard(status int, header http.Header) {
	if !h.answered.Load() {
		h.answered.Store(true)
	}
	d := asked(status, header)
	if d <= 0 && status >= http.StatusBadRequest {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case d <= 0:
		h.putOff = time.Time{}
	case h.putOff.IsZero():
		h.putOff = time.Now()
	}
	if d > 0 {
		if until := time.Now().Add(d); until.After(h.notBefore) {
			h.notBefore = until
		}
	}
}

// answered takes from the answer to an attempt how much the host bears. took is
// the time to the answer's first byte.
func (s slot) answered(method string, resp *http.Response, took time.Duration) {
	s.host.heard(resp.StatusCode, resp.Header)
	limit := s.host.limits[s.class]
	switch {
	case overloaded(resp.StatusCode, resp.Header):
		limit.adjust((*width).halve, s.round)
	case s.class == small && s.host.slow(method, took):
		s.host.ease(s)
	case resp.StatusCode < http.StatusInternalServerError:
		limit.adjust((*width).grow, s.round)
	}
}

// ease narrows all that runs: it is mostly the blobs that make the rest slow.
func (h *host) ease(s slot) {
	h.limits[small].adjust((*width).ease, s.round)
	for _, c := range []class{up, down} {
		if l := h.limits[c]; h.limits[small].current() == s.round+1 {
			l.adjust((*width).ease, l.current())
		}
	}
}

// overloaded tells the answer of a host that is asked too much from that of one
// that is in trouble.
func overloaded(status int, header http.Header) bool {
	return status == http.StatusTooManyRequests ||
		status == http.StatusServiceUnavailable && header.Get("Retry-After") != ""
}

// paces are the kinds of small requests: a write takes longer than a question
// because it is one.
const paces = 4

func (h *host) slow(method string, took time.Duration) bool {
	kind := 0
	switch method {
	case http.MethodHead:
		kind = 1
	case http.MethodPost:
		kind = 2
	case http.MethodPut, http.MethodPatch:
		kind = 3
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.paces[kind].add(took)
}
