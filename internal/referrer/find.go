package referrer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// Finder finds what is attached to digests of one repository. It learns once
// whether the registry has the referrers API, and lists the tags when it needs
// to know which there are.
type Finder struct {
	repo *registry.Repository

	probing   queue.Turn // taken while the first question is on its way
	mu        sync.Mutex
	api       support
	first     v1.Hash                     // whose question is to be the first; the turn is kept for it
	probed    v1.Hash                     // whose it was
	answer    []v1.Descriptor             // to it
	attaching map[v1.Hash]queue.Turn      // by subject
	written   map[v1.Hash]bool            // subjects whose fallback tag this run may have written
	contested map[v1.Hash]bool            // subjects whose fallback tag somebody else was seen to write
	ours      map[v1.Hash][]v1.Descriptor // what this run lists, by subject
	latest    map[v1.Hash]v1.Hash         // what this run wrote last, by subject
	last      map[v1.Hash]*list           // what this run last wrote or read to write it, by subject
	lines     map[line]bool               // that this run has added
	notices   map[string]bool             // what was left out, and what the registry cannot do
	unlisting bool                        // the registry keeps no lists at all
	added     map[string]bool             // tags that were written since the lists were made

	lists    [2]tagList  // as far as one answer gives them
	prepared atomic.Bool // both lists were asked for
	paged    tagList     // all of it; only where that answer does not give it
}

type support int

const (
	unknown support = iota
	yes
	no
)

// Forget lets go of the lists of subjects that nothing more will be attached to: of all
// but the given ones. Which of them this run may have written stays known.
func (f *Finder) Forget(but ...v1.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attaching, f.ours = only(f.attaching, but), only(f.ours, but)
	f.latest, f.last = only(f.latest, but), only(f.last, but)
	lines := map[line]bool{}
	for l := range f.lines {
		if slices.Contains(but, l.subject) {
			lines[l] = true
		}
	}
	f.lines = lines
}

// only is what a map has of some keys; the map itself would not get smaller.
func only[V any](all map[v1.Hash]V, keys []v1.Hash) map[v1.Hash]V {
	some := map[v1.Hash]V{}
	for _, k := range keys {
		if v, ok := all[k]; ok {
			some[k] = v
		}
	}
	return some
}

// NewFinder returns a finder for a repository.
func NewFinder(repo *registry.Repository) *Finder {
	f := &Finder{
		repo: repo, probing: queue.NewTurn(), attaching: map[v1.Hash]queue.Turn{},
		written: map[v1.Hash]bool{}, contested: map[v1.Hash]bool{}, ours: map[v1.Hash][]v1.Descriptor{},
		latest: map[v1.Hash]v1.Hash{}, last: map[v1.Hash]*list{}, lines: map[line]bool{}, notices: map[string]bool{}, added: map[string]bool{},
	}
	for n := range f.lists {
		f.lists[n].turn = queue.NewTurn()
	}
	f.paged.turn = queue.NewTurn()
	return f
}

// Found is what is attached to one digest.
type Found struct {
	// Referrers are listed as naming the digest as their subject. That is the
	// list's claim; only each manifest's own subject proves it.
	Referrers []v1.Descriptor
	// Tagged are cosign's artifacts, read by their tags.
	Tagged []Tagged
}

// Tagged is a manifest under a tag of cosign's scheme.
type Tagged struct {
	Tag      string
	Manifest registry.Manifest
}

