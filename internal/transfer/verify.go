package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Proof says that a digest, with everything that belongs to it, was verified in
// one repository. Only Verify makes one; the zero value moves no tag.
type Proof struct {
	repo     *registry.Repository
	manifest registry.Manifest
	level    Level
}

// Level is how much was read back.
func (p Proof) Level() Level { return p.level }

// Verify reads a graph again at the target: every manifest's bytes must hash to
// its digest, every attachment must be found there in the way the registry
// offers, and blobs as the engine's level says. In one repository, where nothing
// was copied, blobs are not asked for one by one, and the level reached is
// Manifests, unless it is Content.
//
// It writes only what the registry has acknowledged and does not show, after it was
// looked for twice; and where somebody else has written a list of attachments or a tag of
// cosign's scheme since the copy did, the graph's own is merged in again.
func (e *Engine) Verify(ctx context.Context, g *graph.Graph, source, target *registry.Repository) (Proof, error) {
	if g.IsOutline() {
		return Proof{}, errOutline
	}
	t := e.target(target)
	level := e.level
	if level == Blobs && source.Same(target) {
		level = Manifests
	}
	outer := ctx
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return t.verifyManifests(ctx, g, !source.Same(target)) })
	work.Go(func() error { return e.verifyBlobs(ctx, t, source, g.Blobs(), level) })
	if !source.Same(target) {
		work.Go(func() error { return t.verifyLists(ctx, g) })
	}
	if err := work.Wait(); err != nil {
		if outer.Err() == nil { // the failure is one of this verification's own
			err = registry.Original(err)
		}
		return Proof{}, err
	}
	return Proof{repo: target, manifest: g.Node(g.Root).Manifest, level: level}, nil
}

// verifyManifests reads every manifest of a graph, those under tags of cosign's
// scheme by their tags.
func (t *target) verifyManifests(ctx context.Context, g *graph.Graph, copied bool) error {
	byTag := map[v1.Hash]bool{}
	work, ctx := queue.WithContext(ctx, queue.Width)
	for _, a := range g.Attachments {
		if a.Tag != "" && copied {
			byTag[a.Digest] = true
			work.Go(func() error {
				if err := t.verifyTag(ctx, a.Tag, g.Node(a.Digest)); err != nil {
					return err
				}
				return t.verifyManifest(ctx, g.Node(a.Digest), true) // a tag that holds a merged artifact has not shown it
			})
		}
	}
	for _, n := range g.Nodes {
		if !byTag[n.Digest] {
			work.Go(func() error { return t.verifyManifest(ctx, n, copied) })
		}
	}
	return work.Wait()
}

