package referrer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// merges is how often a fallback tag is written before giving up on it.
const merges = 6

// Attach makes manifests that are in the repository already findable as
// referrers of the subject. With the API there is nothing to do but see that it
// lists them; without it they are merged into the fallback tag.
//
// No registry compares before it swaps, so two writers at once can each read the
// same list and one overwrite the other's line. It is written, read again and
// merged again until the line is there. Where that shows a rival, it is read once
// more after a moment, as rivals seldom write once. Still, a writer that read
// before and comes after that last look takes the line away: the protocol does
// not exclude it. The next run finds that and repairs it.
//
// It reports whether this run had to add any of them.
func (f *Finder) Attach(ctx context.Context, subject v1.Hash, referrers []v1.Descriptor) (wrote bool, err error) {
	a, err := f.Begin(ctx, subject, referrers)
	if err != nil {
		return false, err
	}
	return a.Settle(ctx)
}

// Attaching is an [Finder.Attach] that was begun: its lines are written, and it is to be
// seen that no rival takes them away.
type Attaching struct {
	finder    *Finder
	subject   v1.Hash
	referrers []v1.Descriptor
	try       func(ctx context.Context, attempt int) (done bool, err error)
	done      bool // nothing had to be written, or somebody else in this run has
}

// Begin does what Attach does first: it writes the lines, where there is anything to
// write. Settle is to follow.
func (f *Finder) Begin(ctx context.Context, subject v1.Hash, referrers []v1.Descriptor) (*Attaching, error) {
	f.keep(subject, referrers) // whoever has the turn now may write them as well
	free, err := f.alone(ctx, subject)
	if err != nil {
		return nil, err
	}
	defer free()
	a := &Attaching{finder: f, subject: subject, referrers: referrers}
	api, err := f.HasAPI(ctx, subject)
	if err != nil {
		return nil, err
	}
	a.try = (&merger{Finder: f, subject: subject, own: referrers}).merge
	if api {
		a.try = func(ctx context.Context, attempt int) (bool, error) { return f.await(ctx, subject, referrers, attempt) }
	}
	if a.done, err = a.try(ctx, 0); err != nil {
		return nil, err
	}
	return a, nil
}

// Settle sees that the lines are there, and writes them again until they are. It
// reports whether anything had to be written.
func (a *Attaching) Settle(ctx context.Context) (wrote bool, err error) {
	f, subject, referrers := a.finder, a.subject, a.referrers
	if a.done {
		return f.hasAdded(subject, referrers), nil
	}
	free, err := f.alone(ctx, subject)
	if err != nil {
		return f.hasAdded(subject, referrers), err
	}
	defer free()
	for attempt := 1; attempt < merges; attempt++ {
		if done, err := a.try(ctx, attempt); done || err != nil {
			return f.hasAdded(subject, referrers), err
		}
	}
	missing, err := f.Missing(ctx, subject, referrers)
	if err != nil || len(missing) == 0 {
		return f.hasAdded(subject, referrers), err
	}
	return true, &registry.Error{Op: "list attachments", Side: f.repo.Side(), Ref: f.repo.Reference(subject.String()),
		Err: fmt.Errorf("%d of %d attachments are stored but not listed", len(missing), len(referrers)),
		Hint: "They were written again and looked for again: the registry loses them, or another writer changes the same list.\n" +
			"Run the promotion again: it looks for them and writes what is missing."}
}

// keep notes what this run lists for a subject: a rival may take it away again.
func (f *Finder) keep(subject v1.Hash, referrers []v1.Descriptor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ours[subject] = union(f.ours[subject], referrers)
}

// wanted is what a list is to have: all that this run lists, or, of others than the
// merger, what they have written.
func (f *merger) wanted(all bool) []v1.Descriptor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.ours[f.subject]), func(d v1.Descriptor) bool {
		own := slices.ContainsFunc(f.own, func(o v1.Descriptor) bool { return o.Digest == d.Digest })
		return !all && !own && !f.lines[line{f.subject, d.Digest}]
	})
}

// line is one of a subject's list.
type line struct{ subject, referrer v1.Hash }

// hasAdded reports whether this run has added any of the lines.
func (f *Finder) hasAdded(subject v1.Hash, referrers []v1.Descriptor) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(referrers, func(d v1.Descriptor) bool { return f.lines[line{subject, d.Digest}] })
}

