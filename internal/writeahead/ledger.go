package writeahead

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	"golang.org/x/sync/errgroup"
)

const (
	// fresh is how old a read may be when a write that rests on it is sent.
	fresh = 2 * time.Second
	// lag is how long after a write a registry may still show what was there before it: 5 to 15
	// seconds were seen.
	lag = 15 * time.Second
	// tries is how often a write is decided anew before the run gives up: about half a minute.
	tries = 12
)

// Ledger is the ledger of one environment, as one run sees it. It is for one goroutine.
type Ledger struct {
	store Store
	key   Key
	run   Run

	known    head                 // everything that was ever read or written: a run never writes less
	versions bool                 // the heads are immutable: what is written goes under versions
	leases   map[string]firstSeen // by entry
	members  Members              // nil: the other members of a release cannot be read
}

// Open opens a ledger for a run. It makes no request.
func Open(store Store, key Key, run Run) *Ledger {
	return &Ledger{store: store, key: key, run: run, leases: map[string]firstSeen{}}
}

// Reference is the first head's, for messages.
func (l *Ledger) Reference() string { return l.store.Reference(l.key.head(0)) }

// View is what a ledger says at one moment.
type View struct {
	head
	heads   [2]*head // nil: that tag does not exist
	version int      // newest version, where the heads are immutable; 0: there is none
	began   time.Time
	clock   time.Time // the registry's; zero: it states none
}

// Exists reports whether there is a ledger.
func (v View) Exists() bool { return v.heads[0] != nil || v.heads[1] != nil || v.version > 0 }

// Entries are those that are in no segment, by number. Faulty ones are among them.
func (v View) Entries() []Entry { return v.entries }

// Segments is how many segments the ledger has.
func (v View) Segments() int { return v.closed }

// isFresh reports whether a write may rest on the view.
func (v View) isFresh() bool { return !v.began.IsZero() && time.Since(v.began) < fresh }

// now is the registry's time, or this machine's if the registry states none.
func (v View) now() time.Time {
	if v.clock.IsZero() {
		return time.Now().UTC()
	}
	return v.clock.UTC()
}

// Read reads both heads side by side. Where one is missing although the ledger must have it, it
// is looked for until no registry's reads lag any more.
func (l *Ledger) Read(ctx context.Context) (View, error) {
	var began time.Time
	for nth := 0; ; nth++ {
		v, err := l.readOnce(ctx)
		if err != nil {
			return View{}, err
		}
		if began.IsZero() {
			began = v.began
		}
		missing, err := l.isMissing(ctx, v)
		if err != nil {
			return View{}, err
		}
		if !missing || time.Since(began) >= lag {
			return l.learn(v), nil
		}
		if err := pause(ctx, nth); err != nil {
			return View{}, err
		}
	}
}

