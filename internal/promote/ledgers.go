package promote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Recording says what a run does where the ledger cannot be written.
type Recording string

// The ways. The zero value stands for RecordRequired.
const (
	RecordRequired Recording = "required" // no entry, no move
	RecordOptional Recording = "optional" // a notice
	RecordNone     Recording = "none"     // nothing is recorded
)

// ledgerState is what a promotion knows of its ledger, and its own entry there.
type ledgerState struct {
	ledger *ledger.Ledger // nil: its name is not known yet, or none is kept
	turn   queue.Turn     // of who uses it: promotions of one run may share a ledger
	view   ledger.View
	again  *ledger.View // as it was read after the copy; nil: it was not
	id     string       // of the run's own entry
	finder *referrer.Finder

	listing  bool            // attached is to be read
	attached []v1.Descriptor // what is listed as attached to an image that stays in its repository

	stored    *storedRecord   // nil: no record was stored yet
	drafted   bool            // an entry that names the stored record may be in the ledger
	session   *ledger.Session // nil: the run has no open entry
	attaches  bool            // the record is to be attached to the image
	attachErr error           // why that could not be found out

	digest string // of the record of this promotion, also of one that an earlier run wrote
	listed bool   // the ledger says that it is in place

	rolledBack *gate.Rollback // from the image; nil: there was none, or nobody asked
}

// keepsRecords reports whether the run writes to ledgers. Who may only read, or only looks, does
// not.
func (r *run) keepsRecords() bool {
	return r.request.Mode != Plan && !r.request.DryRun && r.request.Record != RecordNone
}

// ledgerName is what a promotion's ledger is called: the environment, else the first moving tag,
// else the first tag. One that is called otherwise every time stands for all that its template
// makes.
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

// ledgerKey is the key of the ledger with a name. Without gates, an environment is a tag of its
// name.
func ledgerKey(environment string, noGates bool, name string) ledger.Key {
	if environment != "" && !noGates {
		return ledger.ForEnvironment(environment)
	}
	return ledger.ForTag(name)
}

// jobRun is the run as its entries name it.
func jobRun(job document.Job) ledger.Run {
	attempt, _ := strconv.Atoi(job.Attempt) // empty: not of a workflow
	return ledger.Run{Repository: job.Repository, ID: job.RunID, Attempt: attempt, Job: job.Name, URL: job.URL}
}

// openLedger opens the ledger of a repository.
func (r *run) openLedger(repo *registry.Repository, key ledger.Key) *ledger.Ledger {
	return ledger.Open(ledger.InRegistry(repo), key, jobRun(r.request.Job)).WithLease(r.request.Lease)
}

// readLedgers reads the ledgers whose names are known and which were not read yet. A run that is
// to write waits for runs that are at work on its tags; it reports whether it has waited.
func (r *run) readLedgers(ctx context.Context) (waited bool, err error) {
	if !r.keepsRecords() && r.request.Mode != Rollback && r.request.Gates == nil {
		return false, nil
	}
	waits := make([]bool, len(r.promotions))
	g, ctx := asking(ctx)
	for n, p := range r.promotions {
		name := p.ledgerName(r.request)
		if p.ledger.ledger != nil || name == "" {
			continue
		}
		p.ledger.finder, p.ledger.id = r.engine.Finder(p.target), ledger.NewID()
		key := ledgerKey(r.request.TargetEnv, r.request.NoGates, name)
		if other := r.withLedger(p.target, key); other != nil {
			p.ledger.ledger, p.ledger.turn = other.ledger.ledger, other.ledger.turn
		} else {
			p.ledger.ledger, p.ledger.turn = r.openLedger(p.target, key).WithMembers(r.membersOf(p)), queue.NewTurn()
		}
		g.Go(func() (err error) {
			return p.inTurn(ctx, func() error {
				waits[n], err = r.readLedger(ctx, p)
				return err
			})
		})
	}
	err = g.Wait()
	return slices.Contains(waits, true), err
}

// withLedger is a promotion of the run that has that ledger open; nil: none has.
func (r *run) withLedger(repo *registry.Repository, key ledger.Key) *promotion {
	for _, p := range r.promotions {
		if l := p.ledger.ledger; l != nil && l.Key() == key && p.target.Name() == repo.Name() {
			return p
		}
	}
	return nil
}

