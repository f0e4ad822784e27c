package promote

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/referrer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// chronicle is a promotion's part of the ledger of its environment: what stood there,
// and what this run adds.
type chronicle struct {
	book   *ledger.Book
	page   *ledger.Page
	readAt time.Time // when its reading began
	finder *referrer.Finder

	caught   ledger.CaughtUp
	early    <-chan struct{} // closed once the record is written that was begun early; nil: none was
	earlyErr error
	prepared <-chan struct{} // closed once that is over; nil: it was not begun
	listing  bool            // attached is to be read
	attached []v1.Descriptor // what is listed as attached to an image that stays in its repository
	wrote    *ledger.Written // this run's record; nil: none
	previous string          // digest of the image before, as it says
	follows  string          // digest of the record before, as it says
	digest   string          // of the record of this promotion, also of one that an earlier attempt wrote
	listed   bool            // the ledger lists that record
}

func (c *chronicle) waitEarly() error {
	<-c.early
	return c.earlyErr
}

// keepsRecords reports whether the run writes to ledgers. Who may only read, or only
// looks, does not read them either.
func (r *run) keepsRecords() bool { return r.request.Mode != Plan && !r.request.DryRun }

// ledgerName is what a promotion's ledger is called: the environment, else the first
// moving tag, else the first tag. One that is called otherwise every time stands for all
// that its template makes.
func (p *promotion) ledgerName(request Request) string {
	if request.TargetEnv != "" {
		return request.TargetEnv
	}
	if len(p.tags) == 0 {
		return ""
	}
	first := p.tags[max(slices.IndexFunc(p.tags, func(t *tag) bool { return !t.fixed }), 0)]
	for _, expression := range changing {
		if first.template.Uses(expression) {
			return first.template.String()
		}
	}
	return first.text
}

// changing are the expressions that stand for something else with every promotion.
var changing = []string{"date", "digest", "revision", "version", "run-number"}

// readLedgers reads the ledgers whose names are known and which were not read yet,
// and lists the tags beside them, which tell of records that no line names.
func (r *run) readLedgers(ctx context.Context) error {
	if !r.keepsRecords() && r.request.Mode != Rollback {
		return nil
	}
	g, ctx := asking(ctx)
	for _, p := range r.promotions {
		name := p.ledgerName(r.request)
		if p.ledger.book != nil || name == "" {
			continue
		}
		p.ledger.finder = r.engine.Finder(p.target)
		p.ledger.book = ledger.Open(p.target, p.ledger.finder, name)
		g.Go(func() error { return p.ledger.read(ctx) })
	}
	return g.Wait()
}

func (c *chronicle) read(ctx context.Context) (err error) {
	began := time.Now()
	g, inner := group(ctx)
	g.Go(func() (err error) {
		c.page, err = c.book.Read(inner)
		return err
	})
	g.Go(func() error {
		_, _, _ = c.finder.Tags(inner) // asked for ahead; who needs the answer asks again
		return nil
	})
	if err = g.Wait(); err == nil {
		c.readAt = began
	}
	return err
}

// readAgain reads the ledgers anew that were read long ago.
func (r *run) readAgain(ctx context.Context) error {
	g, ctx := asking(ctx)
	for _, p := range r.promotions {
		if p.ledger.book == nil || time.Since(p.ledger.readAt) < fresh {
			continue
		}
		g.Go(func() error {
			began := time.Now()
			page, err := p.ledger.book.Read(ctx)
			if err == nil { // else what was read before tells how the run ends
				p.ledger.page, p.ledger.readAt = page, began
			}
			return err
		})
	}
	return g.Wait()
}

// catchUp finds the records that no line names, as a run that was killed leaves them.
// Where the tags may not be listed, none are found.
func (c *chronicle) catchUp(ctx context.Context, holds string) error {
	if c.prepared != nil {
		<-c.prepared // a book is for one at a time
	}
	tags, _, err := c.finder.Tags(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		tags = nil
	}
	page, caught, err := c.book.CatchUp(ctx, c.page, ledger.Sources{Tags: tags, Holds: holds})
	if err == nil {
		c.page = page
		c.keepCaught(caught)
	}
	return err
}

// keepCaught adds what one more look at the ledger found. A slow run looks several times, and what the first look
// added to the page the later ones find there.
func (c *chronicle) keepCaught(caught ledger.CaughtUp) {
	lines := slices.DeleteFunc(c.caught.Lines, func(l document.Line) bool {
		return slices.ContainsFunc(caught.Lines, func(later document.Line) bool { return later.Record == l.Record })
	})
	unreadable := slices.DeleteFunc(c.caught.Unreadable, func(u ledger.Unreadable) bool {
		return slices.ContainsFunc(caught.Unreadable, func(later ledger.Unreadable) bool { return later.Reference == u.Reference })
	})
	c.caught = ledger.CaughtUp{
		Lines:      append(lines, caught.Lines...),
		Rebuilt:    c.caught.Rebuilt || caught.Rebuilt,
		Unreadable: append(unreadable, caught.Unreadable...),
	}
}

// holds is the digest that the first moving tag holds now, but for what a release has
// moved that is not complete; empty if that is not known.
func (p *promotion) holds() string {
	if t := p.firstMoving(); t != nil {
		return digestText(t.before)
	}
	return ""
}

func (p *promotion) firstMoving() *tag {
	if at := slices.IndexFunc(p.tags, func(t *tag) bool { return !t.fixed && t.observed }); at >= 0 {
		return p.tags[at]
	}
	return nil
}

// recorded is the record that the ledger has of what the environment holds.
func (c *chronicle) recorded(digest string) (document.Line, bool) {
	line, known := ledger.Replay(c.page.Lines()).Current()
	return line, known && line.Digest == digest
}

// tellCaughtUp says what a ledger lacked.
func (r *run) tellCaughtUp(p *promotion) {
	c := p.ledger.caught
	if c.Rebuilt {
		r.note("There is no ledger " + p.ledger.book.Reference() + ", although there are records: it is made from them.")
	} else if n := len(c.Lines); n > 0 {
		r.note("The ledger " + p.ledger.book.Reference() + " did not list every record: " + strings.Join(recordsOf(c.Lines), ", ") + ". That is made good.")
	}
	for _, u := range c.Unreadable {
		r.note("What stands under " + u.Reference + " is no record of this ledger: " + u.Err.Error() + ". Mode audit tells more.")
	}
}

// tellNotices says what the ledger's keeper should set. One that was read alone has none.
func (r *run) tellNotices(p *promotion) {
	if p.ledger.book == nil {
		return
	}
	for _, text := range p.ledger.book.Notices() {
		r.note(text)
	}
}

// recordsOf are the first few records of lines.
func recordsOf(lines []document.Line) (digests []string) {
	for _, line := range lines[:min(len(lines), 5)] {
		digests = append(digests, line.Record)
	}
	if more := len(lines) - len(digests); more > 0 {
		digests = append(digests, "and more")
	}
	return digests
}
