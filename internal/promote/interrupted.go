package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// interrupted is a release that was ended while its tags moved.
type interrupted struct {
	head  *ledger.Journal
	repo  *registry.Repository // the head's
	pages []found
}

// found is a repository's part of the journal.
type found struct {
	repo  *registry.Repository
	place ledger.Place
	text  *ledger.Journal
}

// lookBack finds releases that were ended while they moved tags that this run
// moves. From here on a tag counts as what it held before: the run either goes on
// where the same release stopped, or puts the other one back first.
func (r *run) lookBack(ctx context.Context) error {
	own := r.release()
	type release struct {
		name string
		head ledger.Place
	}
	seen := map[release]bool{}
	for _, m := range r.moves() {
		if m.journal == nil || m.journal.Done || seen[release{m.journal.Release, m.journal.Head}] {
			continue
		}
		seen[release{m.journal.Release, m.journal.Head}] = true
		i, err := r.follow(ctx, m)
		if err != nil {
			return err
		}
		if i == nil {
			continue
		}
		if err := r.recall(ctx, i); err != nil {
			return err
		}
		if m.journal.Release == own {
			r.resumed = append(r.resumed, i)
			r.note("An earlier run of the same release was ended while its tags moved (" + i.described() + "); this run finishes it.")
		} else {
			r.interrupted = append(r.interrupted, i)
		}
	}
	return nil
}

// follow reads the other parts of a journal. It is nil if the release is over. A
// part counts if it says itself that it belongs to this head, and to what is under
// way: one that an earlier release has left there does not.
func (r *run) follow(ctx context.Context, m move) (*interrupted, error) {
	head, repo, err := r.journalAt(ctx, m, m.journal.Head)
	if err != nil || head == nil || head.Release != m.journal.Release || head.Head != m.journal.Head || head.Done {
		return nil, err
	}
	i := &interrupted{head: head, repo: repo}
	for _, place := range head.Places {
		text, repo, err := r.journalAt(ctx, m, place)
		if err != nil {
			return nil, err
		}
		if text != nil && !text.Done && text.Release == head.Release && text.Head == head.Head && text.Begun.Equal(head.Begun) {
			i.pages = append(i.pages, found{repo, place, text})
		}
	}
	return i, nil
}

// journal is what was found, to be closed.
func (i *interrupted) journal() *journal {
	j := &journal{head: *i.head, repo: i.repo}
	for _, f := range i.pages {
		j.pages = append(j.pages, page{repo: f.repo, place: f.place, text: *f.text})
	}
	return j
}

// journalAt is the journal of a place: one that was read already, or one that a
// journal names. A journal is a stranger's text, so that it can lead to registries
// only that the run writes to anyway.
func (r *run) journalAt(ctx context.Context, from move, place ledger.Place) (*ledger.Journal, *registry.Repository, error) {
	for _, m := range r.moves() {
		if m.target.Name() == place.Repository && m.text == place.Tag && m.looked {
			return m.journal, m.target, nil
		}
	}
	repo, err := r.openPlace(ctx, from, place.Repository)
	if err != nil {
		return nil, nil, fmt.Errorf("follow the journal of %s: %w", from.target.Reference(from.text), err)
	}
	j, err := ledger.ReadJournal(ctx, repo, place.Tag)
	return j, repo, err
}

func (r *run) openPlace(ctx context.Context, from move, text string) (*registry.Repository, error) {
	forged := fmt.Sprintf("If there was no such release, somebody else has written %s: delete that tag, and find out who may write there.",
		from.target.Reference(ledger.TagFor(from.text)))
	repository, err := name.NewRepository(text)
	if err != nil {
		return nil, &deniedError{message: fmt.Sprintf("it names %q, which is no repository", registry.Cut(text, maxWords)), hint: forged}
	}
	for _, item := range r.request.Items {
		for _, t := range item.Targets {
			if t.Repository.RegistryStr() == repository.RegistryStr() {
				return r.client.Open(ctx, sideTarget, repository, r.access())
			}
		}
	}
	return nil, &deniedError{
		message: fmt.Sprintf("a release that was ended midway also moved tags in %s, which this run does not write to", repository.Name()),
		hint:    "Run that release again, whole: it then finishes, or puts itself back. " + forged,
	}
}

// recall makes the run's own tags count as what they held before that release.
func (r *run) recall(ctx context.Context, i *interrupted) error {
	before := map[string]ledger.Move{}
	for _, f := range i.pages {
		for _, m := range f.text.Moves {
			before[f.repo.Reference(m.Tag)] = m
		}
	}
	for _, m := range r.moves() {
		was, ok := before[m.target.Reference(m.text)]
		if !ok || digestText(m.before) != was.After {
			continue
		}
		o, err := transfer.Recall(ctx, m.target, m.text, hash(was.Before))
		if errors.Is(err, registry.ErrNotFound) {
			r.note(fmt.Sprintf("Tag %s cannot be put back to %s, which is no longer in the repository.", m.target.Reference(m.text), was.Before))
			continue
		}
		if err != nil {
			return err
		}
		m.before, m.recalled = o, true
	}
	return nil
}

// hash is a digest that was checked, or none.
func hash(text string) v1.Hash {
	h, _ := v1.NewHash(text) // empty: the tag did not exist
	return h
}

