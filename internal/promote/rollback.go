package promote

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// goBack finds the images that a rollback goes back to. From there on it is a
// promotion within the repository.
func (r *run) goBack(ctx context.Context) error {
	if r.request.Mode != Rollback {
		return nil
	}
	r.Step("Look back")
	if err := r.readPast(ctx); err != nil {
		return err
	}
	var err error
	switch {
	case r.request.To.Tag != "":
		err = r.backToTag(ctx)
	case r.request.To.Digest.Hex != "":
		err = r.backToDigest(ctx)
	default:
		err = r.backToPrevious(ctx)
	}
	if err != nil {
		return err
	}
	r.promotions = slices.DeleteFunc(r.promotions, func(p *promotion) bool { return p.past.to == "" })
	r.images = r.images[:0]
	for _, p := range r.promotions {
		p.item.Source.Digest = hash(p.past.to)
		p.root.Digest = p.item.Source.Digest
		p.item.Source.Text = p.target.Reference(p.past.to)
		r.images = append(r.images, p.image)
		r.Info(p.describeBack())
	}
	return nil
}

// backToPrevious undoes what came last: of several images, those that the newest
// release brought. An image that it did not change stays.
func (r *run) backToPrevious(ctx context.Context) error {
	if r.backAsBefore() || r.backFromMidway() || r.backFromDrift() {
		return nil
	}
	var newest *promotion
	for _, p := range r.promotions {
		if newest == nil || p.broughtAt().After(newest.broughtAt()) {
			newest = p
		}
	}
	for _, p := range r.promotions {
		if !p.cameWith(newest) {
			r.note(fmt.Sprintf("%s stays as it is: what is undone did not change it.", p.called()))
			continue
		}
		if !p.backOne() {
			return r.nowhere(ctx, p, p.whyNowhere())
		}
		if p.past.brought == nil {
			r.note(fmt.Sprintf("No record says how %s came to %s: it is what the first recorded promotion found there.", p.past.to, p.place()))
		}
	}
	return nil
}

// whyNowhere says why there is no image before.
func (p *promotion) whyNowhere() string {
	if _, known := p.top(); known {
		return "what " + p.place() + " held before was rolled back from, or no record tells"
	}
	return "no record tells what " + p.place() + " held before"
}

// backAsBefore goes where an earlier attempt of this run went, once that has moved a tag:
// all of its records are then there. Until then everything is as that attempt found it.
func (r *run) backAsBefore() bool {
	found := false
	if !slices.ContainsFunc(r.promotions, func(p *promotion) bool { return p.earlier != nil && p.holds() == p.earlier.Digest }) {
		return false
	}
	for _, p := range r.promotions {
		if p.earlier != nil {
			p.goTo(p.earlier.Digest)
			found = true
		}
	}
	return found
}

// backFromMidway undoes a promotion that was ended midway, and brings a rollback to its
// end, once that has moved a tag. Until then everything is as it was.
func (r *run) backFromMidway() bool {
	moved := func(p *promotion) bool {
		t := p.firstMoving()
		return p.past.midway != "" && t != nil && digestText(t.shown) == p.past.midway
	}
	if !slices.ContainsFunc(r.promotions, moved) {
		return false
	}
	found := false
	for _, p := range r.promotions {
		current, known := p.past.state.Current()
		switch {
		case p.past.midway == "" && !r.finishesRelease(p):
			continue
		case p.past.midway == "":
		case p.wasGoingTo(p.past.midway):
			p.goTo(p.past.midway)
		case !moved(p):
			continue // it is as it was
		case known:
			p.goTo(current.Digest)
		case p.past.before != "":
			p.goTo(p.past.before)
		default:
			continue
		}
		found = true
		r.note(p.midwayText())
	}
	return found
}

// midwayText says what becomes of tags that a run has left half moved.
func (p *promotion) midwayText() string {
	if was := cmp.Or(p.past.midway, p.past.to); was != p.past.to {
		return fmt.Sprintf("A run was interrupted while it moved the tags of %s to %s; this rollback moves them to %s.", p.place(), was, p.past.to)
	}
	return fmt.Sprintf("A rollback of %s to %s was interrupted; this run finishes it.", p.place(), p.past.to)
}

// finishesRelease has a promotion go where a rollback was to bring it that was ended once it had moved
// another member of its release.
func (r *run) finishesRelease(p *promotion) bool {
	for _, line := range slices.Backward(p.past.lines) {
		if line.Outcome.Good() {
			return false
		}
		begun := func(other *promotion) bool {
			return other.past.midwayRelease == line.Release && other.wasGoingTo(other.past.midway)
		}
		if line.Release != "" && line.Mode == document.ModeRollback && slices.ContainsFunc(r.promotions, begun) {
			p.goTo(line.Digest)
			return true
		}
	}
	return false
}

// wasGoingTo reports whether the last that was recorded is a rollback to a digest.
func (p *promotion) wasGoingTo(digest string) bool {
	for _, line := range slices.Backward(p.past.lines) {
		if line.Digest == digest || line.Outcome.Good() {
			return line.Digest == digest && line.Mode == document.ModeRollback && !line.Outcome.Good()
		}
	}
	return false
}

// backFromDrift goes to what the records say, where a tag was changed by others.
func (r *run) backFromDrift() bool {
	found := false
	for _, p := range r.promotions {
		current, known := p.past.state.Current()
		if holds := p.holds(); known && holds != "" && holds != current.Digest {
			p.goTo(current.Digest)
			found = true
			r.note(fmt.Sprintf("%s holds %s, which no record of a promotion brought there: it goes back to what the last one did.", p.place(), holds))
		}
	}
	return found
}

// top is the newest stay in the environment.
func (p *promotion) top() (ledger.Stay, bool) { return p.past.state.Top() }