// Find returns what is attached to a digest. Tags that the repository's lists
// do not show are not asked for, two requests then standing for many, except
// those of a root: a list may lag behind a signature just pushed.
//
// It tells what the fallback tag lists as soon as that is there, which is before
// a registry without the referrers API has said so. An error of that ends it. It
// may be nil.
func (f *Finder) Find(ctx context.Context, subject v1.Hash, root bool, tell func([]v1.Descriptor) error) (Found, error) {
	var found Found
	var fallback []v1.Descriptor
	g, ctx := errgroup.WithContext(ctx)
	if f.support() != no {
		g.Go(func() (err error) {
			found.Referrers, err = f.listedAtFirst(ctx, subject)
			return err
		})
	}
	if root || f.mayExist(ctx, FallbackTag(subject)) {
		g.Go(func() (err error) {
			if fallback, _, err = f.fallback(ctx, f.repo, subject); err == nil && tell != nil {
				err = tell(fallback)
			}
			return err
		})
	}
	tagged := make([]*Tagged, len(Suffixes))
	for i, suffix := range Suffixes {
		if tag := FallbackTag(subject) + suffix; root || f.mayExist(ctx, tag) {
			g.Go(func() (err error) {
				tagged[i], err = f.tagged(ctx, tag)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return Found{}, err
	}
	found.Referrers = union(found.Referrers, fallback)
	for _, t := range tagged {
		if t != nil {
			found.Tagged = append(found.Tagged, *t)
		}
	}
	return found, nil
}

// HasAPI reports whether the registry has the referrers API, asking about the
// subject if that is not known yet.
func (f *Finder) HasAPI(ctx context.Context, subject v1.Hash) (bool, error) {
	_, _, err := f.probe(ctx, subject, false)
	return f.support() == yes, err
}

// AskFirst keeps the first question for a subject that Find is about to be called for, if there was none yet: others wait
// for its answer. Whose question is the first would otherwise be chance, and a root that has to wait for another's answer
// costs the run a round trip. The function that it returns lets others ask if this question never comes.
func (f *Finder) AskFirst(subject v1.Hash) (release func()) {
	if !f.probing.TryTake() {
		return func() {}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first = subject
	return func() {
		if f.isFirst(subject) {
			f.probing.Give()
		}
	}
}

// isFirst reports, once, whether the first question is kept for the subject.
func (f *Finder) isFirst(subject v1.Hash) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first != subject || subject == (v1.Hash{}) {
		return false
	}
	f.first = v1.Hash{}
	return true
}

// probe asks the first question, and reports whether it was this call that did:
// the answer is then about its subject. Who has the turn need not take it.
func (f *Finder) probe(ctx context.Context, subject v1.Hash, hasTurn bool) (answer []v1.Descriptor, mine bool, err error) {
	if f.support() != unknown {
		return nil, false, nil
	}
	if !hasTurn {
		if err := f.probing.Take(ctx); err != nil {
			return nil, false, err
		}
	}
	defer f.probing.Give()
	if f.support() != unknown {
		return nil, false, nil
	}
	answer, err = f.ask(ctx, subject)
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.probed, f.answer = subject, answer
	}
	return answer, true, err
}

// listedAtFirst is listed for who has written nothing: who asks while the first question is on its way, and about the
// same subject, takes its answer.
func (f *Finder) listedAtFirst(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	early := f.support() == unknown
	answer, mine, err := f.probe(ctx, subject, f.isFirst(subject))
	if mine || err != nil {
		return answer, err
	}
	f.mu.Lock()
	answer, same := f.answer, f.probed == subject
	f.mu.Unlock()
	if early && same {
		return answer, nil
	}
	return f.ask(ctx, subject)
}

func (f *Finder) support() support {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.api
}

// listed is what the referrers API lists; nothing where there is none.
func (f *Finder) listed(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	if answer, mine, err := f.probe(ctx, subject, false); mine || err != nil {
		return answer, err
	}
	return f.ask(ctx, subject)
}

func (f *Finder) ask(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	if f.support() == no {
		return nil, nil
	}
	listed, odd, err := f.repo.ReadableReferrers(ctx, subject)
	absent := errors.Is(err, registry.ErrNoReferrersAPI)
	if err != nil && !absent {
		return nil, err
	}
	f.learn(!absent)
	if errors.Is(err, registry.ErrReferrersPage) {
		f.notice(fmt.Sprintf("%s answers with a web page when asked what is attached to an image. It is taken to have no referrers API. If it has one, a proxy answers in its place, and attachments that only the API lists are left behind.", f.repo.Name()))
	}
	f.leaveOut(subject, odd)
	return listed, nil
}

// learn keeps the first answer to the question whether there is an API.
func (f *Finder) learn(api bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.api != unknown:
	case api:
		f.api = yes
	default:
		f.api = no
	}
}

// fallback reads the fallback tag: what it lists, and the manifest, nil if there
// is none. A tag that holds something other than a list lists nothing: GitLab
// resolves it to the image itself, and "cosign copy" tags images so.
func (f *Finder) fallback(ctx context.Context, repo *registry.Repository, subject v1.Hash) ([]v1.Descriptor, *registry.Manifest, error) {
	tag := FallbackTag(subject)
	m, err := repo.GetManifest(ctx, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !isList(m) || m.Digest == subject {
		return nil, &m, nil
	}
	var index struct {
		Manifests lines `json:"manifests"`
	}
	if err := json.Unmarshal(m.Raw, &index); err != nil {
		return nil, nil, &registry.Error{Op: "read the list of referrers", Side: f.repo.Side(), Ref: f.repo.Reference(tag), Err: err,
			Hint: "The tag holds an index that cannot be read, where a list of what is attached to the image belongs.\n" +
				"See what wrote it (distribution-spec, referrers tag schema), or promote with attachments: none."}
	}
	f.leaveOut(subject, index.Manifests.odd)
	return index.Manifests.known, &m, nil
}

// isList reports whether a fallback tag's manifest may be a list of referrers,
// which is always an OCI index.
func isList(m registry.Manifest) bool { return types.MediaType(m.MediaType) == types.OCIImageIndex }

func (f *Finder) tagged(ctx context.Context, tag string) (*Tagged, error) {
	m, err := f.repo.GetManifest(ctx, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &Tagged{Tag: tag, Manifest: m}, nil
}

func union(a, b []v1.Descriptor) []v1.Descriptor {
	seen := map[v1.Hash]bool{}
	var all []v1.Descriptor
	for _, d := range append(a[:len(a):len(a)], b...) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			all = append(all, d)
		}
	}
	return all
}

// Missing are those descriptors that the repository does not list for a
// subject, by API or fallback tag, once what this run is writing now is written.
func (f *Finder) Missing(ctx context.Context, subject v1.Hash, want []v1.Descriptor) ([]v1.Descriptor, error) {
	if f.cannotList() {
		return nil, nil
	}
	if err := f.repo.AwaitReferrers(ctx, subject); err != nil {
		return nil, err
	}
	have, err := f.listed(ctx, subject)
	if err == nil && f.support() == no {
		have, _, err = f.fallback(ctx, f.repo.Uncached(), subject)
	}
	if err != nil {
		return nil, fmt.Errorf("find what is attached: %w", err)
	}
	return without(want, have), nil
}

func without(want, have []v1.Descriptor) []v1.Descriptor {
	listed := map[v1.Hash]bool{}
	for _, d := range have {
		listed[d.Digest] = true
	}
	var missing []v1.Descriptor
	for _, d := range want {
		if !listed[d.Digest] {
			missing = append(missing, d)
		}
	}
	return missing
}
