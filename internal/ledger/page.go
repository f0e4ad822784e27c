package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Type is the artifact type of a ledger's manifest.
const Type = "application/vnd.artifact-promotion.ledger.v1+json"

// maxLines is how many lines a part has before the next one begins.
const maxLines = 200

// maxPart is how large a part gets, in bytes; lines of newer versions may be long.
const maxPart = 2 << 20

// Page is the newest part of a ledger as it was read, with what is to be added. Its
// zero value is a ledger that does not exist yet. Nothing changes a page.
type Page struct {
	entries []entry
	part    int               // 1, 2, …
	serial  int               // of the newest version that it has all lines of; 0: there is none
	older   string            // digest of the part before; empty: this is the first
	rebuilt bool              // from records, after the ledger was lost
	extra   map[string]string // annotations as they were read
	digest  v1.Hash           // of the manifest that was read; zero: there was none
	settled seal              // the records of all older parts
	changed bool              // since it was read
	stocked bool              // the empty configuration is known to be in the repository
}

// Lines are the part's lines, oldest first.
func (p *Page) Lines() []document.Line {
	lines := make([]document.Line, len(p.entries))
	for i, e := range p.entries {
		lines[i] = e.Line
	}
	return lines
}

// Exists reports whether there was a ledger when it was read.
func (p *Page) Exists() bool { return p.digest.Hex != "" }

// Last is the digest of the newest record, empty if there is none: what the next
// one names as the record before it.
func (p *Page) Last() string {
	if len(p.entries) == 0 {
		return ""
	}
	return p.entries[len(p.entries)-1].Record
}

func (p *Page) find(record string) int {
	return slices.IndexFunc(p.entries, func(e entry) bool { return e.Record == record })
}

// with is the page with a line more, or with a better outcome of one that it has.
func (p *Page) with(e entry) *Page {
	at := p.find(e.Record)
	if at < 0 {
		return p.insert(e)
	}
	next := *p
	next.entries, next.changed = slices.Clone(p.entries), true
	next.entries[at] = better(p.entries[at], e)
	return &next
}

// insert adds a line behind the one that it follows, before those that came later.
func (p *Page) insert(e entry) *Page {
	at := p.find(e.PreviousRecord) + 1
	for at < len(p.entries) && byTime(p.entries[at], e) < 0 {
		at++
	}
	next := *p
	next.entries, next.changed = slices.Insert(slices.Clone(p.entries), at, e), true
	return &next
}

// better is the one of two entries of a record that says more: of attempts of one
// run, one can fail and another succeed.
func better(a, b entry) entry {
	if rank(b.Line) <= rank(a.Line) {
		return a
	}
	all := maps.Clone(a.layer.Annotations)
	maps.Copy(all, b.layer.Annotations)
	b.layer.Annotations = all
	return b
}

func rank(l document.Line) int {
	switch {
	case l.Fault != "":
		return 0
	case l.Outcome == document.OutcomeUnconfirmed:
		return 1
	case l.Outcome == document.OutcomeFailed:
		return 2
	case l.Outcome.Good():
		return 4
	default:
		return 3 // a newer version's
	}
}

// image is the manifest that a part is written as (image-spec, "Guidelines for
// Artifact Usage").
type image struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        v1.Descriptor     `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Subject       *v1.Descriptor    `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

func (i image) manifest() registry.Manifest {
	i.SchemaVersion, i.MediaType, i.Config = 2, types.OCIManifestSchema1, empty
	return registry.NewManifest(string(types.OCIManifestSchema1), encode(i))
}

// emptyConfig is the blob of every manifest that has no configuration (image-spec,
// "Guidance for an Empty Descriptor").
const emptyConfig = "{}"

var empty = v1.Descriptor{
	MediaType: "application/vnd.oci.empty.v1+json", Size: int64(len(emptyConfig)),
	Digest: v1.Hash{Algorithm: "sha256", Hex: hash(emptyConfig)},
}

