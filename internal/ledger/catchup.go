package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Sources is where records may be that no line names.
type Sources struct {
	Tags      []string        // of the repository
	Referrers []v1.Descriptor // of an image: what is not among them is looked for by tags alone
	Holds     string          // digest that the first moving tag holds now; empty: not known
}

// CaughtUp is what a ledger lacked.
type CaughtUp struct {
	Lines      []document.Line // that were added, or whose outcome is known by now
	Rebuilt    bool            // there was no ledger, although there were records
	Unreadable []Unreadable
}

// Unreadable is what stands where a record should be.
type Unreadable struct {
	Reference string
	Err       error
}

// maxBehind is how many records are read in one go.
const maxBehind = 2000

// CatchUp adds to a page, without writing it, the records that no line names: their
// run could not write the line, a rival took it away, or the ledger is lost. Such a
// record counts for nothing (unconfirmed) unless a later line found its image in
// place, or the tag holds it now. [Book.Append] and [Book.Write] write them.
//
// It takes no request if the tags show none, and two for each record else.
func (b *Book) CatchUp(ctx context.Context, p *Page, s Sources) (*Page, CaughtUp, error) {
	page, err := b.resume(ctx, p, s.Tags)
	if err != nil {
		return p, CaughtUp{}, err
	}
	exists := page.Exists()
	records, err := b.behind(ctx, page, s)
	if err != nil {
		return p, CaughtUp{}, err
	}
	var caught CaughtUp
	for _, f := range records {
		if f.err != nil {
			caught.Unreadable = append(caught.Unreadable, Unreadable{b.repo.Reference(f.ref), f.err})
			continue
		}
		e, err := newEntry(f.line(document.OutcomeUnconfirmed), nil)
		if err != nil {
			return p, CaughtUp{}, err
		}
		if page.find(e.Record) < 0 {
			page = page.insert(e)
			caught.Lines = append(caught.Lines, e.Line)
		}
	}
	page = page.confirm(s.Holds, &caught)
	if !exists && len(page.entries) > 0 {
		page.rebuilt, caught.Rebuilt = true, true
	}
	return page, caught, nil
}

// resume goes on with the newest version, where the ledger's tag cannot be changed, or
// behind the newest full part, if the ledger itself is gone.
func (b *Book) resume(ctx context.Context, p *Page, tags []string) (*Page, error) {
	full, newest := 0, version{}
	for _, tag := range tags {
		full = max(full, partOf(b.key, tag))
		v := versionOf(b.key, tag)
		b.know(v)
		if newest.before(v) {
			newest = v
		}
	}
	switch {
	case p.Exists() && p.version().before(newest), !p.Exists() && newest.part > full:
		return b.withVersion(ctx, p, newest)
	case p.Exists() || full == 0 || full >= maxParts:
		return p, nil
	}
	last, err := b.read(ctx, partTag(b.key, full))
	if err != nil || !last.Exists() {
		return p, err
	}
	return &Page{part: last.number() + 1, older: last.digest.String(), settled: last.settled.with(last.recordTags())}, nil
}

func (b *Book) know(v version) {
	b.serials[v.part] = max(b.serials[v.part], v.serial)
	if b.known.before(v) {
		b.known = v
	}
}

// withVersion is a version, with what the page has besides it.
func (b *Book) withVersion(ctx context.Context, p *Page, v version) (*Page, error) {
	now, err := b.read(ctx, versionTag(b.key, v))
	if err != nil || !now.Exists() {
		return p, err
	}
	if now.number() != v.part {
		return p, b.fail("read ledger", versionTag(b.key, v), fmt.Errorf("it is part %d of the ledger", now.number()), "Somebody has altered the ledger.")
	}
	now.serial = v.serial
	if p.number() == now.number() && p.older == now.older {
		return union(now, p), nil
	}
	return now, nil
}