// readOnce reads the heads, and the versions where only those can tell what happened.
func (l *Ledger) readOnce(ctx context.Context) (View, error) {
	v := View{began: time.Now()}
	var readings [2]registry.TagReading
	g, inner := errgroup.WithContext(ctx)
	for n := range readings {
		g.Go(func() (err error) {
			readings[n], err = l.store.ReadTag(inner, l.key.head(n))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return View{}, err
	}
	for n, r := range readings {
		if err := v.take(l, n, r); err != nil {
			return View{}, err
		}
	}
	if l.versions || v.isNew() {
		return l.readVersions(ctx, v)
	}
	return v, nil
}

// take adds a reading of one head to the view.
func (v *View) take(l *Ledger, n int, r registry.TagReading) error {
	if r.Began.Before(v.began) {
		v.began = r.Began
	}
	if r.Clock.After(v.clock) {
		v.clock = r.Clock
	}
	if !r.Exists {
		return nil
	}
	h, err := l.parse(l.key.head(n), r.Manifest)
	if err != nil {
		return err
	}
	v.heads[n] = h
	if v.heads[1-n] == nil {
		v.head = *h
	} else {
		v.head = union(v.head, *h)
	}
	return nil
}

// isNew reports whether the ledger has nothing but the two heads that it was created with, which
// immutable tags keep for ever.
func (v View) isNew() bool {
	return v.heads[0] != nil && v.heads[1] != nil && v.heads[0].sequence <= 2 && v.heads[1].sequence <= 2
}

func (l *Ledger) parse(tag string, m registry.Manifest) (*head, error) {
	h, err := parseHead(m, l.key)
	if err == nil {
		return h, nil
	}
	return nil, &Error{Reference: l.store.Reference(tag), Err: err, Hint: "The program keeps the promotions of an environment under that tag. " +
		"If something else wrote the tag, move or delete it; the other head of the ledger restores it."}
}

// Error says what is wrong with a ledger.
type Error struct {
	Reference string
	Err       error
	Hint      string // what to do
}

func (e *Error) Error() string { return "ledger " + e.Reference + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// isMissing reports whether a read lacks a head that must be there: a ledger is created with both.
// If both are missing, a segment or a kept tag tells that there was a ledger.
func (l *Ledger) isMissing(ctx context.Context, v View) (bool, error) {
	switch {
	case v.heads[0] != nil && v.heads[1] != nil:
		return false, nil
	case v.Exists(), l.known.sequence > 0:
		return true, nil
	}
	tags := []string{l.key.segment(1)}
	if kept := l.key.Kept(1); kept != "" {
		tags = append(tags, kept)
	}
	there := make([]bool, len(tags))
	g, ctx := errgroup.WithContext(ctx)
	for n, tag := range tags {
		g.Go(func() error {
			r, err := l.store.ReadTag(ctx, tag)
			there[n] = r.Exists
			return err
		})
	}
	err := g.Wait()
	return slices.Contains(there, true), err
}

// learn keeps what a view says.
func (l *Ledger) learn(v View) View {
	l.known = union(l.known, v.head)
	l.watchLeases(v)
	return v
}

// pause waits before the next look: a tenth of a second, doubled each time, at most two seconds.
func pause(ctx context.Context, nth int) error {
	timer := time.NewTimer(min(100*time.Millisecond<<min(nth, 5), 2*time.Second))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// errNothing says that a ledger says already what was to be written.
var errNothing = errors.New("nothing to write")

// change makes of what a ledger says what it is to say. It returns errNothing if that is the same.
type change func(View, head) (head, error)

// write reads, decides and writes until the registry has taken what was decided, and reads that
// back. Any other failure of the write than a refusal leaves open whether it has taken effect, so
// the ledger is read and the change is decided again.
func (l *Ledger) write(ctx context.Context, v View, decide change) (View, error) {
	var failed error
	for nth := range tries {
		if !v.isFresh() {
			var err error
			if v, err = l.Read(ctx); err != nil {
				return v, err
			}
		}
		next, err := decide(v, l.known)
		if errors.Is(err, errNothing) {
			return v, nil
		}
		if err != nil {
			return v, err
		}
		at, written, err := l.put(ctx, v, next)
		switch {
		case err == nil:
			return l.readBack(ctx, at, written)
		case errors.Is(err, registry.ErrTagImmutable):
			l.versions = true
		case errors.Is(err, registry.ErrOutdated):
		case registry.IsRefusal(err):
			return v, err
		default:
			failed = err
			if err := pause(ctx, nth); err != nil {
				return v, fmt.Errorf("%w; last attempt: %w", err, failed)
			}
		}
		v = View{}
	}
	if failed == nil {
		failed = errors.New("other runs kept writing it")
	}
	return v, &Error{Reference: l.Reference(), Err: failed, Hint: "Run the promotion again. A concurrency group in the workflow lets promotions to one environment wait for each other."}
}

// put writes the next head in place of the older one.
func (l *Ledger) put(ctx context.Context, v View, next head) (at string, written head, err error) {
	next.sequence = max(v.sequence, l.known.sequence) + 1
	next.entries = slices.Clone(next.entries)
	for n, e := range next.entries {
		if e.Sequence == unnumbered {
			e.Sequence = next.sequence
			next.entries[n] = e.withOutcome()
		}
	}
	next, err = l.close(ctx, next)
	if err != nil {
		return "", next, err
	}
	m := next.encode(l.key)
	if len(m.Raw) > maxHead || len(next.entries) > maxEntries {
		return "", next, &Error{Reference: l.Reference(), Err: fmt.Errorf("it has %d open or faulty entries of %d bytes", len(next.entries), len(m.Raw)),
			Hint: "See what mode audit says of it."}
	}
	at = l.key.head(v.older())
	if l.versions {
		at = l.key.version(v.version + 1)
	}
	next.digest = m.Digest
	return at, next, l.store.WriteTag(ctx, at, m, v.began.Add(fresh))
}

// unnumbered is the sequence of an outcome whose head is not written yet.
const unnumbered = -1

// older is the head that is to be written next.
func (v View) older() int {
	switch {
	case v.heads[0] == nil:
		return 0
	case v.heads[1] == nil || v.heads[1].sequence < v.heads[0].sequence:
		return 1
	}
	return 0
}

// readBack reads the ledger until it shows a write, or that another run has overwritten it. Where
// neither shows within the time that reads may lag, what is shown then counts.
func (l *Ledger) readBack(ctx context.Context, at string, written head) (View, error) {
	l.known = union(l.known, written)
	began := time.Now()
	for nth := 0; ; nth++ {
		v, err := l.Read(ctx)
		if err != nil || v.shows(l.key, at, written) || time.Since(began) >= lag {
			return v, err
		}
		if err := pause(ctx, nth); err != nil {
			return v, err
		}
	}
}

// shows reports whether a view is of the time after a write.
func (v View) shows(k Key, at string, written head) bool {
	for n, h := range v.heads {
		if h != nil && k.head(n) == at {
			return h.digest == written.digest || h.sequence >= written.sequence
		}
	}
	return v.version > 0 && v.sequence >= written.sequence
}

// Create writes an empty ledger, both heads, where there is none. It tells before anything is
// copied whether the registry takes a ledger.
func (l *Ledger) Create(ctx context.Context, v View) (View, error) {
	if v.Exists() {
		return v, nil
	}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return l.store.PutBlob(inner, empty, []byte(emptyConfig)) })
	g.Go(func() error {
		d, raw := nameBlob(l.key)
		return l.store.PutBlob(inner, d, raw)
	})
	if err := g.Wait(); err != nil {
		return v, err
	}
	return l.writeEmpty(ctx, v)
}

// writeEmpty writes both heads, which are empty.
func (l *Ledger) writeEmpty(ctx context.Context, v View) (View, error) {
	for nth := range tries {
		if !v.isFresh() {
			var err error
			if v, err = l.Read(ctx); err != nil || v.heads[0] != nil && v.heads[1] != nil {
				return v, err
			}
		}
		err := l.putEmpty(ctx, v)
		if registry.IsRefusal(err) && !errors.Is(err, registry.ErrTagImmutable) {
			return v, err
		}
		if err == nil {
			if v, err = l.Read(ctx); err != nil || v.heads[0] != nil && v.heads[1] != nil {
				return v, err
			}
		}
		if pauseErr := pause(ctx, nth); pauseErr != nil {
			return v, pauseErr
		}
		v = View{}
	}
	return v, &Error{Reference: l.Reference(), Err: errors.New("the registry acknowledged it, and does not show it"), Hint: "Run the promotion again."}
}

func (l *Ledger) putEmpty(ctx context.Context, v View) error {
	g, inner := errgroup.WithContext(ctx)
	for n, h := range v.heads {
		if h == nil {
			g.Go(func() error {
				return l.store.WriteTag(inner, l.key.head(n), head{sequence: n + 1}.encode(l.key), v.began.Add(fresh))
			})
		}
	}
	return g.Wait()
}
