package promote_test

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// setting is a kind of promotion that the tests of faults go through.
type setting struct {
	name                 string
	sourceAPI, targetAPI bool // the referrers API
	inside               bool // source and target are one registry
	retag                bool // and one repository
	auth, oneScope       bool
	rollback             bool // to an older digest, named by digest
	merge                bool // the target has attachments of its own, under the same names
	images               int  // more than one: several images and targets in one run
	verify               transfer.Level
	layers               int
	layerSize            int64
	rtt, tokenTTL        time.Duration // of the network, none by default; of tokens, a minute by default
	patch                bool          // the target takes only small bodies in a PUT
	lean                 bool          // few attachments
	bare                 bool          // none, and one platform
	vendor               string        // whose ways the target has; empty: nobody's
	plain                bool          // without TLS, and so without HTTP/2
}

// settings are all of them, with images of 2 platforms × 6 layers.
func settings() []setting {
	all := []setting{
		{name: "across"},
		{name: "across with the API and tokens", sourceAPI: true, targetAPI: true, auth: true},
		{name: "across from the API with tokens", sourceAPI: true, auth: true},
		{name: "across to the API", targetAPI: true},
		{name: "other repository with tokens", inside: true, auth: true},
		{name: "retag with tokens", inside: true, retag: true, auth: true},
		{name: "rollback", inside: true, retag: true, rollback: true},
		{name: "rollback across", rollback: true, targetAPI: true},
		{name: "several images", images: 3, auth: true, oneScope: true},
		{name: "merge", merge: true, auth: true},
		{name: "merge from the API", merge: true, sourceAPI: true, verify: transfer.Content},
	}
	for n := range all {
		all[n].layers, all[n].layerSize = 6, 60_000
		all[n].images = max(1, all[n].images)
		if all[n].verify == "" {
			all[n].verify = transfer.Blobs
		}
	}
	return all
}

// world is one setting with its registries, whose owners are asked where it says "owner".
type world struct {
	setting
	source, target *regtest.Registry
	parcels        []*parcel
	fixed          string // a fixed tag that every parcel has too; empty: none
}

// parcel is one image on its way to one repository.
type parcel struct {
	from, repo string // repositories of source and target
	reference  string // at the source: a tag, or @ and a digest
	image      *regtest.Image
	old        string // what the moving tag held before
	whole      *regtest.Tree
	theirs     *regtest.Tree // what the target had attached of its own
}

const user, password = "robot", "secret"

func authFor(s setting) *regtest.Auth {
	if !s.auth {
		return nil
	}
	return &regtest.Auth{OneScope: s.oneScope, TokenTTL: cmp.Or(s.tokenTTL, time.Minute), Users: map[string]regtest.User{
		user: {Password: password, Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}},
	}}
}

