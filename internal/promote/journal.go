package promote

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
)

// release names what the run brings where: a run that is to bring the same
// finishes what another left undone.
func (r *run) release() string {
	var lines []string
	for _, m := range r.moves() {
		lines = append(lines, m.target.Reference(m.text)+" "+m.root.Digest.String()+"\n")
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// journal is what the run notes in the registry while its tags move. Nil is a
// journal that is not needed: one tag alone moves or does not.
type journal struct {
	head  ledger.Journal
	repo  *registry.Repository // the head's
	pages []page
}

// page is one repository's part under one tag.
type page struct {
	repo  *registry.Repository
	place ledger.Place
	text  ledger.Journal
	keep  []registry.Manifest
}

// openJournal notes what is about to move, the head first: nothing of a release
// without a head has moved.
func (r *run) openJournal(ctx context.Context) (*journal, error) {
	j := r.newJournal()
	if j == nil {
		return nil, nil
	}
	if err := r.lookAgain(ctx); err != nil {
		return nil, err
	}
	head := j.pages[0]
	if err := ledger.WriteJournal(ctx, head.repo, head.place.Tag, head.text, head.keep...); err != nil {
		return nil, err
	}
	g, inner := group(ctx)
	g.SetLimit(movesAtOnce)
	for _, p := range j.pages[1:] {
		if r.stands(p) {
			continue
		}
		g.Go(func() error { return ledger.WriteJournal(inner, p.repo, p.place.Tag, p.text, p.keep...) })
	}
	if err := g.Wait(); err != nil {
		if len(r.resumed) == 0 {
			_ = j.close(ctx) // nothing has moved: if this fails too, the next run finds that out
		}
		return nil, err
	}
	return j, nil
}

// stands reports whether a page is there already, as an earlier run of the same
// release wrote it: what it is kept under may be a tag that is written once.
func (r *run) stands(p page) bool {
	for _, i := range r.resumed {
		for _, f := range i.pages {
			if f.repo.Same(p.repo) && f.place == p.place && f.text.Begun.Equal(p.text.Begun) && slices.Equal(f.text.Moves, p.text.Moves) {
				return f.text.Head == p.text.Head
			}
		}
	}
	return false
}

// newJournal has a page for every moving tag that changes, as any of them may be
// what another run moves next.
func (r *run) newJournal() *journal {
	changing := slices.DeleteFunc(r.moves(), func(m move) bool { return m.unchanged() })
	named := slices.ContainsFunc(changing, func(m move) bool { return !m.fixed })
	if len(changing) < 2 || !named {
		return nil
	}
	now := time.Now().UTC()
	text := ledger.Journal{Release: r.release(), Begun: now, Written: now, Run: r.request.Job.URL, RunID: r.request.Job.RunID}
	for _, i := range r.resumed {
		text.Begun = i.head.Begun
	}
	j := &journal{}
	seen := map[string]bool{}
	for _, m := range changing {
		if !seen[m.target.Name()] {
			seen[m.target.Name()] = true
			j.pages = append(j.pages, pagesOf(m.target, changing, text)...)
		}
	}
	// The same release has the same head, in whatever order its images are named.
	slices.SortFunc(j.pages, func(a, b page) int {
		return cmp.Or(cmp.Compare(a.place.Repository, b.place.Repository), cmp.Compare(a.place.Tag, b.place.Tag))
	})
	j.appoint()
	return j
}

// pagesOf are one repository's: each says everything that changes there.
func pagesOf(repo *registry.Repository, changing []move, text ledger.Journal) (pages []page) {
	var keep []registry.Manifest
	var keys []string
	for _, m := range changing {
		if !m.target.Same(repo) {
			continue
		}
		text.Moves = append(text.Moves, ledger.Move{Tag: m.text, Fixed: m.fixed, Before: digestText(m.before), After: m.root.Digest.String()})
		if held, existed := m.before.Held(); existed {
			keep = append(keep, held)
		}
		keep = append(keep, m.root)
		if !m.fixed {
			keys = append(keys, m.text)
		}
	}
	if len(keys) == 0 {
		keys = []string{text.Moves[0].Tag} // nobody looks there but who follows the head
	}
	for _, key := range keys {
		pages = append(pages, page{repo: repo, place: ledger.Place{Repository: repo.Name(), Tag: key}, text: text, keep: keep})
	}
	return pages
}

// appoint makes the first page of a moving tag the head, which knows all places.
func (j *journal) appoint() {
	at := slices.IndexFunc(j.pages, func(p page) bool {
		return slices.ContainsFunc(p.text.Moves, func(m ledger.Move) bool { return m.Tag == p.place.Tag && !m.Fixed })
	})
	j.pages[0], j.pages[at] = j.pages[at], j.pages[0]
	seen := map[string]bool{}
	var places []ledger.Place
	for _, p := range j.pages {
		if !seen[p.place.Repository] {
			seen[p.place.Repository] = true
			places = append(places, p.place)
		}
	}
	for i := range j.pages {
		j.pages[i].text.Head = j.pages[0].place
	}
	j.pages[0].text.Places = places
	j.head, j.repo = j.pages[0].text, j.pages[0].repo
}

// closingTime is how long the note that a release is over may still take once the
// run has been ended.
const closingTime = 2 * time.Second

// close notes that the release is over: from here on it stands as it is.
func (j *journal) close(ctx context.Context) error {
	ctx, cancel := queue.Outlive(ctx, closingTime)
	defer cancel()
	if err := closePage(ctx, j.repo, j.head.Head, j.head); err != nil {
		return err
	}
	g, inner := group(ctx)
	g.SetLimit(movesAtOnce)
	for _, p := range j.pages {
		if p.repo.Same(j.repo) && p.place == j.head.Head {
			continue
		}
		// The head has said it. Where every page says it too, who may write to the
		// head's repository cannot open the release again for the others.
		g.Go(func() error { _ = closePage(inner, p.repo, p.place, p.text); return nil })
	}
	return g.Wait()
}

func closePage(ctx context.Context, repo *registry.Repository, at ledger.Place, text ledger.Journal) error {
	text.Done, text.Moves, text.Places = true, nil, nil
	return ledger.WriteJournal(ctx, repo, at.Tag, text)
}

// finish closes the journal of a run whose tags have moved, or are as they were, and
// says how the run has ended. What was left otherwise is for the next run to put back.
func (r *run) finish(ctx context.Context, j *journal, moved error, begun []move) error {
	noted := j != nil || len(r.resumed) > 0
	if moved != nil && noted && slices.ContainsFunc(begun, move.isOpen) {
		r.note("The next promotion to these tags puts back what could not be put back now, or finishes this one if it is run again.")
		return moved
	}
	err := r.closeAll(ctx, j)
	if moved != nil { // what is as it was, the next run cannot undo
		return moved
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("every tag has moved, but the registry could not be told that the release is complete; run it again, or the next promotion puts it back: %w", err)
}

// closeAll closes the run's own journal, and that of the run that it finishes where
// this is another.
func (r *run) closeAll(ctx context.Context, j *journal) error {
	var all []error
	for _, i := range r.resumed {
		if j == nil || i.head.Head != j.head.Head {
			all = append(all, i.journal().close(ctx))
		}
	}
	if j != nil {
		all = append(all, j.close(ctx))
	}
	return errors.Join(all...)
}

// isOpen reports whether the tag holds, or may come to hold, what it should not: it
// was left so, or its write was never answered.
func (m move) isOpen() bool {
	return m.state == document.TagLeft || m.state == document.TagUnknown ||
		m.state == document.TagPending && m.begun && !m.refused
}
