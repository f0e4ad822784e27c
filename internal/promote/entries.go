package promote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// storedRecord is a record whose bytes are in the registry.
type storedRecord struct {
	record document.Record
	blob   v1.Descriptor
	raw    []byte
	at     time.Time
}

// unreferenced is how long a blob that no manifest names is taken to be safe: zot collects it
// after an hour.
const unreferenced = 20 * time.Minute

// storeRecord makes the record of a promotion that is to move a tag, and returns what stores it while
// the image is copied. What it says may change until its entry is written; then it is stored again.
func (r *run) storeRecord(ctx context.Context, p *promotion) (store func() error) {
	if p.ledger.ledger == nil || !r.keepsRecords() || !p.moves() || len(p.ownTags()) == 0 {
		return func() error { return nil }
	}
	record := r.recordOf(ctx, p)
	record.PreviousRecord = lastRecord(p.ledger.view.Entries())
	return func() error {
		if err := p.store(ctx, record); err != nil {
			return r.unrecordable(p, err)
		}
		return nil
	}
}

// store stores a record, unless it says what the stored one says.
func (p *promotion) store(ctx context.Context, record document.Record) error {
	if s := p.ledger.stored; s != nil && s.says(record) {
		if time.Since(s.at) < unreferenced {
			return nil
		}
		record = s.record
	}
	raw, err := record.Encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	blob := v1.Descriptor{MediaType: document.RecordMediaType, Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}, Size: int64(len(raw))}
	if err := putBlob(ctx, p.target, blob, raw); err != nil {
		return err
	}
	p.ledger.stored = &storedRecord{record, blob, raw, time.Now()}
	return nil
}

// restore stores the blobs of the entry once more where they are missing.
func (p *promotion) restore(ctx context.Context) error {
	s := p.ledger.stored
	if there, err := p.target.Uncached().HasBlob(ctx, s.blob.Digest); there || err != nil {
		return err
	}
	return putBlob(ctx, p.target.Uncached(), s.blob, s.raw)
}

// says reports whether a record has the facts of another one, which may have been made later.
func (s *storedRecord) says(other document.Record) bool {
	r := s.record
	return r.PreviousDigest == other.PreviousDigest && r.PreviousRecord == other.PreviousRecord && r.Digest == other.Digest &&
		slices.Equal(r.Tags, other.Tags) && slices.Equal(r.Attachments, other.Attachments)
}

// lastRecord is the digest of the record of the newest entry; empty: there is none.
func lastRecord(entries []ledger.Entry) string {
	for _, e := range slices.Backward(entries) {
		if e.Fault == "" {
			return e.Record.Digest.String()
		}
	}
	return ""
}

// begin writes the entries of all promotions that are to move a tag, before the first tag moves.
// If one cannot be written, the others are written as failed.
func (r *run) begin(ctx context.Context) error {
	if !r.keepsRecords() {
		r.noteUnrecorded()
		return nil
	}
	r.Step("Record")
	g, inner := asking(ctx)
	for _, p := range r.promotions {
		if p.ledger.ledger == nil || len(p.ownTags()) == 0 {
			continue
		}
		g.Go(func() error {
			return p.inTurn(inner, func() error {
				if p.moves() || p.unsaid() {
					return r.beginOne(inner, p)
				}
				return r.resolveOne(inner, p)
			})
		})
	}
	if err := g.Wait(); err != nil {
		r.finishFailed(ctx, err)
		return cannotRecord(err)
	}
	for _, p := range r.promotions {
		if p.ledger.session != nil {
			r.Info(fmt.Sprintf("recorded as %s in %s", p.ledger.digest, p.target.Name()))
		}
	}
	r.shareRecords()
	return nil
}

// shareRecords has promotions none of whose tags is theirs alone name the record of the one that moves
// them.
func (r *run) shareRecords() {
	for _, p := range r.promotions {
		if len(p.tags) > 0 && len(p.ownTags()) == 0 {
			owner := p.tags[0].twin
			p.ledger.digest, p.ledger.listed = owner.ledger.digest, owner.ledger.listed
		}
	}
}

// ownTagNames are the names of the tags that its entry is about.
func (p *promotion) ownTagNames() (names []string) {
	for _, t := range p.ownTags() {
		names = append(names, t.text)
	}
	return names
}