// newWorld makes the registries and fills them. begin starts a registry: with faults, or without.
func newWorld(ctx context.Context, s setting, seed string, begin func(side string, o regtest.Options) (*regtest.Registry, error)) (w *world, err error) {
	w = &world{setting: s}
	options := regtest.Options{Referrers: s.sourceAPI, Auth: authFor(s), Delete: true}
	if s.rtt > 0 {
		options.Network = &regtest.Network{RTT: s.rtt}
	}
	if s.inside {
		options.Traits = traitsOf(s.vendor)
	}
	w.source, err = begin("source", options)
	if err != nil {
		return nil, err
	}
	if w.target = w.source; !s.inside {
		options.Referrers, options.Traits = s.targetAPI, traitsOf(s.vendor)
		if w.target, err = begin("target", options); err != nil {
			return nil, err
		}
	}
	for n := range s.images {
		if err := w.fill(ctx, "", fmt.Sprint(seed, n), fmt.Sprint(n)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// at reaches one of the world's registries as the tests do, which no fault meets.
func (w *world) at(r *regtest.Registry) regtest.Access {
	if w.auth {
		return r.Access(user, password)
	}
	return r.Access("", "")
}

func (s setting) build(seed string) *regtest.Image {
	if s.bare {
		return regtest.Build(regtest.Spec{Seed: seed, Layers: s.layers, LayerSize: s.layerSize})
	}
	return regtest.Build(regtest.Spec{
		Seed: seed, Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: s.layers, LayerSize: s.layerSize,
	})
}

// attach gives an image what is attached to it; one that is lean gets one of each kind.
func (s setting) attach(i *regtest.Image, by string) {
	if s.bare {
		return
	}
	if !s.lean {
		attach(i, by)
		return
	}
	i.Sign(i.Root, ".sig", by)
	i.Attach(i.Attach(i.Children()[0], "application/vnd.example.bundle", by), "application/vnd.example.countersignature", by)
}

// attach gives the index and its children signatures, referrers, and referrers of those.
func attach(i *regtest.Image, by string) {
	for _, digest := range append([]string{i.Root}, i.Children()...) {
		i.Sign(digest, ".sig", by)
		i.Attach(i.Attach(digest, "application/vnd.example.bundle", by), "application/vnd.example.countersignature", by)
	}
}

// fill brings a parcel's image to the source, and to the target what it has already. The prefix keeps the repositories
// of several worlds on the same registries apart.
func (w *world) fill(ctx context.Context, prefix, seed, name string) error {
	p := &parcel{from: "acme/" + prefix + "app" + name, repo: "prod/" + prefix + "app" + name, reference: ":dev", image: w.build(seed)}
	w.attach(p.image, "ours")
	if w.retag {
		p.repo = p.from
	}
	previous := regtest.Build(regtest.Spec{Seed: "before " + seed, LayerSize: 1000})
	p.old = previous.Root
	tags := []string{"dev"}
	if w.rollback {
		p.reference, tags = "@"+p.image.Root, []string{"release-1"}
	}
	err := errors.Join(
		p.image.Push(ctx, w.at(w.source), p.from, tags...),
		previous.Push(ctx, w.at(w.target), p.repo, "production"),
	)
	if err != nil {
		return err
	}
	if p.whole, err = regtest.Read(ctx, w.at(w.source), p.from, p.image.Root); err != nil {
		return err
	}
	if w.merge {
		theirs := w.build(seed)
		w.attach(theirs, "theirs")
		if err := theirs.Push(ctx, w.at(w.target), p.repo); err != nil {
			return err
		}
		if p.theirs, err = regtest.Read(ctx, w.at(w.target), p.repo, p.image.Root); err != nil {
			return err
		}
	}
	w.parcels = append(w.parcels, p)
	return nil
}

// request promotes every parcel to its moving tag, and to the fixed one.
func (w *world) request() promote.Request {
	var items []promote.Item
	for _, p := range w.parcels {
		to := w.target.Host() + "/" + p.repo
		targets := []string{to + ":production"}
		if w.fixed != "" {
			targets = append(targets, fixed+to+":"+w.fixed)
		}
		items = append(items, item(failing{}, w.source.Host()+"/"+p.from+p.reference, targets...))
	}
	r := requestOf(items...)
	r.Verify = w.verify
	return r
}

// client is a new client of the program, as each of its runs has one.
func (w *world) client(transport http.RoundTripper, agent string) *registry.Client {
	o := w.options(agent)
	o.Transport = transport
	return registry.New(o)
}

func (w *world) options(agent string) registry.Options {
	o := registry.Options{UserAgent: agent}
	if w.auth {
		l := credential.Login{Username: user, Password: password}
		o.Credentials = &credential.Chain{Source: l, Target: l}
	}
	return o
}

// done expects every tag moved with everything below it, and listed, and what the target had of its own kept.
func (w *world) done(ctx context.Context) error {
	var all []error
	for _, p := range w.parcels {
		for _, tag := range w.tags() {
			if now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, tag); err != nil || now != p.image.Root {
				all = append(all, fmt.Errorf("tag %s:%s holds %q: %w", p.repo, tag, now, err))
			}
		}
		all = append(all, w.intact(ctx, p), w.listed(ctx, p, p.image.Root))
	}
	return errors.Join(all...)
}

// listed expects the ledger of a parcel to list that these images were promoted, each once and in this order, and none
// that was not.
func (w *world) listed(ctx context.Context, p *parcel, digests ...string) error {
	a, err := readAnnals(ctx, w.at(w.target), p.repo, "production")
	if err != nil {
		return err
	}
	var got []string
	for _, l := range a.lines {
		if l.good() {
			got = append(got, l.digest)
		}
	}
	err = a.sound(ctx, w, p.repo)
	if !slices.Equal(got, digests) {
		err = errors.Join(err, fmt.Errorf("the ledger of %s lists %q, and not %q", p.repo, a.all(), digests))
	}
	return err
}

// back is the request of a rollback of everything.
func (w *world) back() promote.Request {
	var items []promote.Item
	for _, p := range w.parcels {
		to := w.target.Host() + "/" + p.repo
		items = append(items, item(failing{}, to, to+":production"))
	}
	r := requestOf(items...)
	r.Mode, r.Reason, r.Verify = promote.Rollback, "INC-1", w.verify
	return r
}

// wentBack expects that every parcel holds what it held before, and that this is listed.
func (w *world) wentBack(ctx context.Context, d document.Report) error {
	if d.Result != document.RolledBack {
		return fmt.Errorf("%s, %+v", d.Result, d.Faults)
	}
	var all []error
	for _, p := range w.parcels {
		if now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, "production"); err != nil || now != p.old {
			all = append(all, fmt.Errorf("tag %s:production holds %q: %w", p.repo, now, err))
		}
		all = append(all, w.listed(ctx, p, p.image.Root, p.old))
	}
	return errors.Join(all...)
}

// recorded expects a record of an image, whatever became of it.
func (w *world) recorded(ctx context.Context, p *parcel, digest string) error {
	records, err := readRecords(ctx, w.at(w.target), p.repo, "production")
	if err == nil && !slices.ContainsFunc(records, func(r recordOf) bool { return r.subject == digest }) {
		err = fmt.Errorf("%s holds %s, and there is no record of it: %+v", p.repo, digest, records)
	}
	return err
}

func (w *world) tags() []string {
	if w.fixed == "" {
		return []string{"production"}
	}
	return []string{"production", w.fixed}
}

// intact reads all that belongs to a parcel at the target, byte for byte.
func (w *world) intact(ctx context.Context, p *parcel) error {
	tree, err := regtest.Read(ctx, w.at(w.target), p.repo, p.image.Root)
	if err != nil {
		return err
	}
	var lines []string
	for _, side := range []*regtest.Tree{p.whole, p.theirs} {
		if side == nil {
			continue
		}
		want := side
		if w.merge {
			lines = append(lines, lostLayers(side, tree)...)
			want = withoutSignatures(side)
		}
		lines = append(lines, regtest.Diff(want, tree)...)
	}
	if len(lines) > 0 {
		return fmt.Errorf("%s: %s", p.repo, strings.Join(lines, "; "))
	}
	return nil
}

// lostLayers lists what a cosign tag of one side held and the merged one does not: one layer is one signature.
func lostLayers(side, merged *regtest.Tree) (lines []string) {
	for tag, digest := range side.DigestTags {
		got := merged.Nodes[merged.DigestTags[tag]]
		for _, layer := range side.Nodes[digest].Blobs[1:] { // the first is the configuration
			if got == nil || !slices.Contains(got.Blobs, layer) {
				lines = append(lines, fmt.Sprintf("signature %s is lost from tag %s", layer, tag))
			}
		}
	}
	return lines
}

// withoutSignatures is a tree without cosign's manifests, which a merge replaces.
func withoutSignatures(t *regtest.Tree) *regtest.Tree {
	c := *t
	c.Nodes, c.Blobs, c.DigestTags = maps.Clone(t.Nodes), maps.Clone(t.Blobs), nil
	for _, digest := range t.DigestTags {
		delete(c.Blobs, t.Nodes[digest].Blobs[0])
		delete(c.Nodes, digest)
	}
	return &c
}

// honest holds what design asks of every end of a run: a tag is its old digest or the new, complete one; success is said
// only when all is done; and the report tells the truth about each tag.
func (w *world) honest(ctx context.Context, d document.Report) error {
	if d.Result.ExitCode() == 0 {
		return w.done(ctx)
	}
	var all []error
	if len(d.Faults) == 0 {
		all = append(all, fmt.Errorf("%s without a reason", d.Result))
	}
	for n, p := range w.parcels {
		for _, tag := range w.tags() {
			now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, tag)
			all = append(all, err)
			if n < len(d.Promotions) {
				all = append(all, truth(d.Promotions[n], tag, now))
			}
		}
	}
	return errors.Join(append(all, w.either(ctx, false))...)
}

