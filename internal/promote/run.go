package promote

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/semaphore"
)

// Run promotes what was asked for and reports it, on every outcome. When the
// context ends, no further tag is moved, those moved are put back, and the
// report is there within seconds.
func Run(ctx context.Context, client *registry.Client, request Request, observer Observer) document.Report {
	r := &run{
		Observer: observer, client: client, request: request,
		engine: transfer.New(request.Verify),
	}
	err := r.flow(ctx)
	return r.report(ctx, err)
}

// run is one run of the program: its images and its promotions.
type run struct {
	Observer
	client  *registry.Client
	request Request
	engine  *transfer.Engine

	images     []*image
	promotions []*promotion
	notices    notices
	overridden []string // gates that did not pass and were overridden

	plan *document.Plan // that was made

	records
}

// image is one source, resolved once; from there only its digest counts.
type image struct {
	item   Item
	pinned bool   // a plan says its digest
	moved  string // that its tag names another image since; empty: it does not
	source *registry.Repository
	root   registry.Manifest
	graph  *graph.Graph
	labels labels

	variants []gate.Variant // nil until they were needed
	from     *held          // nil: nothing must hold the image already
}

// promotion is one image on its way to one target repository.
type promotion struct {
	*image
	target       *registry.Repository
	repository   name.Repository // the target's name
	tags         []*tag
	copied       document.Copied
	proof        transfer.Proof
	verified     bool
	ledger       ledgerState
	earlier      *document.Record // of an earlier attempt of this run; nil: none
	earlierState document.Outcome
	joins        *promotion // of the same release, that has an earlier record where this has none
	past         past       // of a rollback
	nameless     []string   // why fixed tags of a rollback are let alone

	previous *gate.Image // what the first moving tag holds; nil until it was needed
	evidence gate.Evidence
	verdicts []document.Verdict
	missing  *document.Missing // of a plan
}