// cannotRecord says that nothing has moved, because the ledger could not be written. What another
// error says already stays as it is.
func cannotRecord(err error) error {
	var denied *deniedError
	var conflict *ledger.ConflictError
	if err == nil || errors.As(err, &denied) || errors.As(err, &conflict) || errors.As(err, new(recordError)) {
		return err
	}
	return recordError{err}
}

// recordError says that nothing has moved, because the ledger could not be written.
type recordError struct{ err error }

func (e recordError) Error() string {
	return "cannot write the promotion record; no tag was moved: " + e.err.Error()
}

func (e recordError) Unwrap() error { return e.err }

// hint adds to what the registry's refusal calls for that a promotion need not be recorded.
func (e recordError) hint() string {
	text := ledgerHint(e.err)
	if registry.IsRefusal(e.err) && !errors.Is(e.err, registry.ErrTagImmutable) {
		text = strings.TrimSpace(text + "\nIf the registry takes no ledger at all: with `record: optional` the promotion goes on without a record, and a notice says so.")
	}
	return text
}

// ledgerHint says what to do where a ledger could not be written. A ledger begins in versions where tags are
// immutable, so that a refusal to change its tags means that they became so since.
func ledgerHint(err error) string {
	if errors.Is(err, registry.ErrTagImmutable) {
		return "The tags of the ledger could be changed before. Exclude promotion-ledger.* and promotion-keep.* from the registry's rule for immutable tags, and run it again. " +
			"If there is no such rule, the credential may create tags but not overwrite them."
	}
	return hintOf(err)
}

// noteUnrecorded says of a release without a record what that means.
func (r *run) noteUnrecorded() {
	if r.request.Record == RecordNone && len(r.promotions) > 1 && slices.ContainsFunc(r.promotions, (*promotion).moves) {
		r.note("Nothing is recorded of this release (record: none): its tags move together only while this run lives. If it is killed, nothing tells which of them have moved.")
	}
}

func (r *run) beginOne(ctx context.Context, p *promotion) error {
	var beside sync.WaitGroup
	var keepErr error
	view := p.viewWithTags()
	if kept, held, needed := r.toKeep(p); needed { // chosen before the draft takes what the tags point to then
		beside.Go(func() { keepErr = p.keep(ctx, kept, held) })
	}
	beside.Go(func() { r.askToAttach(ctx, p) })
	var resolved []ledger.Entry
	session, err := p.ledger.ledger.Begin(ctx, view, p.ledger.id, p.ownTagNames(),
		func(ctx context.Context, start ledger.Start) (ledger.Entry, error) {
			resolved = start.Resolved
			return r.draft(ctx, p, start)
		},
		func(text string) { r.note(p.place() + ": " + text) })
	if beside.Wait(); keepErr != nil {
		r.note(fmt.Sprintf("The image that %s held could not be kept for a rollback: %v", p.place(), keepErr))
	}
	if err != nil {
		r.lookAgain(ctx, p)
		return r.unrecordable(p, err)
	}
	r.tellResolved(p, resolved)
	p.ledger.session, p.ledger.digest = session, p.ledger.stored.blob.Digest.String()
	for _, t := range p.tags {
		t.before = t.before.SeenAgain(session.TagsReadAt)
	}
	return nil
}

// viewWithTags is what the ledger and the tags said when they were read: a write may rest on it if
// that was a moment ago.
func (p *promotion) viewWithTags() ledger.View {
	if p.ledger.again != nil {
		p.ledger.view = *p.ledger.again
	}
	found, began := map[string]string{}, time.Now()
	for _, t := range p.tags {
		if !t.observed {
			return p.ledger.view
		}
		found[t.text] = digestText(t.shown)
		if t.observedAt.Before(began) {
			began = t.observedAt
		}
	}
	return p.ledger.view.WithTags(found, began)
}

// draft makes the entry of a promotion of what its tags and its ledger say now.
func (r *run) draft(ctx context.Context, p *promotion, start ledger.Start) (ledger.Entry, error) {
	if err := r.takeFound(ctx, p, start); err != nil {
		return ledger.Entry{}, err
	}
	record := r.recordOf(ctx, p)
	record.PreviousRecord = lastRecord(start.Entries)
	if p.ledger.drafted { // another run may have copied an entry that names the stored record, although this run cannot see it
		record.PreviousRecord = p.ledger.stored.record.PreviousRecord
	}
	if err := p.store(ctx, record); err != nil {
		return ledger.Entry{}, err
	}
	if start.Failed != nil { // the registry may have collected the blobs, which nothing names yet
		if err := p.restore(ctx); err != nil {
			return ledger.Entry{}, err
		}
	}
	p.ledger.drafted = true
	stored := p.ledger.stored
	e := ledger.Entry{
		Record: stored.blob,
		Line:   document.LineOf(stored.record, stored.blob.Digest.String(), stored.blob.Size, document.OutcomePending),
	}
	for _, t := range p.ownTags() {
		e.Tags = append(e.Tags, ledger.Tag{
			Name: t.text, Fixed: t.fixed, Found: start.Found[t.text], Back: digestText(t.before), After: p.root.Digest.String(),
		})
	}
	e.Kept, _ = r.keeps(p, start.Entries)
	return e, nil
}