// alone keeps the promotions of one run from being each other's rival: it lets
// one at a time change a subject's list, until the function that it returns is
// called.
func (f *Finder) alone(ctx context.Context, subject v1.Hash) (done func(), err error) {
	f.mu.Lock()
	t, ok := f.attaching[subject]
	if !ok {
		t = queue.NewTurn()
		f.attaching[subject] = t
	}
	f.mu.Unlock()
	return t.Give, t.Take(ctx)
}

// await sees whether the API lists the referrers. Its index may lag behind, so that
// they are looked for twice; from then on what is missing is written again.
func (f *Finder) await(ctx context.Context, subject v1.Hash, referrers []v1.Descriptor, attempt int) (done bool, err error) {
	missing, err := f.Missing(ctx, subject, referrers)
	if err != nil || len(missing) == 0 {
		return true, err
	}
	if attempt > 1 {
		if err := f.rewrite(ctx, missing); err != nil {
			return true, err
		}
	}
	return false, Pause(ctx, attempt)
}

// WriteAgain writes referrers of a subject once more, by digest and one at a time.
// A registry may lose one of two that were written at once: it answers 201 and lists
// it only when it is written again (olareg 0.1.2, whose list is read, changed and
// written without a lock).
func (f *Finder) WriteAgain(ctx context.Context, subject v1.Hash, referrers ...registry.Manifest) error {
	free, err := f.alone(ctx, subject)
	if err != nil {
		return err
	}
	defer free()
	for _, m := range referrers {
		if _, err := f.repo.PutManifest(ctx, m.Digest.String(), m); err != nil {
			return err
		}
	}
	return nil
}

// rewrite is [Finder.WriteAgain] of what the repository holds, for who has the turn.
func (f *Finder) rewrite(ctx context.Context, referrers []v1.Descriptor) error {
	for _, d := range referrers {
		m, err := f.repo.GetManifest(ctx, d.Digest.String())
		if errors.Is(err, registry.ErrNotFound) {
			continue // its own reading says so
		}
		if err != nil {
			return err
		}
		if _, err := f.repo.PutManifest(ctx, d.Digest.String(), m); err != nil {
			return err
		}
	}
	return nil
}

// merger is one call's work on a fallback tag.
type merger struct {
	*Finder
	subject v1.Hash
	own     []v1.Descriptor
	writes  int
	looks   int // how often nothing was lacking since
	images  int // how often the tag was the image itself after it was written
}

// merge adds to the fallback tag what it lacks, keeping all that is there. It is done when
// a read finds nothing lacking, or two of them where there is a rival. It begins with all
// that this run is about to list; later it sees that what was listed stays so. What this
// run has just written is not read before more is added: who wrote it reads it afterwards.
func (f *merger) merge(ctx context.Context, attempt int) (done bool, err error) {
	subject := f.subject
	if f.cannotList() {
		return true, nil
	}
	if attempt > 1 { // before the read: between it and the write is a rival's chance
		if err := Pause(ctx, attempt); err != nil {
			return true, err
		}
	}
	want := f.wanted(attempt == 0)
	listed, old, err := f.before(ctx, subject, want, attempt == 0)
	if err != nil {
		return true, err
	}
	missing := without(want, listed)
	switch {
	case len(missing) == 0:
		f.looks++
		return f.looks > 1 || !f.rivalled(subject, old), nil
	case old != nil && old.Digest == subject:
		return f.mergeOverImage(ctx, listed, missing)
	case old != nil && !isList(*old):
		return true, f.occupied(subject)
	}
	f.looks = 0
	err = f.write(ctx, subject, old, listed, missing)
	if old == nil && isTagRefused(err) {
		_, held, readErr := f.fallback(ctx, f.repo.Uncached(), subject)
		if readErr == nil && held != nil && held.Digest == subject { // it was not read before
			f.listNothing()
			return true, nil
		}
	}
	return false, err
}