// truth compares what a report says of a tag with what it holds. It says nothing of a tag that was not read, and of one
// whose write failed without an answer, and which a read then showed unmoved, only that: the read may have lagged behind.
func truth(p document.Promotion, tag, now string) error {
	for _, said := range p.Tags {
		switch {
		case !strings.HasSuffix(said.Reference, ":"+tag), said.State == document.TagUnknown:
		case said.State == document.TagPending && said.Before == "" && said.Note == "":
		case said.State == document.TagPending && strings.Contains(said.Note, "read it again"):
		case said.After != now:
			return fmt.Errorf("tag %s is said to hold %q (%s, %q) and holds %q", tag, said.After, said.State, said.Note, now)
		}
	}
	return nil
}

// trial is one run of the program in one world under faults, in a bubble where time passes as soon as everybody waits.
type trial struct {
	*world
	seed   uint64
	memory *regtest.Memory
	chaos  []*regtest.Chaos
}

// tryIn makes a trial: o says which faults there are.
func tryIn(t *testing.T, s setting, o regtest.ChaosOptions, run func(*testing.T, *trial)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := &trial{seed: o.Seed, memory: regtest.NewMemory()}
		defer tr.memory.Close()
		var err error
		tr.world, err = newWorld(t.Context(), s, fmt.Sprint(o.Seed), func(side string, options regtest.Options) (*regtest.Registry, error) {
			options.Memory = tr.memory
			if !s.plain { // with the windows that nginx has, so that a body nobody reads stalls
				options.TLS, options.Name, options.Window = true, side+".test", 64<<10
			}
			o.Side = side
			r, c, err := regtest.StartChaos(options, o)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { _ = r.Close() })
			tr.chaos = append(tr.chaos, c)
			return r, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		run(t, tr)
	})
}

