package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// RecordType is the artifact type of a record's manifest, as it hangs on the image.
const RecordType = "application/vnd.artifact-promotion.record.v1+json"

// Written is a record that is in the registry and not yet in the ledger.
type Written struct {
	line document.Line
	// Reused says that an earlier attempt of the same run had written it.
	Reused bool

	listing *referrer.Attaching // that is to be settled; nil: there is nothing to settle
}

// Digest is the record's.
func (w Written) Digest() string { return w.line.Record }

// Line is the line that [Book.Append] writes, but for the time when its tags moved.
func (w Written) Line(outcome document.Outcome) document.Line {
	line := w.line
	line.Outcome = outcome
	return line
}

// Draft is a record whose bytes are in the registry, and which is none yet: nothing
// names them.
type Draft struct {
	page    *Page
	record  document.Record
	raw     []byte
	tag     string
	earlier *found // what is under its tag; nil: nothing
}

// Draft stores the bytes of a record. The page is what was read of the ledger: the
// record follows its last line, and bears a time no earlier than that line's. Ledger
// and PreviousRecord of the record are set here. After [Book.Prepare] it takes the
// round trips of one blob.
func (b *Book) Draft(ctx context.Context, p *Page, r document.Record) (*Draft, error) {
	r.Ledger, r.PreviousRecord = b.key, p.Last()
	if n := len(p.entries); n > 0 {
		r.Ended = notBefore(p.entries[n-1].Time, r.Ended.UTC())
	}
	raw, err := r.Encode()
	if err != nil {
		return nil, err
	}
	d := &Draft{page: p, record: r, raw: raw, tag: recordTag(b.key, identity(r))}
	if r.Job.RunID == "" {
		d.tag = d.freshTag()
	}
	d.earlier, err = b.store(ctx, p, r, raw)
	return d, err
}

// freshTag is a tag that nothing is under.
func (d *Draft) freshTag() string {
	return recordTag(d.record.Ledger, identity(d.record, rand.Text()))
}

// Attach makes a draft a record, under a tag of its own and attached to the image,
// before the first tag moves.
//
// What an earlier attempt of the same run wrote for the same image is the record of
// this attempt too, unless something else happened there since.
//
// It takes the round trips of a manifest, and of the writing of a list where the registry
// has no referrers API. [Book.Settle] must follow.
func (b *Book) Attach(ctx context.Context, d *Draft, image v1.Descriptor) (Written, error) {
	earlier := d.earlier
	if earlier == nil {
		w, err := b.write(ctx, d.tag, d.record, d.raw, image)
		if !errors.Is(err, registry.ErrTagImmutable) {
			return w, err
		}
		delete(b.looked, d.tag)
		if earlier, err = b.look(ctx, d.tag); earlier == nil || err != nil { // the list of tags did not show it
			return Written{}, errors.Join(err, fmt.Errorf("%s cannot be written, and is not there", b.repo.Reference(d.tag)))
		}
	}
	if !earlier.serves(d.record, d.page) {
		return b.write(ctx, d.freshTag(), d.record, d.raw, image)
	}
	w := earlier.written()
	w.Reused = true
	var err error
	w.listing, err = b.list(ctx, image, earlier.manifest, false)
	return w, err
}

// Settle sees that no rival has taken the record from what is listed as attached to the
// image. It can go on while tags move: the record stands, and was listed.
func (b *Book) Settle(ctx context.Context, w Written) error {
	if w.listing == nil {
		return nil
	}
	_, err := w.listing.Settle(ctx)
	return b.unlistable(err)
}

// Prepare asks what need not wait for the record: whether an earlier attempt has
// written one. It writes nothing, and what it has not done Draft does, so that its error
// may be left at that.
func (b *Book) Prepare(ctx context.Context, job document.Job, mode document.Mode) error {
	_, err := b.lookFor(ctx, recordTag(b.key, b.identity(job, mode)), job)
	return err
}

func (b *Book) identity(job document.Job, mode document.Mode) string {
	return identity(document.Record{Job: job, Ledger: b.key, Mode: mode, Repository: b.repo.Name()})
}

// stock stores the empty configuration.
func (b *Book) stock(ctx context.Context, p *Page) error {
	if p.stocked || b.stocked {
		return nil
	}
	err := b.put(ctx, empty, []byte(emptyConfig))
	b.stocked = err == nil
	return err
}