// mergeOverImage writes the list in place of the image itself, of which nothing is lost:
// "cosign copy" tags images so. Where the tag goes on to be the image, the registry
// keeps no such lists.
func (f *merger) mergeOverImage(ctx context.Context, listed, missing []v1.Descriptor) (done bool, err error) {
	if f.writes == 0 {
		err := f.write(ctx, f.subject, nil, listed, missing)
		if isTagRefused(err) {
			f.listNothing()
			return true, nil
		}
		return false, err
	}
	if f.images++; f.images < imagesSeen { // a read may lag behind the write
		return false, nil
	}
	f.listNothing()
	return true, nil
}

// imagesSeen is how often a tag is read that is the image itself after it was written.
const imagesSeen = 3

// isTagRefused reports whether a manifest was refused because of the tag, or because the
// tag stands for another.
func isTagRefused(err error) bool {
	var refused *registry.Error
	return errors.Is(err, registry.ErrTagImmutable) || errors.As(err, &refused) && refused.Code == "DIGEST_INVALID"
}

// rivalled reports whether somebody else has written since this run did.
func (f *merger) rivalled(subject v1.Hash, now *registry.Manifest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writes == 0 || f.writes == 1 && now != nil && now.Digest == f.latest[subject] {
		return false
	}
	f.contested[subject] = true
	return true
}

// Rivalled reports whether somebody else was seen to change a subject's list while
// it was attached to.
func (f *Finder) Rivalled(subject v1.Hash) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.contested[subject]
}

// before is what the fallback tag holds before it is written. In a repository
// that had no tag at all it holds nothing, until this run has written it.
func (f *Finder) before(ctx context.Context, subject v1.Hash, want []v1.Descriptor, begins bool) ([]v1.Descriptor, *registry.Manifest, error) {
	f.mu.Lock()
	written := f.written[subject]
	f.written[subject] = true
	f.mu.Unlock()
	last := f.lastOf(subject)
	switch {
	case begins && last.isFresh() && (last.wrote || len(without(want, last.referrers)) > 0):
		return last.referrers, last.manifest, nil
	case !written && f.Empty(ctx):
		return nil, nil, nil
	}
	l := &list{at: time.Now()}
	l.referrers, l.manifest, l.err = f.fallback(ctx, f.repo.Uncached(), subject)
	f.setLast(subject, l) // for who has waited to add more
	return l.referrers, l.manifest, l.err
}

func (f *Finder) lastOf(subject v1.Hash) *list {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last[subject]
}

func (f *Finder) setLast(subject v1.Hash, l *list) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.last, func(_ v1.Hash, old *list) bool { return !old.isFresh() }) // a run has many subjects
	if delete(f.last, subject); l.err == nil {
		f.last[subject] = l
	}
}

// write adds to the list. A registry that looks whether all that an index names
// is there refuses one with a line whose manifest a clean-up has deleted: such
// lines then go.
func (f *merger) write(ctx context.Context, subject v1.Hash, old *registry.Manifest, listed, missing []v1.Descriptor) error {
	refused := f.put(ctx, subject, old, listed, missing, nil)
	if !namesUnknown(refused) {
		return refused
	}
	gone, err := f.gone(ctx, listed)
	if err != nil || len(gone) == 0 {
		return errors.Join(refused, err)
	}
	return f.put(ctx, subject, old, listed, missing, gone)
}

func (f *merger) put(ctx context.Context, subject v1.Hash, old *registry.Manifest, listed, add []v1.Descriptor, gone map[v1.Hash]bool) error {
	index, err := mergeIndex(old, add, gone)
	if err != nil {
		return err
	}
	if len(index.Raw) > registry.MaxManifest {
		return f.tooLong(subject, len(index.Raw))
	}
	f.mu.Lock()
	f.latest[subject] = index.Digest
	delete(f.last, subject)
	f.mu.Unlock()
	if _, err = f.repo.PutManifest(ctx, FallbackTag(subject), index); err != nil {
		return withIndexHint(err, union(listed, add))
	}
	f.writes++
	listed = slices.DeleteFunc(slices.Clone(listed), func(d v1.Descriptor) bool { return gone[d.Digest] })
	f.setLast(subject, &list{referrers: union(listed, add), manifest: &index, at: time.Now(), wrote: true})
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range add {
		f.lines[line{subject, d.Digest}] = true
	}
	return nil
}