// limitOfRun is the default of the input timeout.
const limitOfRun = 30 * time.Minute

func (tr *trial) promote(ctx context.Context, o promote.Observer) document.Report {
	return tr.run(ctx, tr.request(), o)
}

func (tr *trial) run(ctx context.Context, r promote.Request, o promote.Observer) document.Report {
	ctx, cancel := promote.WithTimeout(ctx, limitOfRun)
	defer cancel()
	client := tr.own()
	defer client.Close()
	return promote.Run(ctx, client, r, o)
}

// own is a client with the transports that the program has: HTTP/2 for what is small, and HTTP/1.1 for blobs.
func (tr *trial) own() *registry.Client {
	o := tr.options("")
	o.Dial = tr.memory.DialContext
	if !tr.plain {
		o.Roots = x509.NewCertPool()
		o.Roots.AppendCertsFromPEM(tr.source.CAPEM())
	}
	return registry.New(o)
}

func (tr *trial) calm() {
	for _, c := range tr.chaos {
		c.Calm()
	}
}

// secrets expects that no credential went where none may go, and that nobody was sent far away without encryption.
func (tr *trial) secrets() error {
	for _, c := range tr.chaos {
		if leaks := c.Leaks(); len(leaks) > 0 {
			return fmt.Errorf("credentials went to another host: %q", leaks)
		}
	}
	for _, host := range tr.memory.Unknown() {
		if strings.HasPrefix(host, regtest.FarHost) {
			return fmt.Errorf("the program went to %s", host)
		}
	}
	return nil
}

// tell describes a trial that went wrong: its faults in order.
func (tr *trial) tell() string {
	var lines []string
	for _, c := range tr.chaos {
		for _, s := range c.Strikes() {
			lines = append(lines, s.String())
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// pick takes a setting by seed; one run in four is without TLS.
func pick(seed uint64) setting {
	all := settings()
	s := all[int(seed)%len(all)]
	s.plain = seed%4 == 0
	return s
}