// Earlier is the record that an earlier attempt of a run wrote, if nothing else has
// been recorded since; nil if there is none. What is made anew must then be the same:
// tags with a date in them, and where a rollback goes. It takes two requests, or four
// where attempts have brought different images, which Attach does not make again.
func (b *Book) Earlier(ctx context.Context, p *Page, job document.Job, mode document.Mode) (*document.Record, error) {
	if job.RunID == "" {
		return nil, nil
	}
	f, err := b.own(ctx, p, job, mode)
	if f == nil || err != nil || f.err != nil || f.record.Job.Attempt == job.Attempt || !f.newest(p) {
		return nil, err
	}
	return &f.record, nil
}

// own is the record of a run's earlier attempts, nil if there is none: the one under
// the run's tag, or, where something else came after that, the newest of all, if it is of
// this run too. An attempt that brings another image writes a record of its own.
func (b *Book) own(ctx context.Context, p *Page, job document.Job, mode document.Mode) (*found, error) {
	id := b.identity(job, mode)
	f, err := b.lookFor(ctx, recordTag(b.key, id), job)
	if f == nil || err != nil || f.newest(p) || len(p.entries) == 0 {
		return f, err
	}
	last := p.entries[len(p.entries)-1]
	if last.RecordTag == "" || last.Fault != "" {
		return f, nil
	}
	newest, err := b.look(ctx, last.RecordTag)
	if newest == nil || err != nil || newest.err != nil || b.identity(newest.record.Job, newest.record.Mode) != id {
		return f, err
	}
	return newest, nil
}

// look is lookUp, once for each tag.
func (b *Book) look(ctx context.Context, tag string) (*found, error) {
	if f, known := b.looked[tag]; known {
		return f, nil
	}
	f, err := b.lookUp(ctx, tag)
	if err == nil {
		b.looked[tag] = f
	}
	return f, err
}

// lookFor is look, where there may be something: a first attempt has written nothing
// that the list of tags does not show.
func (b *Book) lookFor(ctx context.Context, tag string, job document.Job) (*found, error) {
	if job.RunID == "" {
		return nil, nil
	}
	if _, known := b.looked[tag]; !known && job.Attempt == "1" {
		tags, all, err := b.finder.Tags(ctx)
		if err == nil && all && !slices.Contains(tags, tag) {
			return nil, nil
		}
	}
	return b.look(ctx, tag)
}

// store brings the blobs, and reads meanwhile what earlier attempts have written.
func (b *Book) store(ctx context.Context, p *Page, r document.Record, raw []byte) (earlier *found, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		earlier, err = b.own(ctx, p, r.Job, r.Mode)
		return err
	})
	g.Go(func() error { return b.put(ctx, blobOf(raw), raw) })
	g.Go(func() error { return b.stock(ctx, p) })
	return earlier, g.Wait()
}

func blobOf(raw []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: document.RecordMediaType, Digest: v1.Hash{Algorithm: "sha256", Hex: hash(string(raw))}, Size: int64(len(raw))}
}

func (b *Book) write(ctx context.Context, tag string, r document.Record, raw []byte, subject v1.Descriptor) (Written, error) {
	blob := blobOf(raw)
	m := image{
		ArtifactType: RecordType, Layers: []v1.Descriptor{blob},
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: map[string]string{
			"in-toto.io/predicate-type": document.PredicateType,
			notes + "ledger":            b.key,
			notes + "record":            blob.Digest.String(),
		},
	}.manifest()
	ahead := b.finder.ReadAhead(ctx, subject.Digest)
	indexed, err := b.repo.PutManifest(ctx, tag, m)
	<-ahead
	if err != nil {
		return Written{}, err
	}
	b.finder.Wrote(tag)
	f := found{ref: tag, manifest: m, blob: blob, record: r}
	b.looked[tag] = &f
	w := f.written()
	w.listing, err = b.list(ctx, subject, m, indexed)
	return w, err
}

// list makes the record findable from the image.
func (b *Book) list(ctx context.Context, subject v1.Descriptor, m registry.Manifest, indexed bool) (*referrer.Attaching, error) {
	if indexed {
		return nil, nil
	}
	var i image
	if err := json.Unmarshal(m.Raw, &i); err != nil {
		return nil, err
	}
	a, err := b.finder.Begin(ctx, subject.Digest, []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Digest: m.Digest, Size: int64(len(m.Raw)),
		ArtifactType: i.ArtifactType, Annotations: i.Annotations,
	}})
	if err != nil {
		return nil, b.unlistable(err)
	}
	return a, nil
}

