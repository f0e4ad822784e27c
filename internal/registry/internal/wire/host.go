package wire

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Class is what a request takes a slot of.
type Class int

const (
	Small    Class = iota // a question, or a body that is held in memory
	Download              // a blob that is streamed from the host
	Upload                // a blob that is streamed to it
	classes
)

const (
	// SmallRequests is how many small requests run at once at a host that speaks
	// HTTP/2, where they share a connection: fewer than the streams that any server
	// is known to allow (100 is the least that RFC 9113 §6.5.2 recommends).
	SmallRequests = 96
	// SmallConnections is how many run at once at a host without HTTP/2: each then
	// needs a connection of its own.
	SmallConnections = 16
	// DefaultTransfers is how many blobs are streamed at once to and from a host
	// unless the user says otherwise.
	DefaultTransfers = 24
)

// Hosts are all that a client speaks to.
type Hosts struct {
	Transfers int // blobs that are streamed at once to a host, and as many from it
	retryFor  time.Duration

	mu     sync.Mutex
	byName map[string]*Host
}

// DefaultRetryFor is how long one operation is retried unless the caller says otherwise.
const DefaultRetryFor = time.Minute

// NewHosts makes a registry of hosts, none of which is known yet. Transfers is how many
// blobs are streamed at once to a host, and as many from it (0: 24); retryFor how long one
// operation at a host is retried (0: a minute).
func NewHosts(transfers int, retryFor time.Duration) *Hosts {
	return &Hosts{
		Transfers: cmp.Or(max(0, transfers), DefaultTransfers), retryFor: cmp.Or(max(0, retryFor), DefaultRetryFor),
		byName: map[string]*Host{},
	}
}

// Of returns what is known of a host, by the host:port of its URL.
func (h *Hosts) Of(name string) *Host {
	name = strings.ToLower(name)
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.byName[name]
	if known == nil {
		known = NewHost(name, h.Transfers, h.retryFor)
		h.byName[name] = known
	}
	return known
}

// Host is what is true of a host whoever asks it: how much it takes at once,
// when it wants to be left alone, and what it has shown that it can do.
//
// A small request takes a slot for one attempt, until its answer has been read;
// never while it waits to try again or for a token. An upload takes a slot of its
// source (down), keeps it until the last byte was read, and only then, with the source
// open, one of its target (up). Who holds one of up waits for no slot, so that no
// circle of waits is possible, even where two hosts copy to each other.
type Host struct {
	Name     string
	RetryFor time.Duration
	limits   [classes]*limiter
	answered atomic.Bool // anything, in this run
	greeted  atomic.Bool // as a registry does

	mu             sync.Mutex
	shared         bool      // blobs flow to it and from it
	major          int       // the latest version of HTTP that it has answered by; 0: none
	notBefore      time.Time // it asked to be left alone until then
	throttledSince time.Time // since when it has asked so without an answer that was well
}

// NewHost makes a host that was not reached yet. One small request goes first: its
// answer tells how many may follow, and over HTTP/2 they share its connection.
func NewHost(name string, transfers int, retryFor time.Duration) *Host {
	h := &Host{Name: name, RetryFor: retryFor}
	h.limits[Small], h.limits[Download], h.limits[Upload] = newLimiter(SmallRequests), newLimiter(transfers), newLimiter(transfers)
	h.limits[Small].narrowTo(1)
	return h
}

// Slot is the right to make one attempt, or to stream one blob.
type Slot struct {
	Host  *Host
	Class Class
	round int
}

// Acquire waits until the host may be asked, and for a slot.
func (h *Host) Acquire(ctx context.Context, c Class) (Slot, error) {
	h.shareIfBothWays(c)
	for {
		if err := h.AwaitThrottle(ctx); err != nil {
			return Slot{}, err
		}
		round, err := h.limits[c].acquire(ctx)
		if err != nil {
			return Slot{}, err
		}
		if h.throttleLeft() <= 0 { // it may have asked for one while the slot was waited for
			return Slot{h, c, round}, nil
		}
		h.limits[c].release()
	}
}