func (i *interrupted) described() string {
	text := "begun " + i.head.Begun.UTC().Format("2006-01-02 15:04 UTC")
	if i.head.Run != "" {
		text += ", " + registry.Cut(i.head.Run, 2*maxWords)
	}
	return text
}

// restore puts back what releases that were ended midway have moved, before
// anything else is written.
func (r *run) restore(ctx context.Context) error {
	if len(r.interrupted) == 0 {
		return nil
	}
	r.Step("Put back")
	for _, i := range r.interrupted {
		if err := r.await(ctx, i); err != nil {
			return err
		}
		if err := r.undo(ctx, i); err != nil {
			return err
		}
	}
	for _, m := range r.moves() {
		m.recalled = false
	}
	if err := r.observe(ctx); err != nil {
		return err
	}
	for _, i := range r.resumed {
		if err := r.recall(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// settling is how long a release is believed to be under way still. Nobody tells
// whether the run that moves its tags is alive; moving them takes seconds.
const settling = 30 * time.Second

// await waits until a release that may be under way has either come to its end or
// shown no sign of it for long enough.
func (r *run) await(ctx context.Context, i *interrupted) error {
	if r.request.Job.RunID != "" && i.head.RunID == r.request.Job.RunID {
		return nil // an earlier attempt of this very run
	}
	patience := settling
	if r.request.Settling > 0 {
		patience = r.request.Settling
	}
	pause := max(patience/10, time.Millisecond)
	for left := min(patience-time.Since(i.head.Written), patience); left > 0; left -= pause {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		now, err := ledger.ReadJournal(ctx, i.repo, i.head.Head.Tag)
		if err != nil {
			return err
		}
		if now != nil && !now.Done && now.Release == i.head.Release && now.Written.After(i.head.Written) {
			i.head, left = now, patience // somebody finishes it
		}
		if now == nil || now.Release != i.head.Release || now.Done {
			return &deniedError{
				message: fmt.Sprintf("another release was moving the same tags (%s) and has come to its end meanwhile", i.described()),
				hint:    "Look at what the tags hold now, then run this promotion again. `concurrency: {group: promote-production}` in the workflow lets such runs wait for each other.",
			}
		}
	}
	return nil
}

func (r *run) undo(ctx context.Context, i *interrupted) error {
	r.note(fmt.Sprintf("A release was ended while its tags moved (%s): they are put back first.", i.described()))
	for _, f := range i.pages {
		for _, m := range f.text.Moves {
			if err := r.undoMove(ctx, f.repo, m); err != nil {
				return err
			}
		}
	}
	return i.journal().close(ctx)
}

func (r *run) undoMove(ctx context.Context, repo *registry.Repository, m ledger.Move) error {
	restored, err := transfer.Undo(ctx, repo, m.Tag, hash(m.Before), hash(m.After))
	reference := repo.Reference(m.Tag)
	var taken *transfer.TakenError
	var gone *transfer.GoneError
	switch {
	case err == nil && restored == transfer.Back && m.Before == "":
		r.note(fmt.Sprintf("Removed the tag %s again, which did not exist before.", reference))
	case err == nil && restored == transfer.Back:
		r.note(fmt.Sprintf("Put back %s: it holds %s again.", reference, m.Before))
	case errors.As(err, &taken):
		r.note(fmt.Sprintf("Let %s alone: it %s, which is neither what it was before nor what it was moved to.", reference, holding("holds", "does not exist", taken.Holds)))
	case errors.As(err, &gone):
		r.note(fmt.Sprintf("Let %s alone: %v.", reference, err))
	case err != nil && m.Before == "" && restored == transfer.Left:
		r.note(fmt.Sprintf("The tag %s, which did not exist before, could not be removed (%v); delete it by hand.", reference, err))
	case err != nil:
		return fmt.Errorf("put back what an interrupted release moved: %w", err)
	}
	return nil
}

// lookAgain refuses to go on where another release has begun to move the same tags
// since this run read their journals, and has not come to its end: its journal would
// be overwritten.
func (r *run) lookAgain(ctx context.Context) error {
	if !slices.ContainsFunc(r.moves(), func(m move) bool { return m.looked && time.Since(m.lookedAt) > fresh }) {
		return nil
	}
	if err := r.readJournals(ctx); err != nil {
		return err
	}
	own := r.release()
	for _, m := range r.moves() {
		if m.journal == nil || m.journal.Done || m.journal.Release == own {
			continue
		}
		i, err := r.follow(ctx, m)
		if err != nil {
			return err
		}
		if i != nil {
			return &deniedError{
				message: fmt.Sprintf("another release has begun to move the same tags meanwhile (%s)", i.described()),
				hint:    "Run this promotion again once the other has come to its end. `concurrency: {group: promote-production}` in the workflow lets such runs wait for each other.",
			}
		}
	}
	return nil
}

func (r *run) readJournals(ctx context.Context) error {
	g, ctx := group(ctx)
	for _, m := range r.moves() {
		if !m.fixed {
			g.Go(func() error { return m.readJournal(ctx) })
		}
	}
	return g.Wait()
}

func (m move) readJournal(ctx context.Context) (err error) {
	m.lookedAt = time.Now()
	m.journal, err = ledger.ReadJournal(ctx, m.target, m.text)
	m.looked = err == nil
	return err
}
