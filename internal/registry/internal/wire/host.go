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

// Class is the kind of a request. Each class has slots of its own.
type Class int

// The classes.
const (
	Small    Class = iota // the bodies of request and answer are in memory
	Download              // a blob is streamed from the host
	Upload                // a blob is streamed to the host
	classes
)

const (
	// SmallRequests is how many small requests run at the same time at a host with HTTP/2,
	// where they share a connection: fewer than the 100 streams that a server should allow
	// (RFC 9113 §6.5.2).
	SmallRequests = 96
	// SmallConnections is how many small requests run at the same time at a host without
	// HTTP/2, where each needs a connection.
	SmallConnections = 16
	// DefaultTransfers is how many blobs are streamed at the same time to a host, and as
	// many from it, unless the user sets another number.
	DefaultTransfers = 24
)

// Hosts are the hosts that a client has contacted.
type Hosts struct {
	Transfers int // blobs streamed at the same time to a host, and as many from it
	retryFor  time.Duration

	mu     sync.Mutex
	byName map[string]*Host
}

// DefaultRetryFor is how long one operation is retried unless the caller says otherwise.
const DefaultRetryFor = time.Minute

// NewHosts makes an empty set of hosts. transfers is how many blobs are streamed at the same
// time to a host, and as many from it (0: 24). retryFor is how long one operation at a host is
// retried (0: a minute).
func NewHosts(transfers int, retryFor time.Duration) *Hosts {
	return &Hosts{
		Transfers: cmp.Or(max(0, transfers), DefaultTransfers), retryFor: cmp.Or(max(0, retryFor), DefaultRetryFor),
		byName: map[string]*Host{},
	}
}

// Of returns the host of a URL, by host:port.
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

// Host is the state of a host that all its sessions share: its limits of requests and transfers,
// and its throttling.
//
// A small request takes a slot for one attempt, until its answer was read, and never during a
// backoff or while it waits for a token. An upload first takes a Download slot of its source,
// and keeps it until the last byte was read. With the source open, it takes an Upload slot of
// its target. A holder of an Upload slot waits for no other slot, so that a deadlock is not
// possible, even if two hosts copy to each other.
type Host struct {
	Name     string
	RetryFor time.Duration
	limits   [classes]*limiter
	answered atomic.Bool // it has answered a request of this run
	registry atomic.Bool // it has answered GET /v2/ as a registry does

	mu             sync.Mutex
	shared         bool      // blobs are streamed both to it and from it
	major          int       // highest major version of HTTP of an answer; 0: none
	notBefore      time.Time // the end of its last Retry-After
	throttledSince time.Time // when throttling began, without a success since; zero: it is not throttled
}

// NewHost makes a host that was not contacted yet. It allows a single small request at first:
// the version of HTTP of its answer decides how many may follow.
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
	round int // see width
}

// Acquire waits for the end of throttling, and for a slot.
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
		if h.throttleLeft() <= 0 { // throttling may have begun during the wait for the slot
			return Slot{h, c, round}, nil
		}
		h.limits[c].release()
	}
}

// Release returns the slot. The zero Slot has nothing to return.
func (s Slot) Release() {
	if s.Host != nil {
		s.Host.limits[s.Class].release()
	}
}

// shareIfBothWays calls ShareSlots when blobs are streamed both to and from the host.
func (h *Host) shareIfBothWays(c Class) {
	if c != Small && h.limits[Upload+Download-c].used() {
		h.ShareSlots()
	}
}

// ShareSlots halves the slots of both directions, so that together they use no more connections
// than one direction alone.
func (h *Host) ShareSlots() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shared {
		h.shared = true
		h.limits[Download].halveCeiling()
		h.limits[Upload].halveCeiling()
	}
}

// AwaitThrottle waits until the end of the host's Retry-After.
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

// MarkRegistry records that the host has answered GET /v2/ as a registry does.
func (h *Host) MarkRegistry() { h.registry.Store(true) }

// IsRegistry reports whether the host has answered GET /v2/ as a registry does.
func (h *Host) IsRegistry() bool { return h.registry.Load() }

// StillThrottled reports whether the host has been throttled for MaxThrottle or longer, without
// a success: some hosts throttle for hours.
func (h *Host) StillThrottled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.throttledSince.IsZero() && time.Since(h.throttledSince) >= h.MaxThrottle()
}

// maxThrottle times RetryFor is how long the client waits for a throttled host.
const maxThrottle = 9

// MaxThrottle is how long the client waits in all for a throttled host. A longer Retry-After is
// final at once: pull limits ask for hours.
func (h *Host) MaxThrottle() time.Duration { return maxThrottle * h.RetryFor }

// Observe updates the host from an answer.
func (h *Host) Observe(resp *http.Response) {
	h.answered.Store(true)
	h.observeProtocol(resp.ProtoMajor)
	d := ThrottleWait(resp.StatusCode, resp.Header)
	if RetryAfter(resp.StatusCode, resp.Header) > h.MaxThrottle() {
		return // final for this request; later requests get the same answer
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

// observeProtocol records the major version of HTTP of an answer.
func (h *Host) observeProtocol(major int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if major <= h.major { // a host with HTTP/2 refuses plain HTTP in HTTP/1.1
		return
	}
	h.major = major
	h.limits[Small].widenTo(smallSlots(major))
}

// smallSlots is how many small requests run at the same time with a version of HTTP.
func smallSlots(major int) int {
	if major >= 2 {
		return SmallRequests
	}
	return SmallConnections
}

// Observe adjusts the limit of the slot's class by the answer to its request.
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