// inTurn uses a promotion's ledger while no other promotion does.
func (p *promotion) inTurn(ctx context.Context, use func() error) error {
	turn := p.ledger.turn
	if err := turn.Take(ctx); err != nil {
		return err
	}
	defer turn.Give()
	return use()
}

// readLedgersAgain reads the ledgers of promotions that are to move a tag.
func (r *run) readLedgersAgain(ctx context.Context, moving []*promotion) error {
	if !r.keepsRecords() {
		return nil
	}
	g, ctx := asking(ctx)
	for _, p := range moving {
		if p.ledger.ledger != nil {
			g.Go(func() error {
				return p.inTurn(ctx, func() error {
					view, err := p.ledger.ledger.Read(ctx)
					p.ledger.again = &view
					return err
				})
			})
		}
	}
	return g.Wait()
}

func (r *run) readLedger(ctx context.Context, p *promotion) (waited bool, err error) {
	if r.keepsRecords() && p.source.Same(p.target) && r.request.Attachments && r.request.Mode != Rollback {
		listed := make(chan struct{})
		defer func() { <-listed }()
		go func() { // what the record names is found in it
			defer close(listed)
			p.ledger.finder.ListTags(ctx)
		}()
	}
	if p.ledger.view, err = p.ledger.ledger.Read(ctx); err != nil || !r.keepsRecords() {
		return false, err
	}
	p.ledger.view, err = p.ledger.ledger.Await(ctx, p.ledger.view, p.tagNames(), func(text string) {
		waited = true
		r.note(p.place() + ": " + text)
	})
	return waited, err
}

// tagNames are the names of its tags that are known.
func (p *promotion) tagNames() (names []string) {
	for _, t := range p.tags {
		if t.text != "" {
			names = append(names, t.text)
		}
	}
	return names
}