// withIndexHint names an attachment that is an index where a registry refuses the list of attachments for its content:
// Gitea takes an index of image manifests only (seen on 1.27.3, processOciImageIndex).
func withIndexHint(err error, listed []v1.Descriptor) error {
	var refused *registry.Error
	n := slices.IndexFunc(listed, func(d v1.Descriptor) bool { return d.MediaType.IsIndex() })
	if n >= 0 && errors.As(err, &refused) && refused.Code == "MANIFEST_INVALID" && refused.Hint == "" {
		refused.Hint = fmt.Sprintf("The list of attachments names an index, %s.\n", listed[n].Digest) +
			"Some registries (Gitea) take only image manifests in a list. Delete that attachment at the source, or promote with attachments: none."
	}
	return err
}

func (f *Finder) tooLong(subject v1.Hash, size int) error {
	return &registry.Error{Op: "list attachments", Side: f.repo.Side(), Ref: f.repo.Reference(FallbackTag(subject)),
		Err:  fmt.Errorf("the list would be of %d bytes, and a manifest has at most %d", size, registry.MaxManifest),
		Hint: "The list of what is attached to the image is full.\nDelete attachments that are not needed any more, or promote with attachments: none."}
}

// namesUnknown reports whether a manifest was refused for what it names
// (distribution-spec, "Error codes", code-1 and code-7).
func namesUnknown(err error) bool {
	var refused *registry.Error
	return errors.As(err, &refused) && (refused.Code == "MANIFEST_BLOB_UNKNOWN" || refused.Code == "MANIFEST_UNKNOWN")
}

// gone are those of a list that the repository does not hold.
func (f *Finder) gone(ctx context.Context, listed []v1.Descriptor) (map[v1.Hash]bool, error) {
	var mu sync.Mutex
	gone := map[v1.Hash]bool{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(merges)
	for _, d := range listed {
		g.Go(func() error {
			there, err := f.repo.HasManifest(ctx, d.Digest)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && !there {
				gone[d.Digest] = true
			}
			return err
		})
	}
	return gone, g.Wait()
}

func (f *Finder) occupied(subject v1.Hash) error {
	return &registry.Error{Op: "list attachments", Side: f.repo.Side(), Ref: f.repo.Reference(FallbackTag(subject)),
		Err: errors.New("the tag holds something other than a list of referrers"),
		Hint: "The tag is reserved for that list (distribution-spec, referrers tag schema).\n" +
			"Delete the tag if nobody needs what it names, or promote with attachments: none."}
}

// mergeIndex adds descriptors to an index, takes lines of what is gone away, and
// leaves every other member of it, known to us or not, as it was.
func mergeIndex(old *registry.Manifest, add []v1.Descriptor, gone map[v1.Hash]bool) (registry.Manifest, error) {
	members := map[string]json.RawMessage{}
	var lines []json.RawMessage
	if old != nil {
		var list struct {
			Manifests []json.RawMessage `json:"manifests"`
		}
		if err := errors.Join(json.Unmarshal(old.Raw, &members), json.Unmarshal(old.Raw, &list)); err != nil {
			return registry.Manifest{}, fmt.Errorf("read fallback index: %w", err)
		}
		lines = slices.DeleteFunc(list.Manifests, func(line json.RawMessage) bool { return gone[digestIn(line)] })
	}
	for _, d := range add {
		line, err := json.Marshal(d)
		if err != nil {
			return registry.Manifest{}, err
		}
		lines = append(lines, line)
	}
	raw, err := json.Marshal(lines)
	if err != nil {
		return registry.Manifest{}, err
	}
	members["manifests"] = raw
	members["schemaVersion"] = json.RawMessage("2")
	members["mediaType"] = json.RawMessage(`"` + types.OCIImageIndex + `"`)
	body, err := json.Marshal(members)
	if err != nil {
		return registry.Manifest{}, err
	}
	return registry.NewManifest(string(types.OCIImageIndex), body), nil
}

// digestIn is the digest of a line that was read before as a descriptor.
func digestIn(line json.RawMessage) v1.Hash {
	var d v1.Descriptor
	_ = json.Unmarshal(line, &d)
	return d.Digest
}

// Pause waits a little longer with every attempt, up to 8 seconds in all, and
// not as long as a rival that began at the same moment.
func Pause(ctx context.Context, attempt int) error {
	wait := time.Duration(1<<attempt) * 125 * time.Millisecond
	timer := time.NewTimer(wait/2 + rand.N(wait/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