// flow is the promotion, start to end.
func (r *run) flow(ctx context.Context) error {
	switch r.request.Mode {
	case History:
		return r.history(ctx)
	case Audit:
		return r.audit(ctx)
	default:
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.nameKnown(); err != nil {
		return err
	}
	if err := r.recollect(ctx); err != nil {
		return err
	}
	if err := r.goBack(ctx); err != nil {
		return err
	}
	if err := r.resolve(ctx); err != nil {
		return r.notWhole(err)
	}
	if err := r.inspect(ctx); err != nil {
		return r.notWhole(err)
	}
	if err := r.judge(ctx); err != nil {
		return err
	}
	r.noteMissing()
	if r.request.Mode == Plan {
		return r.makePlan(ctx)
	}
	if r.request.DryRun {
		return nil
	}
	if err := r.copyAndVerify(ctx); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	return r.moveTags(ctx)
}

// open finds the credentials of every repository, before the first request, so
// that a host is asked for one token.
func (r *run) open(ctx context.Context) error {
	for _, item := range r.request.Items {
		source, err := r.openSource(ctx, item)
		if err != nil {
			return err
		}
		i := &image{item: item, pinned: r.request.Mode == Apply, source: source}
		r.images = append(r.images, i)
		r.credentialNotice(source)
		for _, wanted := range item.Targets {
			target, err := r.client.Open(ctx, sideTarget, wanted.Repository, r.access())
			if err != nil {
				return err
			}
			if r.request.Mode != Rollback {
				target = target.AllowMissing()
			}
			r.credentialNotice(target)
			r.promotions = append(r.promotions, &promotion{image: i, target: target, repository: wanted.Repository, tags: r.tagsOf(wanted)})
		}
	}
	return nil
}

// openSource opens where the image is read from: of a rollback the target itself.
func (r *run) openSource(ctx context.Context, item Item) (*registry.Repository, error) {
	if r.request.Mode == Rollback {
		return r.client.Open(ctx, sideTarget, item.Source.Repository, r.access())
	}
	return r.client.Open(ctx, sideSource, item.Source.Repository, registry.Pull)
}

// access is what the run asks for at its targets. A plan is made in a job that may
// only read.
func (r *run) access() registry.Access {
	if r.request.Mode == Plan {
		return registry.Pull
	}
	return registry.Push
}

func (r *run) credentialNotice(repo *registry.Repository) {
	if text := repo.CredentialNotice(); text != "" {
		r.note(text)
	}
}

// noteMissing says which targets are taken for repositories that do not exist yet: what a
// plan or a dry run says of their tags rests on that.
func (r *run) noteMissing() {
	for _, p := range r.promotions {
		if p.target.AssumedMissing() {
			r.note(fmt.Sprintf("%s refuses to be read, as if it did not exist yet. If it does exist, the promotion ends before any tag is written.", p.target.Name()))
		}
	}
}

// note says something once, which the report repeats.
func (r *run) note(text string) {
	if r.notices.add(text) {
		r.Notice(text)
	}
}

// atOnce is how many images are worked on at the same time, unless there is a reason for
// another number. More would be hardly faster, as the requests to one host are bounded,
// and take memory.
const atOnce = 8

// fewImages is the number up to which half as many again are copied at the same time:
// while some wait for one answer before the next question, others move bytes. With more
// images their content takes the memory for that. Twice as many take more processor time
// for the collector than they save.
const fewImages = 64

func copiesAtOnce(images int) int64 {
	if images <= fewImages {
		return atOnce + atOnce/2
	}
	return atOnce
}

// copyAndVerify brings every image to its targets and reads it again there, before any
// tag moves, once their ledgers exist, and stores their records beside that. Each is verified as soon as it is copied, and let
// go as soon as it is verified: a run of many images holds the content of those that are still to
// come.
func (r *run) copyAndVerify(ctx context.Context) error {
	r.Step("Copy")
	stop := r.watch(ctx)
	defer stop()
	g, ctx := group(ctx)
	created := r.createLedgers(ctx, g)
	slots := semaphore.NewWeighted(copiesAtOnce(len(r.promotions)))
	left := newBacklog(r.promotions)
	for _, p := range r.promotions {
		if slots.Acquire(ctx, 1) != nil {
			g.Go(func() error { return context.Cause(ctx) })
			break
		}
		g.Go(func() (err error) {
			defer slots.Release(1)
			ready := func(ctx context.Context) error {
				if err := created(ctx); err != nil {
					return err
				}
				g.Go(r.storeRecord(ctx, p))
				return nil
			}
			if p.target.AssumedMissing() { // the ledger creates it, and what was asked before then is refused
				if err := created(ctx); err != nil {
					return err
				}
			}
			if p.copied, err = r.engine.Copy(ctx, p.graph, p.source, p.target, ready); err != nil {
				return err
			}
			if left.copied() {
				stop()
				r.tellCopied()
				g.Go(func() error { return r.observeWritten(ctx) })
			}
			if err = r.verify(ctx, p); err == nil {
				r.letGo(left.verified(p))
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.tellVerified()
	return nil
}

func (r *run) tellCopied() {
	for _, p := range r.promotions {
		r.Info(p.describeCopy())
	}
	r.Step("Verify")
}

func (p *promotion) describeCopy() string {
	c := p.copied
	switch {
	case p.source.Same(p.target):
		return fmt.Sprintf("%s is in %s already: nothing to copy", p.root.Digest, p.target.Name())
	case c.Manifests+c.Blobs+c.Mounted == 0:
		return fmt.Sprintf("%s is complete in %s already", p.root.Digest, p.target.Name())
	default:
		return fmt.Sprintf("copied %s to %s: %s and %s (%s); %s mounted, %d there already", p.root.Digest, p.target.Name(),
			report.Count(c.Manifests, "manifest"), report.Count(c.Blobs, "blob"), report.Size(c.Bytes), report.Count(c.Mounted, "blob"), c.Present)
	}
}

// observeWritten reads the ledgers and the tags that are to move, if anything was written: time has
// passed since they were read. It waits for no verification.
func (r *run) observeWritten(ctx context.Context) error {
	if !r.wrote() {
		return nil
	}
	g, ctx := group(ctx)
	moving := slices.DeleteFunc(slices.Clone(r.promotions), func(p *promotion) bool { return !p.moves() }) // before the tags are read again
	g.Go(func() error { return r.readLedgersAgain(ctx, moving) })
	g.Go(func() error { return r.observe(ctx) })
	return g.Wait()
}

// verify reads an image again at its target.
func (r *run) verify(ctx context.Context, p *promotion) error {
	g, ctx := group(ctx)
	if r.request.Mode == Rollback {
		g.Go(func() error { return r.notWhole(r.whole(ctx, p)) })
	}
	g.Go(func() (err error) {
		p.proof, err = r.engine.Verify(ctx, p.graph, p.source, p.target)
		p.verified = err == nil
		return err
	})
	return g.Wait()
}

func (r *run) tellVerified() {
	for _, text := range r.engine.Notices() {
		r.note(text)
	}
	for _, p := range r.promotions {
		r.Info(fmt.Sprintf("verified %s in %s: %s read back, %s found (%s)", p.root.Digest, p.target.Name(),
			report.Count(len(p.graph.Nodes), "manifest"), report.Count(len(p.graph.Attachments), "attachment"), p.proof.Level()))
	}
}

// progressEvery is how often progress is told; the observer decides what to show.
const progressEvery = 200 * time.Millisecond

// watch tells progress until it is stopped.
func (r *run) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				s := r.engine.Progress.Snapshot()
				r.Progress(s.Bytes, s.TotalBytes, s.Blobs, s.TotalBlobs, time.Since(began))
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
