package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
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
	// tries is how often a write is decided anew before the run gives up: about half a minute. A read
	// that was too slow to rest a write on counts as one.
	tries = 20
)

// Ledger is the ledger of one environment, as one run sees it. It is for one goroutine.
type Ledger struct {
	store Store
	key   Key
	run   Run

	known    head                 // everything that was ever read or written: a run never writes less
	watched  []string             // tags that are read with the heads
	created  bool                 // by this run: there are no versions
	isLost   bool                 // a head was looked for until no read lags any more, and is missing
	writes   int                  // how many were sent
	versions bool                 // the heads are immutable: what is written goes under versions
	lease    time.Duration        // of other runs
	leases   map[string]firstSeen // by entry
	members  Members              // nil: the other members of a release cannot be read
	parsed   *sync.Map            // heads by digest: one of the two stays as it is while the other is written
	random   func() float64       // less than 1
}

// Open opens a ledger for a run. It makes no request.
func Open(store Store, key Key, run Run) *Ledger {
	return &Ledger{store: store, key: key, run: run, lease: lease, leases: map[string]firstSeen{}, parsed: &sync.Map{}, random: mathrand.Float64}
}

// WithVersions has a reader look for versions of the heads too: they are there where tags are
// immutable. A run that writes finds that out by a refusal, or by heads that were never overwritten.
func (l *Ledger) WithVersions() *Ledger {
	l.versions = true
	return l
}

// WithLease sets for how long the runs of open entries count as at work; 0: two minutes.
func (l *Ledger) WithLease(d time.Duration) *Ledger {
	l.lease = cmp.Or(d, lease)
	return l
}

// Key is the ledger's name within its repository.
func (l *Ledger) Key() Key { return l.key }

// Reference is the first head's, for messages.
func (l *Ledger) Reference() string { return l.store.Reference(l.key.head(0)) }

// View is what a ledger says at one moment.
type View struct {
	head
	key     Key
	heads   [2]*head          // nil: that tag does not exist
	found   map[string]string // digest by tag, of those that were read with the heads
	version int               // newest version, where the heads are immutable; 0: there is none
	began   time.Time
	failed  error     // of the last attempt to write; nil: there was none
	clock   time.Time // the registry's; zero: it states none
	orphan  string    // see Orphan
}

// Exists reports whether there is a ledger.
func (v View) Exists() bool { return v.heads[0] != nil || v.heads[1] != nil || v.version > 0 }

// Missing is the tag of a head that is missing; empty: none is.
func (v View) Missing() string {
	for n, h := range v.heads {
		if h == nil {
			return v.key.head(n)
		}
	}
	return ""
}

// Orphan is a tag that is there although both heads are missing: a segment of the ledger, or an image that
// it has kept. So there was a ledger, and it was deleted. Empty: none is there.
func (v View) Orphan() string { return v.orphan }

// Entries are those that are in no segment, by number. Faulty ones are among them.
func (v View) Entries() []Entry { return v.entries }

// Heads are the digests of the heads, for outputs.
func (v View) Heads() (digests []string) {
	for _, h := range v.heads {
		if h != nil {
			digests = append(digests, h.digest.String())
		}
	}
	return digests
}

// Segments is how many segments the ledger has.
func (v View) Segments() int { return v.closed }

// equals reports whether two views are of the same heads.
func (v View) equals(o View) bool {
	for n, h := range v.heads {
		if (h == nil) != (o.heads[n] == nil) || h != nil && h.digest != o.heads[n].digest {
			return false
		}
	}
	return v.version == o.version
}

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
// is looked for until no registry's reads lag any more, once.
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
		missing, err := l.isMissing(ctx, &v)
		if err != nil {
			return View{}, err
		}
		if !missing || l.isLost || time.Since(began) >= lag {
			l.isLost = missing
			return l.learn(v), nil
		}
		if err := pause(ctx, nth); err != nil {
			return View{}, err
		}
	}
}