func (s Slot) Release() {
	if s.Host != nil {
		s.Host.limits[s.Class].release()
	}
}

// shareIfBothWays has blobs that flow to the host and those that flow from it take half of
// its connections each, from the moment at which both do.
func (h *Host) shareIfBothWays(c Class) {
	if c != Small && h.limits[Upload+Download-c].used() {
		h.ShareSlots()
	}
}

func (h *Host) ShareSlots() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shared {
		h.shared = true
		h.limits[Download].halveCeiling()
		h.limits[Upload].halveCeiling()
	}
}

// AwaitThrottle waits as long as the host asked for.
func (h *Host) AwaitThrottle(ctx context.Context) error {
	for {
		d := h.throttleLeft()
		if d <= 0 {
			return nil
		}
		if err := Sleep(ctx, d); err != nil {
			return err
		}
	}
}

func (h *Host) throttleLeft() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.notBefore.IsZero() {
		return 0
	}
	return time.Until(h.notBefore)
}

// HasAnswered reports whether the host has answered any request of this run.
func (h *Host) HasAnswered() bool { return h.answered.Load() }

// MarkRegistry notes that the host has answered GET /v2/ as a registry does.
func (h *Host) MarkRegistry() { h.greeted.Store(true) }

// IsRegistry reports whether the host has answered GET /v2/ as a registry does.
func (h *Host) IsRegistry() bool { return h.greeted.Load() }

// StillThrottled reports whether the host has answered nothing but "come back later" for
// longer than it is waited for: some answer so for hours.
func (h *Host) StillThrottled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.throttledSince.IsZero() && time.Since(h.throttledSince) >= h.MaxThrottle()
}

// maxThrottle is for how many times the retry time a host is waited for that answers
// nothing but "come back later".
const maxThrottle = 9

// MaxThrottle is how long the host is waited for in all that asks to come back later. A
// longer wait is not begun: pull limits ask for hours.
func (h *Host) MaxThrottle() time.Duration { return maxThrottle * h.RetryFor }

// Observe takes from an answer what it tells of the host.
func (h *Host) Observe(resp *http.Response) {
	h.answered.Store(true)
	h.observeProtocol(resp.ProtoMajor)
	d := ThrottleWait(resp.StatusCode, resp.Header)
	if RetryAfter(resp.StatusCode, resp.Header) > h.MaxThrottle() {
		return // nobody waits for it; who asks meanwhile is told the same
	}
	if d <= 0 && resp.StatusCode >= http.StatusBadRequest {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case d <= 0:
		h.throttledSince = time.Time{}
	case h.throttledSince.IsZero():
		h.throttledSince = time.Now()
	}
	if d > 0 {
		if until := time.Now().Add(d); until.After(h.notBefore) {
			h.notBefore = until
		}
	}
}

// observeProtocol notes a version of HTTP that the host has answered by.
func (h *Host) observeProtocol(major int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if major <= h.major { // a host with HTTP/2 refuses plain HTTP by HTTP/1.1
		return
	}
	h.major = major
	h.limits[Small].widenTo(smallSlots(major))
}

// smallSlots is how many small requests run at once by a version of HTTP.
func smallSlots(major int) int {
	if major >= 2 {
		return SmallRequests
	}
	return SmallConnections
}

// Observe takes from the answer to an attempt how much the host bears.
func (s Slot) Observe(resp *http.Response) {
	if s.Host == nil {
		return
	}
	limit := s.Host.limits[s.Class]
	switch {
	case isOverloaded(resp.StatusCode, resp.Header):
		limit.adjust((*width).halve, s.round)
	case resp.StatusCode < http.StatusInternalServerError:
		limit.adjust((*width).grow, s.round)
	}
}