// takeFound takes what the tags point to now. A tag that somebody else has moved since this run
// read it ends the run; one that a dead run has moved goes back to what it held before that.
func (r *run) takeFound(ctx context.Context, p *promotion, start ledger.Start) error {
	for _, t := range p.ownTags() {
		found := start.Found[t.text]
		if found == digestText(t.shown) || found == p.root.Digest.String() {
			continue
		}
		if t.fixed && found != "" {
			return r.taken(move{p, t}, hash(found))
		}
		return &deniedError{
			message: fmt.Sprintf("somebody else has moved the tag %s since this run read it: it %s", p.target.Reference(t.text), holding("points to", "does not exist now", hash(found))),
			hint:    "Find out who promotes there, and run it again. `concurrency: {group: promote-production}` in the workflow lets such runs wait for each other.",
		}
	}
	return r.recall(ctx, p, start.Entries)
}

// recall makes tags count as what they held before a run moved them that was interrupted: a run
// that fails goes back to that, and its record says so.
func (r *run) recall(ctx context.Context, p *promotion, entries []ledger.Entry) error {
	r.noteLeft(p, entries)
	for _, t := range p.tags {
		if !t.observed {
			continue
		}
		e, was, ok := interruptedMove(entries, t.text, digestText(t.shown))
		switch {
		case !ok, e.IsOpen() && r.isInPlace(ctx, p, e):
			t.before, t.recalled = t.shown, false
			continue
		case was.Back == digestText(t.before) && t.recalled:
			continue
		}
		before, err := transfer.Recall(ctx, t.shown, hash(was.Back))
		if errors.Is(err, registry.ErrNotFound) {
			r.note(fmt.Sprintf("Tag %s cannot be reverted to %s, which is no longer in the repository.", p.target.Reference(t.text), was.Back))
			continue
		}
		if err != nil {
			return err
		}
		t.before, t.recalled = before, true
		r.note(r.interruptedText(p, e))
	}
	return nil
}

// noteLeft names the tags that interrupted runs have left at their images and that this run does
// not move.
func (r *run) noteLeft(p *promotion, entries []ledger.Entry) {
	known := map[string]bool{}
	for _, e := range slices.Backward(entries) {
		if e.Fault != "" || e.State() == document.OutcomeFailed {
			continue
		}
		for _, t := range e.Tags {
			if !known[t.Name] && e.State() == document.OutcomeInterrupted && t.Held == t.After && t.Back != t.After && find(p.tags, t.Name) == nil {
				r.note(leftText(p, t))
			}
			known[t.Name] = true
		}
	}
}

func leftText(p *promotion, t ledger.Tag) string {
	revert := "delete it"
	if t.Back != "" {
		revert = "point it to " + t.Back + " again"
	}
	return fmt.Sprintf("An interrupted run has left tag %s at %s, and this run does not move it. Promote that tag, or %s.", p.target.Reference(t.Name), t.After, revert)
}

// isInPlace reports whether every tag of an open entry points to what its run moved it to. All that
// is left to do then is to say so in the ledger.
func (r *run) isInPlace(ctx context.Context, p *promotion, e ledger.Entry) bool {
	for _, t := range e.Tags {
		if p.pointsTo(ctx, t.Name) != t.After {
			return false
		}
	}
	return e.Line.Release == "" || r.membersOf(p)(ctx, e)
}

// pointsTo is the digest that a tag was seen to point to, or that it points to now if it is none of
// the promotion's; empty: none, or it cannot be read.
func (p *promotion) pointsTo(ctx context.Context, tag string) string {
	if own := find(p.tags, tag); own != nil && own.observed {
		return digestText(own.shown)
	}
	now, err := p.target.ReadTag(ctx, tag)
	if err != nil || !now.Exists {
		return ""
	}
	return now.Manifest.Digest.String()
}

