package registry

import (
	"context"
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
	down               // a blob that is streamed from the host
	up                 // a blob that is streamed to it
	classes
)

const (
	// smallRequests is how many small requests run at once at a host that speaks
	// HTTP/2, where they share a connection: fewer than the streams that any server
	// is known to allow (100 is the least that RFC 9113 §6.5.2 recommends).
	smallRequests = 96
	// smallConnections is how many run at once at a host without HTTP/2: each then
	// needs a connection of its own.
	smallConnections = 16
	// defaultTransfers is how many blobs are streamed at once to and from a host
	// unless the user says otherwise.
	defaultTransfers = 24
	// smallMemory bounds the small blobs that are on their way at once, in bytes.
	smallMemory = 8 << 20
)

// hosts are all that a client speaks to.
type hosts struct {
	transfers int
	patience  time.Duration
	memory    *semaphore.Weighted // bytes of small blobs that are held
	cache     *cache

	mu     sync.Mutex
	byName map[string]*host
}

func newHosts(o Options) *hosts {
	h := &hosts{transfers: o.Transfers, patience: o.Patience, memory: semaphore.NewWeighted(smallMemory), cache: newCache(), byName: map[string]*host{}}
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
		known = newHost(name, h.transfers, h.patience)
		h.byName[name] = known
	}
	return known
}

// host is what is true of a host whoever asks it: how much it takes at once,
// when it wants to be left alone, and what it has shown that it can do.
//
// A small request takes a slot for one attempt, until its answer has been read;
// never while it waits to try again or for a token. An upload takes a slot of its
// source (down), keeps it until the last byte was read, and only then, with the source
// open, one of its target (up). Who holds one of up waits for no slot, so that no
// circle of waits is possible, even where two hosts copy to each other.
type host struct {
	name     string
	patience time.Duration
	limits   [classes]*limiter
	answered atomic.Bool // anything, in this run
	well     atomic.Bool // as a registry does

	mu        sync.Mutex
	shared    bool      // blobs flow to it and from it
	major     int       // the latest version of HTTP that it has answered by; 0: none
	notBefore time.Time // it asked to be left alone until then
	putOff    time.Time // since when it has asked so without an answer that was well
	facts     facts
}

// newHost makes a host that was not reached yet. One small request goes first: its
// answer tells how many may follow, and over HTTP/2 they share its connection.
func newHost(name string, transfers int, patience time.Duration) *host {
	h := &host{name: name, patience: patience}
	h.limits[small], h.limits[down], h.limits[up] = newLimiter(smallRequests), newLimiter(transfers), newLimiter(transfers)
	h.limits[small].narrowTo(1)
	return h
}

// slot is the right to make one attempt, or to stream one blob.
type slot struct {
	host  *host
	class class
	round int
}

// enter waits until the host may be asked, and for a slot.
func (h *host) enter(ctx context.Context, c class) (slot, error) {
	h.share(c)
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

func (s slot) leave() {
	if s.host != nil {
		s.host.limits[s.class].give()
	}
}

// share has blobs that flow to the host and those that flow from it take half of
// its connections each, from the moment at which both do.
func (h *host) share(c class) {
	if c != small && h.limits[up+down-c].used() {
		h.shareSlots()
	}
}

func (h *host) shareSlots() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shared {
		h.shared = true
		h.limits[down].halveCeiling()
		h.limits[up].halveCeiling()
	}
}

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

// longestRest is how long the host may ask to be left alone. Longer than a run waits for
// it in all is not begun: pull limits ask for hours.
func (h *host) longestRest() time.Duration { return putOffs * h.patience }

// heard takes from an answer what it tells of the host.
func (h *host) heard(resp *http.Response) {
	h.answered.Store(true)
	h.speaks(resp.ProtoMajor)
	d := asked(resp.StatusCode, resp.Header)
	if asks(resp.StatusCode, resp.Header) > h.longestRest() {
		return // nobody waits for it; who asks meanwhile is told the same
	}
	if d <= 0 && resp.StatusCode >= http.StatusBadRequest {
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

// speaks notes a version of HTTP that the host has answered by.
func (h *host) speaks(major int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if major <= h.major { // a host with HTTP/2 refuses plain HTTP by HTTP/1.1
		return
	}
	h.major = major
	h.limits[small].widenTo(smallWidth(major))
}

// smallWidth is how many small requests run at once by a version of HTTP.
func smallWidth(major int) int {
	if major >= 2 {
		return smallRequests
	}
	return smallConnections
}

// heard takes from the answer to an attempt how much the host bears.
func (s slot) heard(resp *http.Response) {
	if s.host == nil {
		return
	}
	limit := s.host.limits[s.class]
	switch {
	case overloaded(resp.StatusCode, resp.Header):
		limit.adjust((*width).halve, s.round)
	case resp.StatusCode < http.StatusInternalServerError:
		limit.adjust((*width).grow, s.round)
	}
}

// overloaded tells the answer of a host that is asked too much from that of one
// that is in trouble.
func overloaded(status int, header http.Header) bool {
	return status == http.StatusTooManyRequests ||
		status == http.StatusServiceUnavailable && header.Get("Retry-After") != ""
}