// readOnce reads the heads, and the versions where only those can tell what happened.
func (l *Ledger) readOnce(ctx context.Context) (View, error) {
	v := View{key: l.key, began: time.Now()}
	var readings [2]registry.TagReading
	g, inner := errgroup.WithContext(ctx)
	if l.watched != nil {
		g.Go(func() (err error) {
			v.found, err = l.readTags(inner, slices.Clone(l.watched))
			return err
		})
	}
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
	if l.versions || v.isNew() && !l.created {
		return l.readVersions(ctx, v)
	}
	return v, nil
}

// WithTags adds to a view what tags point to, digest by name, as they were read since began.
func (v View) WithTags(found map[string]string, began time.Time) View {
	v.found = found
	if began.Before(v.began) {
		v.began = began
	}
	return v
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
	if h, known := l.parsed.Load(m.Digest); known {
		return h.(*head), nil
	}
	h, err := parseHead(m, l.key)
	if err == nil {
		l.parsed.Store(m.Digest, h)
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
func (l *Ledger) isMissing(ctx context.Context, v *View) (bool, error) {
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
	if n := slices.Index(there, true); n >= 0 {
		v.orphan = tags[n]
	}
	return v.orphan != "", err
}

// learn keeps what a view says.
func (l *Ledger) learn(v View) View {
	l.known = union(l.known, v.head)
	l.watchLeases(v)
	return v
}

// pause waits before the next look: a tenth of a second, doubled each time, at most two seconds.
func pause(ctx context.Context, nth int) error {
	return sleep(ctx, min(100*time.Millisecond<<min(nth, 5), 2*time.Second))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
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
		if !v.isFresh() || l.watched != nil && v.found == nil {
			var err error
			if v, err = l.Read(ctx); err != nil {
				return v, err
			}
		}
		v.failed = failed
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
		case errors.Is(err, registry.ErrTagImmutable) && (l.versions || v.isNew()): // else nobody would look for versions
			l.versions = true
		case errors.Is(err, registry.ErrOutdated):
		case registry.IsRefusal(err) && !registry.IsMissingContent(err):
			return v, err
		default:
			failed = err
			if err := l.repair(ctx, err, nth); err != nil {
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
	l.writes++
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
	if err := l.putBlobs(ctx); err != nil {
		return v, err
	}
	l.created = true
	return l.writeEmpty(ctx, v)
}

// putBlobs stores what every head names besides records.
func (l *Ledger) putBlobs(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return l.store.PutBlob(inner, empty, []byte(emptyConfig)) })
	g.Go(func() error {
		d, raw := nameBlob(l.key)
		return l.store.PutBlob(inner, d, raw)
	})
	return g.Wait()
}

// repair waits before a write is decided again. If the head was refused because the registry has
// lost or collected a blob that it names, it stores those again; a record's is stored by its run.
func (l *Ledger) repair(ctx context.Context, failed error, nth int) error {
	if registry.IsMissingContent(failed) {
		if err := l.putBlobs(ctx); err != nil {
			return err
		}
	}
	return pause(ctx, nth)
}

// writeEmpty writes both heads, which are empty.
func (l *Ledger) writeEmpty(ctx context.Context, v View) (View, error) {
	var failed error
	for nth := range tries {
		if !v.isFresh() {
			var err error
			if v, err = l.readOnce(ctx); err != nil || v.heads[0] != nil && v.heads[1] != nil {
				return v, err
			}
		}
		err := l.putEmpty(ctx, v)
		if registry.IsRefusal(err) && !registry.IsMissingContent(err) && !errors.Is(err, registry.ErrTagImmutable) {
			return v, err
		}
		if err == nil { // the entry's own write rests on a read of its own
			l.known.sequence = max(l.known.sequence, 2) // a read that lags does not count as one of no ledger
			return View{key: l.key, heads: [2]*head{{sequence: 1}, {sequence: 2}}}, nil
		}
		failed = err
		if err := l.repair(ctx, failed, nth); err != nil {
			return v, err
		}
		v = View{}
	}
	return v, &Error{Reference: l.Reference(), Err: failed, Hint: "Run the promotion again."}
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