// interruptedText says of an entry that a run has left tags half moved. A run that does not wait for
// others cannot tell whether that one is dead.
func (r *run) interruptedText(p *promotion, e ledger.Entry) string {
	begun := "begun " + e.Begun.UTC().Format("2006-01-02 15:04 UTC")
	if e.Run.URL != "" {
		begun += ", " + registry.Cut(e.Run.URL, 2*maxWords)
	}
	switch {
	case !r.keepsRecords() && e.IsOpen():
		return fmt.Sprintf("A run that moves tags of %s to %s has not ended, or was interrupted (%s).", p.target.Name(), e.Line.Digest, begun)
	case r.keepsRecords() && e.Line.Digest == p.root.Digest.String():
		return fmt.Sprintf("A run was interrupted while it moved tags of %s to %s (%s); this run finishes it.", p.target.Name(), e.Line.Digest, begun)
	}
	return fmt.Sprintf("A run was interrupted while it moved tags of %s to %s (%s).", p.target.Name(), e.Line.Digest, begun)
}

// interruptedMove is the newest entry about a tag, if that is open or interrupted and has moved the
// tag to what it points to.
func interruptedMove(entries []ledger.Entry, tag, points string) (ledger.Entry, ledger.Tag, bool) {
	for _, e := range slices.Backward(entries) {
		at := slices.IndexFunc(e.Tags, func(t ledger.Tag) bool { return t.Name == tag })
		if e.Fault != "" || at < 0 || e.State() == document.OutcomeFailed {
			continue
		}
		t := e.Tags[at]
		if !e.State().Good() && t.Found == points && t.After != points {
			continue // it has not come to this tag
		}
		return e, t, !e.State().Good() && t.After == points && t.Back != points
	}
	return ledger.Entry{}, ledger.Tag{}, false
}

// resolveOne resolves the entries of dead runs about tags that need not move any more, and names
// the record of what is in place.
func (r *run) resolveOne(ctx context.Context, p *promotion) error {
	view, resolved, err := p.ledger.ledger.Resolve(ctx, p.ledger.view, p.ownTagNames())
	if err != nil {
		return err
	}
	p.ledger.view = view
	r.tellResolved(p, resolved)
	if line, known := p.ledger.recorded(p.root.Digest.String()); known {
		p.ledger.digest, p.ledger.listed = line.Record, true
	}
	return nil
}

// tellResolved says how runs have ended that did not say so themselves.
func (r *run) tellResolved(p *promotion, resolved []ledger.Entry) {
	for _, e := range resolved {
		r.note(fmt.Sprintf("The ledger %s did not say how a promotion of %s had ended; it says now: %s.", p.ledger.ledger.Reference(), e.Line.Digest, e.State()))
	}
}

// unsaid reports whether an earlier attempt of this run has moved every tag, and the ledger says
// that it failed or was interrupted.
func (p *promotion) unsaid() bool {
	entries := p.ledger.view.Entries()
	if len(entries) == 0 || !p.continues() {
		return false
	}
	last := entries[len(entries)-1]
	return last.Fault == "" && !last.State().Good() && !last.IsOpen() && last.Line.Digest == p.root.Digest.String()
}

// keeps chooses the tag that keeps the image that is replaced, as far as the environment keeps any.
func (r *run) keeps(p *promotion, entries []ledger.Entry) (ledger.Kept, bool) {
	t := p.firstMoving()
	if t == nil || r.request.Mode == Rollback || p.ledger.ledger == nil || p.ledger.ledger.Key().Kept(1) == "" || t.before.Digest() == p.root.Digest {
		return ledger.Kept{}, false
	}
	return ledger.Keep(entries, digestText(t.before), r.request.Keep)
}

// toKeep is the image that is replaced and that a tag of the program's own is to keep.
func (r *run) toKeep(p *promotion) (kept ledger.Kept, held registry.Manifest, needed bool) {
	if kept, needed = r.keeps(p, p.ledger.view.Entries()); !needed {
		return kept, held, false
	}
	held, existed := p.firstMoving().before.Held()
	return kept, held, existed && held.Raw != nil
}

// keep points a tag of the program's own to an image, so that neither a clean-up nor a registry that
// drops overwritten images takes it.
func (p *promotion) keep(ctx context.Context, kept ledger.Kept, held registry.Manifest) error {
	_, err := p.target.PutManifest(ctx, p.ledger.ledger.Key().Kept(kept.Slot), held)
	if errors.Is(err, registry.ErrTagImmutable) {
		return nil // nothing is overwritten there, and nothing needs to be kept
	}
	return err
}

