package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Book is one ledger of a repository, as one promotion uses it: not for several
// goroutines at once.
type Book struct {
	repo   *registry.Repository
	finder *referrer.Finder
	key    string
	looked map[string]*found // what was under records' tags before this run wrote there

	stocked bool        // the empty configuration was stored
	fixed   bool        // the ledger's tag was refused: it cannot be changed
	known   version     // the newest that there is
	serials map[int]int // the newest of each part
	notices []string
}

// Open returns the ledger called key, an environment's name or else the first moving
// tag's. The finder is the one that the run uses for the repository.
func Open(repo *registry.Repository, finder *referrer.Finder, key string) *Book {
	return &Book{repo: repo.Uncached(), finder: finder, key: key, looked: map[string]*found{}, serials: map[int]int{}}
}

// Reference is the ledger's tag.
func (b *Book) Reference() string { return b.repo.Reference(ledgerTag(b.key)) }

// Notices are what the ledger's user should know and set, each once.
func (b *Book) Notices() []string { return slices.Clone(b.notices) }

func (b *Book) notice(text string) {
	if !slices.Contains(b.notices, text) {
		b.notices = append(b.notices, text)
	}
}

// Read reads the newest part of the ledger, one request. A ledger that does not
// exist is an empty page. What is under its tag and is no ledger is an error: it
// would be overwritten.
//
// Where tags cannot be changed, the tag holds what was written there first;
// [Book.CatchUp], which knows the repository's tags, goes on from there.
func (b *Book) Read(ctx context.Context) (*Page, error) { return b.read(ctx, ledgerTag(b.key)) }

func (b *Book) read(ctx context.Context, ref string) (*Page, error) {
	m, err := b.repo.GetManifest(ctx, ref)
	if errors.Is(err, registry.ErrNotFound) {
		return &Page{}, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := parsePage(m, b.key)
	if err == nil {
		return p, nil
	}
	return nil, b.fail("read ledger", ref, err,
		"That tag is where the promotions of an environment are listed. If it is yours, rename it; if it is a damaged ledger, delete the tag: it is made again from the records, each of which has a tag of its own.")
}

func (b *Book) fail(op, ref string, err error, hint string) error {
	return &registry.Error{Op: op, Side: b.repo.Side(), Ref: b.repo.Reference(ref), Err: err, Hint: hint}
}

// maxParts bounds how many parts a ledger has: 200,000 promotions.
const maxParts = 1000

// maxRead bounds how many lines are held at once.
const maxRead = 100_000

// History is what a ledger says, oldest first.
type History struct {
	Lines   []document.Line
	Whole   bool // it begins with the first line; else there are older ones that were not read
	Rebuilt bool // the ledger was made from records after it was lost: what is older may be missing
}

// History reads older parts until it has at least so many lines, or all; 0 means
// all; a page alone may have but a few, where the part before it has just been full.
// It takes one request for each 200 lines. If a part cannot be read, what is
// newer is returned with the error.
func (b *Book) History(ctx context.Context, p *Page, least int) (History, error) {
	parts, err := b.parts(ctx, p, func(lines int) bool { return least > 0 && lines >= least })
	h := History{Whole: err == nil && parts[len(parts)-1].older == "", Rebuilt: parts[len(parts)-1].rebuilt}
	for _, part := range slices.Backward(parts) {
		h.Lines = append(h.Lines, part.Lines()...)
	}
	return h, err
}

// parts are the page and older ones, newest first, until enough says so.
func (b *Book) parts(ctx context.Context, p *Page, enough func(lines int) bool) ([]*Page, error) {
	parts, lines := []*Page{p}, len(p.entries)
	for p.older != "" && !enough(lines) {
		older, err := b.before(ctx, p)
		if err != nil {
			return parts, err
		}
		p = older
		if parts, lines = append(parts, p), lines+len(p.entries); lines > maxRead {
			return parts, b.fail("read ledger", ledgerTag(b.key), fmt.Errorf("it has more than %d lines", maxRead), "Ask for fewer of them.")
		}
	}
	return parts, nil
}

// before reads the part before one. Parts count down, so that a chain of them ends.
func (b *Book) before(ctx context.Context, p *Page) (*Page, error) {
	older, err := b.read(ctx, p.older)
	switch {
	case err != nil:
		return nil, err
	case !older.Exists():
		return nil, b.fail("read ledger", p.older, fmt.Errorf("part %d of the ledger is gone", p.part-1),
			"A clean-up may have deleted it. Exclude promotion-ledger* and promotion-record* from it. What the ledger lists since is whole.")
	case older.part >= p.part:
		return nil, b.fail("read ledger", p.older, fmt.Errorf("part %d of the ledger says that it comes after part %d", p.part, older.part), "Somebody has altered the ledger.")
	}
	return older, nil
}

// Record reads the record of a line, two requests at most, and its bytes as they
// were written. It is the record of that digest, or an error.
func (b *Book) Record(ctx context.Context, line document.Line) (document.Record, []byte, error) {
	digest, err := v1.NewHash(line.Record)
	if err != nil || line.Size < 1 || line.Size > document.MaxRecord {
		return document.Record{}, nil, b.fail(readRecord, line.Record, errors.New("its digest or size is none"), "")
	}
	return b.record(ctx, v1.Descriptor{MediaType: document.RecordMediaType, Digest: digest, Size: line.Size})
}

func (b *Book) record(ctx context.Context, blob v1.Descriptor) (document.Record, []byte, error) {
	from := b.repo.OpenBlob(ctx, blob)
	raw, err := io.ReadAll(from)
	if err = errors.Join(err, from.Close()); err != nil {
		return document.Record{}, nil, err
	}
	r, err := document.ParseRecord(raw)
	if err != nil {
		return document.Record{}, raw, b.fail(readRecord, blob.Digest.String(), err, "")
	}
	return r, raw, nil
}

// put stores a blob that is in memory.
func (b *Book) put(ctx context.Context, d v1.Descriptor, raw []byte) error {
	_, err := b.repo.PutBlob(ctx, registry.Upload{Blob: d, Open: func(context.Context) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(raw))
	}})
	return err
}

const readRecord = "read record"