func (p *Page) manifest(key string) registry.Manifest {
	i := image{ArtifactType: Type, Annotations: maps.Clone(p.extra)}
	if i.Annotations == nil {
		i.Annotations = map[string]string{}
	}
	i.Annotations[notes+"ledger"] = key
	i.Annotations[notes+"part"] = strconv.Itoa(p.number())
	if p.older != "" {
		i.Annotations[notes+"older"] = p.older
		i.Annotations[notes+"settled"] = p.settled.String()
	}
	if p.rebuilt {
		i.Annotations[notes+"rebuilt"] = "true"
	}
	if p.serial > 0 {
		i.Annotations[notes+"version"] = strconv.Itoa(p.serial)
	}
	for _, e := range p.entries {
		i.Layers = append(i.Layers, e.layer)
	}
	return i.manifest()
}

// number is the part's: a ledger begins with 1.
func (p *Page) number() int { return max(p.part, 1) }

// version is the newest that the page has all lines of.
func (p *Page) version() version { return version{p.number(), p.serial} }

// parsePage reads a part of the ledger called key as a stranger's text.
func parsePage(m registry.Manifest, key string) (*Page, error) {
	var i struct {
		ArtifactType string            `json:"artifactType"`
		Config       v1.Descriptor     `json:"config"`
		Layers       json.RawMessage   `json:"layers"`
		Annotations  map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(m.Raw, &i); err != nil {
		return nil, errors.New("it is no image manifest")
	}
	if i.ArtifactType != Type {
		return nil, fmt.Errorf("it holds %q, and no ledger", registry.Cut(i.ArtifactType, 100))
	}
	if name := i.Annotations[notes+"ledger"]; name != key {
		return nil, fmt.Errorf("it is the ledger of %q, and not of %q", registry.Cut(name, 100), key)
	}
	p := &Page{older: i.Annotations[notes+"older"], rebuilt: i.Annotations[notes+"rebuilt"] != "", extra: i.Annotations, digest: m.Digest, settled: readSeal(i.Annotations[notes+"settled"])}
	p.stocked = i.Config.Digest == empty.Digest
	p.serial, _ = strconv.Atoi(i.Annotations[notes+"version"])
	p.serial = min(max(p.serial, 0), maxSerial)
	number := i.Annotations[notes+"part"]
	if p.part, _ = strconv.Atoi(number); p.part < 1 || p.part > maxParts {
		return nil, fmt.Errorf("its part %q is none", registry.Cut(number, 20))
	}
	if p.older != "" && !isDigest(p.older) || (p.part == 1) != (p.older == "") {
		return nil, fmt.Errorf("its part %d follows %q, which cannot be", p.part, registry.Cut(p.older, 100))
	}
	return p, p.readLines(i.Layers)
}

// mostLines is how many lines a part may have that another version wrote.
const mostLines = 10_000

func (p *Page) readLines(layers json.RawMessage) error {
	if len(layers) == 0 {
		return nil
	}
	return registry.EachDescriptor(layers, func(_ json.RawMessage, d v1.Descriptor) error {
		if d.Digest.Hex == "" || len(p.entries) == mostLines {
			return fmt.Errorf("a line of it names no record, or it has more than %d", mostLines)
		}
		p.entries = append(p.entries, readEntry(d))
		return nil
	})
}

// split cuts a page that has grown too long into full parts and the rest.
func (p *Page) split() []*Page {
	var pages []*Page
	rest := *p
	for n := rest.fits(); n < len(rest.entries); n = rest.fits() {
		full := rest
		full.entries = rest.entries[:n:n]
		pages = append(pages, &full)
		rest = Page{entries: rest.entries[n:], part: full.number() + 1, settled: full.settled.with(full.recordTags())}
	}
	return append(pages, &rest)
}

// fits is how many lines the part can have, at least one.
func (p *Page) fits() int {
	size := 0
	for i, e := range p.entries {
		if size += len(encode(e.layer)) + 1; i > 0 && size > maxPart || i == maxLines {
			return i
		}
	}
	return len(p.entries)
}

// byTime orders lines as those of a joined ledger are.
func byTime(a, b entry) int {
	if c := a.Time.Compare(b.Time); c != 0 {
		return c
	}
	return strings.Compare(a.Record, b.Record)
}

// notBefore is a time no earlier than a record's that it follows: what was written later
// comes later, although clocks differ. A clock that is far ahead is not followed.
func notBefore(last, now time.Time) time.Time {
	const drift = time.Hour
	if ahead := last.Sub(now); ahead >= 0 && ahead < drift {
		return last.Add(time.Millisecond)
	}
	return now
}