// unlistable takes it for no error that a list cannot be changed: the record's own tag, and
// its subject, stand in for it.
func (b *Book) unlistable(err error) error {
	if !errors.Is(err, registry.ErrTagImmutable) {
		return err
	}
	b.notice(fmt.Sprintf("Tags of %s cannot be changed, and the registry has no referrers API: the record is not listed among what is attached to the image. Exclude sha256-* from immutability.", b.repo.Name()))
	return nil
}

// BlobsOf are the blobs that the manifest of a line's record has.
func BlobsOf(line document.Line) []v1.Hash {
	blobs := []v1.Hash{empty.Digest}
	if digest, err := v1.NewHash(line.Record); err == nil {
		blobs = append(blobs, digest)
	}
	return blobs
}

// found is a record that was read by its tag.
type found struct {
	ref      string // its tag, or the digest of its manifest
	manifest registry.Manifest
	blob     v1.Descriptor
	record   document.Record
	err      error // why it is no record of this ledger; the rest is then not there
}

func (f found) line(outcome document.Outcome) document.Line {
	line := document.LineOf(f.record, f.blob.Digest.String(), f.blob.Size, outcome)
	if !isDigest(f.ref) {
		line.RecordTag = f.ref
	}
	return line
}

func (f found) written() Written { return Written{line: f.line("")} }

// serves reports whether a record is that of the attempt that r is of: the same
// change of the same tags, and nothing happened since.
func (f *found) serves(r document.Record, p *Page) bool {
	return f.err == nil && f.record.Digest == r.Digest && f.record.Mode == r.Mode && f.record.Job.RunID == r.Job.RunID &&
		(r.PreviousDigest == f.record.PreviousDigest || r.PreviousDigest == r.Digest) &&
		slices.Equal(tagNames(f.record), tagNames(r)) && f.newest(p)
}

func tagNames(r document.Record) []string {
	var names []string
	for _, tag := range r.Tags {
		names = append(names, tag.Name)
	}
	slices.Sort(names)
	return names
}

// newest reports whether no other record came after this one.
func (f *found) newest(p *Page) bool {
	return p.Last() == f.blob.Digest.String() || p.find(f.blob.Digest.String()) < 0 && p.Last() == f.record.PreviousRecord
}

// lookUp reads a record by its tag or manifest, two requests; nil if there is none. What is
// there and is no record of this ledger says so in its err.
func (b *Book) lookUp(ctx context.Context, ref string) (*found, error) {
	m, err := b.repo.GetManifest(ctx, ref)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := &found{ref: ref, manifest: m}
	f.blob, f.err = recordIn(m)
	if f.err == nil {
		f.record, _, f.err = b.record(ctx, f.blob)
	}
	if f.err == nil {
		f.err = b.owns(f.record)
	}
	if trouble(f.err) {
		return nil, f.err
	}
	return f, nil
}

// trouble tells an error of the registry from one of what it holds.
func trouble(err error) bool {
	var e *registry.Error
	return errors.As(err, &e) && e.Op != readRecord && !errors.Is(err, registry.ErrNotFound) && !errors.Is(err, registry.ErrMismatch)
}

// owns refuses the record of another ledger or repository.
func (b *Book) owns(r document.Record) error {
	if r.Ledger != b.key || r.Repository != b.repo.Name() {
		return fmt.Errorf("it is a record of %q in %q", registry.Cut(r.Ledger, 100), registry.Cut(r.Repository, 200))
	}
	return nil
}

// recordIn is the blob of a record's manifest, which is a stranger's text.
func recordIn(m registry.Manifest) (v1.Descriptor, error) {
	var i struct {
		ArtifactType string          `json:"artifactType"`
		Layers       json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(m.Raw, &i); err != nil || i.ArtifactType != RecordType {
		return v1.Descriptor{}, errors.New("it is no record's manifest")
	}
	var blobs []v1.Descriptor
	err := registry.EachDescriptor(i.Layers, func(_ json.RawMessage, d v1.Descriptor) error {
		if len(blobs) == 1 || d.Digest.Hex == "" || d.Size < 1 || d.Size > document.MaxRecord {
			return errors.New("it has not one record of a size that a record can have")
		}
		blobs = append(blobs, d)
		return nil
	})
	if err == nil && len(blobs) == 0 {
		err = errors.New("it has no record")
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	return blobs[0], nil
}