func (p *promotion) broughtAt() time.Time {
	stay, _ := p.top()
	return stay.Brought.Time
}

// cameWith reports whether one release brought what both environments hold.
func (p *promotion) cameWith(other *promotion) bool {
	mine, _ := p.top()
	theirs, _ := other.top()
	return p == other || mine.Brought.Release != "" && mine.Brought.Release == theirs.Brought.Release
}

// backOne goes back one good image. The first that was ever recorded gives way to what it
// replaced.
func (p *promotion) backOne() bool {
	if earlier := p.past.state.Earlier(); len(earlier) > 0 {
		p.goTo(earlier[0].Digest)
		return true
	}
	stay, known := p.top()
	if !known || stay.Brought.Mode != document.ModePromote || stay.Brought.PreviousDigest == "" || stay.Brought.PreviousDigest == stay.Line.Digest {
		return false
	}
	replaced := stay.Brought.PreviousDigest
	if slices.ContainsFunc(p.past.lines, func(l document.Line) bool { return l.Digest == replaced && l.Outcome.Good() }) {
		return false // it was rolled back from
	}
	p.goTo(replaced)
	return true
}

// backToTag goes back to what a tag holds: in the repository of every image.
func (r *run) backToTag(ctx context.Context) error {
	for _, p := range r.promotions {
		o, err := transfer.Observe(ctx, p.target, r.request.To.Tag)
		switch {
		case err != nil:
			return err
		case o.Digest().Hex == "":
			return r.nowhere(ctx, p, "there is no tag "+o.Reference())
		}
		p.goTo(o.Digest().String())
	}
	return nil
}

// backToDigest goes back to an image, or to how things were after a record.
func (r *run) backToDigest(ctx context.Context) error {
	wanted := r.request.To.Digest.String()
	for _, p := range r.promotions {
		if at := slices.IndexFunc(p.past.lines, func(l document.Line) bool { return l.Record == wanted }); at >= 0 {
			return r.backToRecord(ctx, p.past.lines[at])
		}
	}
	if len(r.promotions) > 1 {
		return &invalidError{
			message: fmt.Sprintf("to names the image %s, and there are %d images to roll back", wanted, len(r.promotions)),
			hint:    "Name the one that it is of with images, or name a record of the release to go back to: mode history lists them.",
		}
	}
	r.promotions[0].goTo(wanted)
	return nil
}

// backToRecord goes back to what each environment held once the record's promotion
// was done.
func (r *run) backToRecord(ctx context.Context, record document.Line) error {
	if !record.Outcome.Good() {
		return &deniedError{
			message: fmt.Sprintf("the record %s is of a promotion that is not known to have moved its tags (%s)", record.Record, record.Outcome),
			hint:    "Name another record, an image's digest or a tag: mode history lists them.",
		}
	}
	for _, p := range r.promotions {
		then := slices.DeleteFunc(slices.Clone(p.past.lines), func(l document.Line) bool {
			return l.Time.After(record.Time) && (record.Release == "" || l.Release != record.Release)
		})
		current, known := ledger.Replay(then).Current()
		if !known {
			return r.nowhere(ctx, p, fmt.Sprintf("no record tells what %s held at %s", p.place(), record.Time.Format(time.DateTime)))
		}
		p.goTo(current.Digest)
	}
	return nil
}

// place names what is rolled back.
func (p *promotion) place() string { return p.target.Reference(p.tags[0].text) }

func (p *promotion) describeBack() string {
	text := fmt.Sprintf("%s goes back to %s", p.place(), p.past.to)
	if b := p.past.brought; b != nil {
		text += fmt.Sprintf(", which came there on %s", b.Time.UTC().Format("2006-01-02 15:04 UTC"))
		if b.Actor != "" {
			text += " by " + registry.Cut(b.Actor, maxWords)
		}
	}
	return text
}

// nowhere says that nothing is known to go back to, and what there is.
func (r *run) nowhere(ctx context.Context, p *promotion, why string) error {
	e := &brokenError{message: "nothing to go back to: " + why}
	candidates := r.candidates(ctx, p)
	if len(candidates) == 0 {
		e.hint = "Name the image by its digest:\n  to: sha256:…"
		return e
	}
	e.hint = "Choose one of these, and name it with `to`:\n  " + strings.Join(candidates, "\n  ")
	return e
}

// How many images are offered, and how many tags are read for that: they may all hold
// the same image.
const (
	maxCandidates = 10
	maxLooked     = 50
)

// candidates are the images that a repository's records and tags offer.
func (r *run) candidates(ctx context.Context, p *promotion) (offers []string) {
	seen := map[string]bool{p.holds(): true}
	for _, line := range p.past.state.Earlier() {
		if !seen[line.Digest] && len(offers) < maxCandidates {
			seen[line.Digest] = true
			offers = append(offers, line.Digest+" ("+line.Time.UTC().Format("2006-01-02")+")")
		}
	}
	tags, _, err := p.target.Tags(ctx)
	if err != nil {
		return offers
	}
	tags = slices.DeleteFunc(tags, func(tag string) bool { return ledger.Reserved(tag) || strings.HasPrefix(tag, "sha256-") })
	slices.SortFunc(tags, func(a, b string) int { return cmp.Compare(b, a) }) // dates and versions: the newest first
	for n, tag := range tags {
		if len(offers) == maxCandidates || n == maxLooked {
			break
		}
		if o, err := transfer.Observe(ctx, p.target, tag); err == nil && o.Digest().Hex != "" && !seen[o.Digest().String()] {
			seen[o.Digest().String()] = true
			offers = append(offers, tag+" ("+o.Digest().String()+")")
		}
	}
	return offers
}