// createLedgers writes empty ledgers where there are none, beside what a copy asks before it writes: that
// tells, before anything is copied, whether the registry takes a ledger. The function that it returns
// waits for that.
func (r *run) createLedgers(ctx context.Context, g *errgroup.Group) (created func(context.Context) error) {
	done := make(chan struct{})
	var err error
	g.Go(func() error {
		defer close(done)
		err = r.createEach(ctx)
		return err
	})
	return func(ctx context.Context) error {
		select {
		case <-done:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *run) createEach(ctx context.Context) error {
	if !r.keepsRecords() {
		return nil
	}
	g, ctx := asking(ctx)
	for _, p := range r.promotions {
		if p.ledger.ledger == nil || !p.moves() {
			continue
		}
		g.Go(func() error {
			return p.inTurn(ctx, func() error {
				if orphan := p.ledger.view.Orphan(); orphan != "" {
					r.note(lostText(p.ledger.ledger, p.target.Reference(orphan)) + " This promotion begins a new ledger; what was promoted before is not in it.")
				}
				view, err := p.ledger.ledger.Create(ctx, p.ledger.view)
				if err != nil {
					return r.unrecordable(p, err)
				}
				p.ledger.view = view
				return nil
			})
		})
	}
	return g.Wait()
}

// unrecordable is the error of a promotion that cannot be recorded, or a notice where that is
// optional: it has no ledger from then on.
func (r *run) unrecordable(p *promotion, err error) error {
	if r.request.Record != RecordOptional || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return cannotRecord(err)
	}
	r.note("This promotion to " + p.target.Name() + " is not recorded: " + err.Error())
	p.ledger.ledger = nil
	return nil
}

// recollect finds what an earlier attempt of this run has recorded. Run again, a job is the same
// promotion: its tags have the same dates in them, and a rollback goes to the same image.
func (r *run) recollect(ctx context.Context) error {
	if run := jobRun(r.request.Job); !r.keepsRecords() || run.ID == "" || run.Attempt <= 1 {
		return nil
	}
	if _, err := r.readLedgers(ctx); err != nil {
		return err
	}
	g, ctx := group(ctx)
	for _, p := range r.promotions {
		g.Go(func() error { return r.recollectOf(ctx, p) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.joinEarlier()
	return r.nameKnown()
}

// recollectOf reads the record of an earlier attempt, if nothing else has been recorded since.
func (r *run) recollectOf(ctx context.Context, p *promotion) error {
	entries := p.ledger.view.Entries()
	if len(entries) == 0 {
		return nil
	}
	last, own := entries[len(entries)-1], jobRun(r.request.Job)
	if last.Fault != "" || last.Run.Repository != own.Repository || last.Run.ID != own.ID || last.Run.Job != own.Job ||
		last.Run.Attempt >= own.Attempt || last.Line.Mode != r.recordMode() {
		return nil
	}
	record, _, err := readRecord(ctx, p.target, last.Record)
	if err != nil {
		return context.Cause(ctx) // what cannot be read tells nothing
	}
	p.earlier, p.earlierState = &record, last.State()
	return nil
}

// joinEarlier has those of a release go on with it whose records that attempt could not write.
func (r *run) joinEarlier() {
	at := slices.IndexFunc(r.promotions, func(p *promotion) bool { return p.earlier != nil })
	if at < 0 {
		return
	}
	for _, p := range r.promotions {
		if p.earlier == nil {
			p.joins = r.promotions[at]
		}
	}
}

// dated is the time that is in the names of a promotion's tags.
func (p *promotion) dated(request Request) time.Time {
	switch {
	case p.continues():
		return p.earlier.Started
	case p.joins != nil && p.joins.continues():
		return p.joins.earlier.Started
	default:
		return request.Started
	}
}

// continues reports whether an earlier attempt of this run promoted the same image, as far as that
// is known yet.
func (p *promotion) continues() bool {
	return p.earlier != nil && (p.root.Digest.Hex == "" || p.root.Digest.String() == p.earlier.Digest)
}

// recorded is the line of what the ledger says that the environment holds, if that is a digest.
func (l *ledgerState) recorded(digest string) (document.Line, bool) {
	line, known := ledger.Replay(ledger.Lines(l.view.Entries())).Current()
	return line, known && line.Digest == digest
}

// readRecord reads a record by the descriptor that its entry has. It returns bytes that are no
// record with the error.
func readRecord(ctx context.Context, repo *registry.Repository, d v1.Descriptor) (document.Record, []byte, error) {
	from := repo.OpenBlob(ctx, d)
	raw, err := io.ReadAll(from)
	if err = errors.Join(err, from.Close()); err != nil {
		return document.Record{}, nil, err
	}
	record, err := document.ParseRecord(raw)
	if err != nil {
		return record, raw, &registry.Error{Op: "read record", Side: repo.Side(), Ref: repo.Reference(d.Digest.String()), Err: err}
	}
	return record, raw, nil
}

// recordBlob is the descriptor of a line's record; false if the line names none.
func recordBlob(line document.Line) (v1.Descriptor, bool) {
	digest, err := v1.NewHash(line.Record)
	return v1.Descriptor{MediaType: document.RecordMediaType, Digest: digest, Size: line.Size}, err == nil && line.Size > 0 && line.Size <= document.MaxRecord
}

// putBlob stores bytes as a blob.
func putBlob(ctx context.Context, repo *registry.Repository, d v1.Descriptor, raw []byte) error {
	_, err := repo.PutBlob(ctx, registry.Upload{Blob: d, Open: func(context.Context) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(raw))
	}})
	return err
}

// holds is the digest that the first moving tag held before this run, but for what a run has moved
// that was interrupted; empty if that is not known.
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

// membersOf reads the other members of a release that was interrupted, in repositories that this
// run writes to anyway.
func (r *run) membersOf(p *promotion) ledger.Members {
	return func(ctx context.Context, e ledger.Entry) bool {
		record, _, err := readRecord(ctx, p.target, e.Record)
		if err != nil || len(record.Members) == 0 {
			return false
		}
		for _, m := range record.Members {
			repo := r.targetCalled(m.Repository)
			if repo == nil {
				return false
			}
			for _, t := range m.Tags {
				now, err := repo.ReadTag(ctx, t.Name)
				if err != nil || !now.Exists || now.Manifest.Digest.String() != t.After {
					return false
				}
			}
		}
		return true
	}
}

// targetCalled is a repository of the run's targets by its name; nil: it is none of them.
func (r *run) targetCalled(name string) *registry.Repository {
	for _, p := range r.promotions {
		if p.target.Name() == name {
			return p.target
		}
	}
	return nil
}

// heads are the digests of the ledger's heads, as the run left them.
func (l *ledgerState) heads() []string {
	if l.session != nil {
		return l.session.Heads()
	}
	return l.view.Heads()
}