// verifyManifest reads a manifest. Where it was copied, one that is not there though it
// was acknowledged is written again.
func (t *target) verifyManifest(ctx context.Context, n *graph.Node, copied bool) error {
	digest := n.Digest.String()
	looks := 0
	err := settled(ctx, t.repo, func(repo *registry.Repository) (bool, error) {
		_, err := repo.GetManifest(ctx, digest)
		if !errors.Is(err, registry.ErrNotFound) {
			return true, err
		}
		if looks++; copied && looks > 1 {
			if _, err := t.repo.PutManifest(ctx, digest, n.Manifest); err != nil {
				return true, err
			}
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

func (e *Engine) verifyBlobs(ctx context.Context, t *target, source *registry.Repository, blobs []v1.Descriptor, level Level) error {
	if level == Manifests {
		return nil
	}
	work, ctx := queue.WithContext(ctx, queue.Width)
	for _, b := range blobs {
		work.Go(func() error { return e.verifyBlob(ctx, t, source, b, level) })
	}
	return work.Wait()
}

func (e *Engine) verifyBlob(ctx context.Context, t *target, source *registry.Repository, b v1.Descriptor, level Level) error {
	if level == Content {
		return e.readBackOrResend(ctx, t, source, b)
	}
	return t.verifyExists(ctx, b)
}

// verifyExists trusts what the registry answered in this run: that it has the
// blob, took it over, or stored it under its digest.
func (t *target) verifyExists(ctx context.Context, b v1.Descriptor) error {
	t.mu.Lock()
	f := t.blobs[b.Digest]
	t.mu.Unlock()
	if f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if f.err == nil {
			return nil
		}
	}
	err := settled(ctx, t.repo, func(repo *registry.Repository) (bool, error) {
		there, err := repo.HasBlob(ctx, b.Digest)
		if err == nil && !there {
			err = t.lacks(t.repo.Reference(b.Digest.String()), "the blob is not there")
		}
		return there, err
	})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// readBackOrResend reads a blob back. One that the registry said to have and does not
// is sent once, and read back then: a registry may take its manifest all the same.
func (e *Engine) readBackOrResend(ctx context.Context, t *target, source *registry.Repository, b v1.Descriptor) error {
	err := e.readBack(ctx, t, b)
	if !errors.Is(err, registry.ErrNotFound) || source.Same(t.repo) {
		return err
	}
	again, _, resendErr := e.resend(ctx, t, source, b)
	if !again {
		return cmp.Or(resendErr, err)
	}
	return e.readBack(ctx, t, b)
}

// rereads is how often a blob is read back: a byte that was changed on the way is
// not the registry's fault.
const rereads = 3

// readBack reads a blob whole; the reader fails if size or digest are not right.
func (e *Engine) readBack(ctx context.Context, t *target, b v1.Descriptor) error {
	if t.has(t.verified, b.Digest) {
		return nil
	}
	for n := 1; ; n++ {
		err := t.readWhole(ctx, b)
		if err == nil {
			t.mark(t.verified, b.Digest)
			return nil
		}
		if !errors.Is(err, registry.ErrMismatch) || n == rereads {
			return fmt.Errorf("verify: %w", err)
		}
	}
}

func (t *target) readWhole(ctx context.Context, b v1.Descriptor) error {
	body := t.repo.OpenBlob(ctx, b)
	defer body.Close() //nolint:errcheck // it was only read
	_, err := io.Copy(io.Discard, body)
	return err
}

// verifyTag reads a tag of cosign's scheme: it must hold what the copy settled on,
// or, where somebody else has written it since, the source's layers with others.
func (t *target) verifyTag(ctx context.Context, tag string, ours *graph.Node) error {
	t.mu.Lock()
	is, ok := t.tagged[tag]
	t.mu.Unlock()
	if !ok {
		return t.lacks(t.repo.Reference(tag), "the attachment was not copied")
	}
	var now registry.Manifest
	looks := 0
	err := settled(ctx, t.repo, func(repo *registry.Repository) (bool, error) {
		var err error
		now, err = repo.GetManifest(ctx, tag)
		if err == nil && now.Digest == is.before && is.before != is.want {
			err = t.lacks(t.repo.Reference(tag), fmt.Sprintf("it points to %s, expected %s", now.Digest, is.want))
		}
		if !mayLag(err) {
			return err == nil, err
		}
		if looks++; looks > 1 {
			if err := t.retag(ctx, tag, is, ours, now); err != nil {
				return true, err
			}
		}
		return false, err
	})
	if err != nil {
		return err
	}
	if now.Digest == is.want {
		return nil
	}
	return t.keep(ctx, tag, ours, now)
}

// retag writes a tag of cosign's scheme again that shows what it held before, though the
// registry has acknowledged what it is to hold.
func (t *target) retag(ctx context.Context, tag string, is tagged, ours *graph.Node, now registry.Manifest) error {
	if is.want == ours.Digest {
		_, err := t.repo.PutManifest(ctx, tag, ours.Manifest)
		return err
	}
	if now.Raw == nil {
		return nil // there is nothing to merge with
	}
	m, err := merge(tag, now, ours)
	if err != nil || m.manifest.Digest == now.Digest {
		return err
	}
	return t.putMerged(ctx, m)
}

// verifyLists reads the lists of referrers.
func (t *target) verifyLists(ctx context.Context, g *graph.Graph) error {
	want := map[v1.Hash][]*graph.Node{}
	for _, a := range g.Attachments {
		if a.Tag == "" && !t.has(t.listed, a.Digest) {
			want[a.Subject] = append(want[a.Subject], g.Node(a.Digest))
		}
	}
	work, ctx := queue.WithContext(ctx, queue.Width)
	for subject, referrers := range want {
		work.Go(func() error { return t.verifyList(ctx, subject, referrers) })
	}
	return work.Wait()
}

// verifyList sees that the target lists a subject's referrers. One that is still
// missing when it is looked for a second time is written again, and looked for again:
// a registry may have acknowledged it and lost it.
func (t *target) verifyList(ctx context.Context, subject v1.Hash, referrers []*graph.Node) error {
	want := make([]v1.Descriptor, 0, len(referrers))
	for _, n := range referrers {
		want = append(want, n.Descriptor())
	}
	if t.finder.Rivalled(subject) {
		_, err := t.finder.Attach(ctx, subject, want)
		return err
	}
	looked := false
	return settled(ctx, t.repo, func(*registry.Repository) (bool, error) {
		missing, err := t.finder.Missing(ctx, subject, want)
		if err != nil || len(missing) == 0 {
			return err == nil, err
		}
		if looked {
			if err := t.relist(ctx, subject, referrers, missing); err != nil {
				return false, err
			}
		}
		looked = true
		return false, t.lacks(t.repo.Reference(subject.String()), fmt.Sprintf("its attachment %s is stored but not listed", missing[0].Digest))
	})
}

// relist has the registry take note of referrers that it does not list.
func (t *target) relist(ctx context.Context, subject v1.Hash, referrers []*graph.Node, missing []v1.Descriptor) error {
	if api, err := t.finder.HasAPI(ctx, subject); err != nil || !api {
		return err
	}
	var again []registry.Manifest
	for _, n := range referrers {
		if slices.ContainsFunc(missing, func(d v1.Descriptor) bool { return d.Digest == n.Digest }) {
			again = append(again, n.Manifest)
		}
	}
	return t.finder.WriteAgain(ctx, subject, again...)
}

func (t *target) lacks(ref, what string) error {
	return &registry.Error{Op: "verify", Side: t.repo.Side(), Ref: ref, Err: lacking(what),
		Hint: "No tag was moved. Run the promotion again: it copies what is missing."}
}

// lag is how long a registry may take until a read shows an earlier write; 15 s
// have been seen, and the last read comes after them.
const lag = 16 * time.Second

// settled asks until the answer is good, for as long as reads may lag behind
// writes: from the second time on past what the run has read. An error that time does
// not mend ends it at once.
func settled(ctx context.Context, repo *registry.Repository, ask func(repo *registry.Repository) (good bool, err error)) error {
	waited := time.Duration(0) // an answer may take long, and so may what is written again
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		good, err := ask(repo)
		repo = repo.Uncached()
		if good || !mayLag(err) || waited >= lag {
			return err
		}
		pause = min(pause, lag-waited)
		waited += pause
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// lacking is what a read found wanting, which a later read may find.
type lacking string

func (l lacking) Error() string { return string(l) }

// isLacking reports whether a read went on to miss what was written.
func isLacking(err error) bool {
	var missing lacking
	return errors.As(err, &missing)
}

// mayLag tells an answer that a later read may change from a failure.
func mayLag(err error) bool {
	var l lacking
	return errors.As(err, &l) || errors.Is(err, registry.ErrNotFound)
}
