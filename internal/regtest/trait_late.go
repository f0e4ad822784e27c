package regtest

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// LateWrite cuts the connection of the first writes of a manifest that match, one for each time, and does what they ask
// for so long after. Until the first of them has landed, every further attempt is refused with that status.
func LateWrite(match func(repository, tag string) bool, status int, after ...time.Duration) Trait {
	return Trait{
		Name:   "a write lands late",
		Does:   "closes the connection of a manifest PUT without an answer, refuses the next attempts, and writes the first one seconds later",
		Source: "RFC 9110, section 9.2.2",
		layers: func() (layer, layer) {
			l := &lateWrites{left: after, status: status}
			return nil, onPut(func(w http.ResponseWriter, r *http.Request, p putting, next http.Handler) bool {
				return match(p.repository, p.name) && l.strike(w, r, next)
			})
		},
	}
}

type lateWrites struct {
	status int

	mu     sync.Mutex
	left   []time.Duration // of the attempts that have yet to be cut off
	cut    bool            // one was
	landed bool            // and one of those is written
}

func (l *lateWrites) strike(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.left) > 0 && !l.landed:
		late := r.Clone(context.WithoutCancel(r.Context()))
		go l.land(late, next, l.left[0])
		l.left, l.cut = l.left[1:], true
		reset(w)
	case l.cut && !l.landed:
		refuse(w, l.status, "DENIED", http.StatusText(l.status))
	default:
		return false
	}
	return true
}

func (l *lateWrites) land(r *http.Request, next http.Handler, after time.Duration) {
	time.Sleep(after)
	l.mu.Lock()
	defer l.mu.Unlock()
	next.ServeHTTP(&discarded{header: http.Header{}}, r)
	l.landed = true
}