// finishTime is how long the writing of outcomes may still take once the run has been ended.
const finishTime = 2 * time.Second

// check looks, before a wave of tags is written or reverted, whether the run's entries are still
// open.
func (r *run) check(ctx context.Context) error {
	g, ctx := asking(ctx)
	for _, p := range r.promotions {
		if p.ledger.session != nil {
			g.Go(func() error { return p.inTurn(ctx, func() error { return p.ledger.session.Check(ctx) }) })
		}
	}
	return g.Wait()
}

// finishAll writes what became of each promotion that has an entry, and attaches its record to the
// image beside that.
func (r *run) finishAll(ctx context.Context, moved error) error {
	ctx, cancel := queue.Outlive(ctx, finishTime)
	defer cancel()
	g, _ := group(ctx) // one ledger's failure does not end the others' writes
	g.SetLimit(movesAtOnce)
	for _, p := range r.promotions {
		if p.ledger.session != nil {
			g.Go(func() error { return p.inTurn(ctx, func() error { return r.finishOne(ctx, p, moved) }) })
			if moved == nil {
				g.Go(func() error { r.attachRecord(ctx, p); return nil })
			}
		}
	}
	err := g.Wait()
	r.shareRecords()
	return err
}

// finishFailed is finishAll for a run that has failed: that the ledger could not be told is a notice.
func (r *run) finishFailed(ctx context.Context, failed error) {
	if err := r.finishAll(ctx, failed); err != nil {
		r.note("The ledger could not be told that this failed; the next promotion finds it out: " + err.Error())
	}
}

func (r *run) finishOne(ctx context.Context, p *promotion, moved error) error {
	held, state := map[string]string{}, document.OutcomePromoted
	if r.request.Mode == Rollback {
		state = document.OutcomeRolledBack
	}
	for _, t := range p.tags {
		held[t.text] = p.root.Digest.String()
	}
	if moved != nil {
		var err error
		if held, err = p.ledger.session.Held(ctx); err != nil {
			return err
		}
		p.sawTags(held)
		state = p.failedState(held)
	}
	err := p.ledger.session.Finish(ctx, state, held)
	if err != nil {
		r.lookAgain(ctx, p)
	}
	p.ledger.listed = err == nil && state.Good()
	return err
}

// lookAgain reads the tags of a promotion that another run has stood in the way of, for the report.
func (r *run) lookAgain(ctx context.Context, p *promotion) {
	held := map[string]string{}
	for _, name := range p.ownTagNames() {
		now, err := p.target.ReadTag(ctx, name)
		if err != nil {
			return // the report says what was seen before
		}
		held[name] = ""
		if now.Exists {
			held[name] = now.Manifest.Digest.String()
		}
	}
	p.sawTags(held)
}

// sawTags takes what the tags were last seen to point to: another run may have moved them.
func (p *promotion) sawTags(held map[string]string) {
	for _, t := range p.ownTags() {
		now, read := held[t.text]
		if !read {
			continue
		}
		t.lastSeen = &now
		switch {
		case t.state == document.TagMoved && now != t.after:
			t.state, t.after, t.note = document.TagTaken, now, "another run has moved it since"
		case t.state == document.TagTaken:
			t.after = now
		}
	}
}

// failedState is how a promotion has ended that did not move all its tags.
func (p *promotion) failedState(held map[string]string) document.Outcome {
	for _, t := range p.tags {
		if held[t.text] == p.root.Digest.String() && digestText(t.before) != held[t.text] {
			return document.OutcomeInterrupted
		}
	}
	return document.OutcomeFailed
}

// recallAll takes what the ledgers say of interrupted runs.
func (r *run) recallAll(ctx context.Context) error {
	for _, p := range r.promotions {
		if p.ledger.ledger == nil {
			continue
		}
		if err := r.recall(ctx, p, p.ledger.view.Entries()); err != nil {
			return err
		}
	}
	return nil
}

// prepareRecords has the records of images that stay in their repositories say what is attached to
// them.
func (r *run) prepareRecords() {
	for _, p := range r.promotions {
		p.ledger.listing = r.keepsRecords() && p.ledger.ledger != nil && p.moves() && p.source.Same(p.target) && r.request.Attachments
	}
}

// hash is a digest that was checked, or none.
func hash(text string) v1.Hash {
	h, _ := v1.NewHash(text) // empty: the tag did not exist
	return h
}
