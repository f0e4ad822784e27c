package credential

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// loginTime bounds one login.
const loginTime = 30 * time.Second

// logins remembers what logging in gave, failures included, so that a run of
// many repositories logs in to a host once. Nothing is renewed: the shortest
// of these tokens lives an hour, as long as a Google service account's.
type logins struct {
	mu  sync.Mutex
	all map[string]*login
}

type login struct {
	turn chan struct{} // holds one element while somebody logs in
	done bool
	auth authn.AuthConfig
	err  error
}

func (l *logins) slot(key string) *login {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]*login{}
	}
	if l.all[key] == nil {
		l.all[key] = &login{turn: make(chan struct{}, 1)}
	}
	return l.all[key]
}

// once returns what do gave for the key when it was first called. A call whose
// context ended leaves the key to the next.
func (l *logins) once(ctx context.Context, key string, do func(context.Context) (authn.AuthConfig, error)) (authn.AuthConfig, error) {
	slot := l.slot(key)
	select {
	case slot.turn <- struct{}{}:
		defer func() { <-slot.turn }()
	case <-ctx.Done():
		return authn.AuthConfig{}, context.Cause(ctx)
	}
	if slot.done {
		return slot.auth, slot.err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, loginTime, fmt.Errorf("no answer within %s", loginTime))
	defer cancel()
	auth, err := do(bounded)
	if ctx.Err() != nil {
		return authn.AuthConfig{}, context.Cause(ctx)
	}
	slot.done, slot.auth, slot.err = true, auth, err
	return auth, err
}