// behind reads the records that no line names.
func (b *Book) behind(ctx context.Context, p *Page, s Sources) ([]*found, error) {
	refs, err := b.unnamed(ctx, p, s.Tags)
	if err != nil {
		return nil, err
	}
	more, err := b.unlisted(ctx, p, s.Referrers)
	if err != nil {
		return nil, err
	}
	refs = append(refs, more...)
	if len(refs) > maxBehind {
		return nil, b.fail("read records", ledgerTag(b.key), fmt.Errorf("%d records are in no line, more than the %d that can be", len(refs), maxBehind), "")
	}
	var mu sync.Mutex
	var records []*found
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, ref := range refs {
		g.Go(func() error {
			f, err := b.lookUp(ctx, ref)
			if f == nil || err != nil {
				return err // gone meanwhile
			}
			mu.Lock()
			defer mu.Unlock()
			records = append(records, f)
			return nil
		})
	}
	err = g.Wait()
	slices.SortFunc(records, func(a, b *found) int { return byTime(entry{Line: a.line("")}, entry{Line: b.line("")}) })
	return records, err
}

// unnamed are the tags of records that no line names. Older parts are read only
// where the seal does not account for all of them.
func (b *Book) unnamed(ctx context.Context, p *Page, tags []string) ([]string, error) {
	named := map[string]bool{}
	for _, tag := range p.recordTags() {
		named[tag] = true
	}
	without := func() []string {
		return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !isRecordTag(b.key, tag) || named[tag] })
	}
	left := without()
	for p.older != "" && len(left) > 0 && (seal{}).with(left) != p.settled {
		older, err := b.before(ctx, p)
		if err != nil {
			return nil, err
		}
		p = older
		for _, tag := range p.recordTags() {
			named[tag] = true
		}
		left = without()
	}
	if p.older != "" {
		return nil, nil // the seal accounts for all that is left
	}
	return left, nil
}

// unlisted are the records of this ledger among an image's referrers that no part
// lists, by the digests of their manifests.
func (b *Book) unlisted(ctx context.Context, p *Page, referrers []v1.Descriptor) ([]string, error) {
	refs := map[string]string{} // by record
	for _, d := range referrers {
		record := d.Annotations[notes+"record"]
		if d.ArtifactType == RecordType && d.Annotations[notes+"ledger"] == b.key && p.find(record) < 0 {
			refs[record] = d.Digest.String()
		}
	}
	if len(refs) == 0 {
		return nil, nil
	}
	parts, err := b.parts(ctx, p, func(int) bool { return false })
	for _, part := range parts {
		for _, e := range part.entries {
			delete(refs, e.Record)
		}
	}
	return slices.Sorted(maps.Values(refs)), err
}

// confirm finds out about lines whose outcome nobody has written.
func (p *Page) confirm(holds string, caught *CaughtUp) *Page {
	next := *p
	next.entries = slices.Clone(p.entries)
	for i, e := range next.entries {
		if e.Outcome != document.OutcomeUnconfirmed || e.Fault != "" || !next.proves(i, holds) {
			continue
		}
		line := e.Line
		line.Moved = time.Now().UTC() // at the latest
		if line.Outcome = document.OutcomePromoted; line.Mode == document.ModeRollback {
			line.Outcome = document.OutcomeRolledBack
		}
		known, err := newEntry(line, e.layer.Annotations)
		if err != nil {
			continue
		}
		next.entries[i], next.changed = known, true
		caught.note(line)
	}
	return &next
}

// note takes a line in, in place of what it said before.
func (c *CaughtUp) note(line document.Line) {
	for i := range c.Lines {
		if c.Lines[i].Record == line.Record {
			c.Lines[i] = line
			return
		}
	}
	c.Lines = append(c.Lines, line)
}

// proves reports whether a line's image was seen in its place: by a later run, before
// any that is known to have brought another, or by whoever looks now.
func (p *Page) proves(i int, holds string) bool {
	e := p.entries[i]
	if e.PreviousDigest == e.Digest {
		return false // it was there before
	}
	for _, later := range p.entries[i+1:] {
		if later.Fault != "" {
			continue
		}
		if later.PreviousDigest == e.Digest {
			return true
		}
		if later.Outcome.Good() || later.Digest == e.Digest { // which found something else, and brings the image itself
			return false
		}
	}
	return holds == e.Digest
}
