package promote

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// gather finds out what the gates need to know. What a registry cannot be asked
// ends the run; what GitHub cannot be asked is for the gate to tell.
func (r *run) gather(ctx context.Context, judged []*promotion) error {
	facts := r.request.Gates.Policy.Facts()
	if facts.Image {
		if err := r.readVariants(ctx); err != nil {
			return err
		}
	}
	if facts.Previous {
		if err := r.readPrevious(ctx, judged); err != nil {
			return err
		}
	}
	if err := r.readRollbacks(ctx, judged); err != nil {
		return err
	}
	for _, p := range judged {
		p.evidence = r.evidence(p)
	}
	return r.askGitHub(ctx, facts, judged)
}

// evidence is what is known of a promotion without asking anybody.
func (r *run) evidence(p *promotion) gate.Evidence {
	e := gate.Evidence{
		Now: r.request.Started, Environment: r.request.TargetEnv,
		Actor: r.request.Job.Actor, Persons: r.persons(),
		Source: gate.Source{Reference: p.item.Source.Text, Repository: p.source.Name(), Tag: p.item.Source.Tag},
		Target: gate.Target{Repository: p.target.Name()},
		Image: gate.Image{
			Name: p.item.Image, Digest: p.root.Digest.String(), MediaType: p.root.MediaType,
			Variants: p.variants, Size: p.graph.Bytes(), Digests: digestsOf(p.graph),
		},
		From: p.held(), Previous: p.previous, RolledBack: p.ledger.rolledBack,
	}
	for _, fixed := range []bool{false, true} {
		for _, t := range p.tags {
			if t.fixed == fixed {
				e.Target.Tags = append(e.Target.Tags, t.text)
			}
		}
	}
	return e
}

// persons are who started the run, and who ran it again.
func (r *run) persons() (all []string) {
	for _, one := range []string{r.request.Job.Actor, r.request.Job.TriggeringActor} {
		if one != "" && !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

func digestsOf(g *graph.Graph) (all []string) {
	for _, n := range g.Nodes {
		all = append(all, n.Digest.String())
		for _, d := range n.Foreign {
			all = append(all, d.Digest.String())
		}
	}
	for _, b := range g.Blobs() {
		all = append(all, b.Digest.String())
	}
	return all
}

// held is what the environment before holds.
type held struct {
	*From
	digest  v1.Hash // zero: its tag does not exist
	planned bool
	err     error
	records stay
}

func (i *image) held() *gate.Held {
	h := i.from
	if h == nil {
		return nil
	}
	if !i.pinned && i.comesFrom() {
		h.digest = i.root.Digest
	}
	e := &gate.Held{
		Environment: h.Environment, Reference: h.reference(), Planned: h.planned, Err: h.err,
		Recorded: h.records.known, Record: h.records.digest, Since: h.records.since, LedgerErr: h.records.err, Open: h.records.open,
	}
	if h.digest.Hex != "" {
		e.Digest = h.digest.String()
	}
	return e
}

func (h *held) reference() string { return h.Repository.Name() + ":" + h.Tag }

// readFrom reads what the environments before hold. A plan of this very run says
// what they held when it was made. One that comes from elsewhere is text that
// anybody may have written: then they must hold the image now.
func (r *run) readFrom(ctx context.Context) error {
	g, ctx := group(ctx)
	believed := r.request.Mode == Apply && r.isOwnPlan()
	for _, i := range r.images {
		if i.item.From == nil {
			continue
		}
		i.from = &held{From: i.item.From}
		g.Go(func() error { return r.readStay(ctx, i) })
		switch {
		case believed:
			i.from.planned, i.from.digest = true, i.item.From.Held
		case i.pinned || !i.comesFrom():
			g.Go(func() error { return r.readHeld(ctx, i) })
		}
	}
	return g.Wait()
}

// isOwnPlan reports whether an earlier job of this run made the plan, or an earlier
// attempt. Nobody knows a run's number before it begins.
func (r *run) isOwnPlan() bool {
	made, now := r.request.Plan.Job, r.request.Job
	return now.RunID != "" && made.RunID == now.RunID && strings.EqualFold(made.Repository, now.Repository)
}

// comesFrom reports whether the source is the very tag that must hold it.
func (i *image) comesFrom() bool {
	return i.item.Source.Tag == i.item.From.Tag && i.item.Source.Repository.Name() == i.item.From.Repository.Name()
}

func (r *run) readHeld(ctx context.Context, i *image) error {
	repo, err := r.openFrom(ctx, i)
	if err != nil {
		return err
	}
	m, err := repo.GetManifest(ctx, i.from.Tag)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	i.from.digest, i.from.err = m.Digest, err
	return nil
}

// readPrevious reads the images that the first moving tags hold now, as those may
// be newer than what is to replace them.
func (r *run) readPrevious(ctx context.Context, judged []*promotion) error {
	g, ctx := group(ctx)
	g.SetLimit(atOnce)
	for _, p := range judged {
		g.Go(func() (err error) {
			p.previous, err = p.readPrevious(ctx)
			return err
		})
	}
	return g.Wait()
}

func (p *promotion) readPrevious(ctx context.Context) (*gate.Image, error) {
	at := slices.IndexFunc(p.tags, func(t *tag) bool { return !t.fixed })
	if at < 0 {
		return nil, nil
	}
	root, existed := p.tags[at].before.Held()
	if !existed {
		return nil, nil
	}
	image := &gate.Image{Name: p.item.Image, Digest: root.Digest.String(), MediaType: root.MediaType}
	if root.Digest == p.root.Digest {
		image.Variants = p.variants
		return image, nil
	}
	w := graph.NewWalker(p.target, false)
	if err := w.Walk(ctx, root); err != nil {
		return nil, err
	}
	var err error
	image.Variants, err = variantsOf(ctx, p.target, w.Graph(root.Digest))
	return image, err
}

// sideOfFrom says whose credentials the environment before is read with: those of a
// side are for that side's registry alone.
func (i *image) sideOfFrom() credential.Side {
	at := i.from.Repository.RegistryStr()
	switch {
	case at == i.item.Source.Repository.RegistryStr():
		return sideSource
	case slices.ContainsFunc(i.item.Targets, func(t Target) bool { return t.Repository.RegistryStr() == at }):
		return sideTarget
	default:
		return credential.Elsewhere
	}
}

func (r *run) openFrom(ctx context.Context, i *image) (*registry.Repository, error) {
	return r.client.Open(ctx, i.sideOfFrom(), i.from.Repository, registry.Pull)
}
