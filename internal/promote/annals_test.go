package promote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// annals are what a ledger's newest part says, read as JSON, by none of the program's own means.
type annals struct {
	key   string
	lines []annal // oldest first
}

// annal is one line.
type annal struct {
	record, result, mode, digest, previous, run, tag string
}

func (l annal) good() bool { return l.result == "promoted" || l.result == "rolled-back" }

func (l annal) String() string { return l.result + " " + l.digest + " by " + l.run }

// annotated begins the names of annotations.
const annotated = "io.github.artifact-promotion."

// manifestOf is what the tests read of a manifest.
type manifestOf struct {
	ArtifactType string
	Subject      struct{ Digest string }
	Layers       []struct {
		Digest      string
		Annotations map[string]string
	}
	Annotations map[string]string
}

// readAnnals reads the ledger of a repository; none is one without lines.
func readAnnals(ctx context.Context, at regtest.Access, repo, key string) (annals, error) {
	a := annals{key: key}
	if _, exists, err := regtest.TagDigest(ctx, at, repo, "promotion-ledger-"+key); err != nil || !exists {
		return a, err
	}
	_, text, err := regtest.GetManifest(ctx, at, repo, "promotion-ledger-"+key)
	if err != nil {
		return a, err
	}
	var m manifestOf
	if err := json.Unmarshal(text, &m); err != nil {
		return a, err
	}
	for _, l := range m.Layers {
		note := func(name string) string { return l.Annotations[annotated+name] }
		a.lines = append(a.lines, annal{
			record: l.Digest, result: note("result"), mode: note("mode"), digest: note("digest"), previous: note("previous-digest"),
			run: strings.TrimPrefix(note("reason"), "TICKET-"), tag: note("record-tag"),
		})
	}
	return a, nil
}

// good are the lines that say that the environment held an image.
func (a annals) good() (all []string) {
	for _, l := range a.lines {
		if l.good() {
			all = append(all, l.String())
		}
	}
	return all
}

func (a annals) all() (all []string) {
	for _, l := range a.lines {
		all = append(all, l.String())
	}
	return all
}

// recordOf is a record in the registry, by its tag.
type recordOf struct {
	tag, record, subject, run string
}

// readRecords reads every record of a ledger by its tag, and hashes what is below it.
func readRecords(ctx context.Context, at regtest.Access, repo, key string) ([]recordOf, error) {
	tags, err := regtest.Tags(ctx, at, repo)
	if err != nil {
		return nil, err
	}
	var all []recordOf
	for _, tag := range tags {
		if !strings.HasPrefix(tag, "promotion-record-"+key+"-") {
			continue
		}
		tree, err := regtest.Read(ctx, at, repo, tag)
		if err != nil {
			return nil, fmt.Errorf("record %s: %w", tag, err)
		}
		_, text, err := regtest.GetManifest(ctx, at, repo, tag)
		if err != nil {
			return nil, err
		}
		var m manifestOf
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, err
		}
		if len(m.Layers) != 1 || tree.Nodes[tree.Root].Subject != m.Subject.Digest {
			return nil, fmt.Errorf("record %s is %s", tag, text)
		}
		all = append(all, recordOf{tag: tag, record: m.Layers[0].Digest, subject: m.Subject.Digest})
	}
	return all, nil
}

// sound expects that each line has one record of its image, and each record one line at most; that what was promoted is
// there; and that the chain is whole.
func (a annals) sound(ctx context.Context, w *world, repo string) error {
	records, err := readRecords(ctx, w.at(w.target), repo, a.key)
	if err != nil {
		return err
	}
	var all []error
	seen := map[string]bool{}
	for _, l := range a.lines {
		if seen[l.record] {
			all = append(all, fmt.Errorf("%s is listed twice", l.record))
		}
		seen[l.record] = true
		n := slices.IndexFunc(records, func(r recordOf) bool { return r.tag == l.tag })
		if n < 0 || records[n].record != l.record || records[n].subject != l.digest {
			all = append(all, fmt.Errorf("the line %+v has no record: %+v", l, records))
		}
		if _, exists, err := regtest.TagDigest(ctx, w.at(w.target), repo, l.digest); l.good() && (err != nil || !exists) {
			all = append(all, fmt.Errorf("the image of the line %+v is not there: %w", l, err))
		}
	}
	if len(a.lines) == 0 {
		return errors.Join(all...)
	}
	return errors.Join(append(all, w.chained(ctx, repo, a.key, nil))...)
}

// chained reads a ledger and its records, and expects nothing to be found in them but what is let pass.
func (w *world) chained(ctx context.Context, repo, key string, pass func(ledger.Finding) bool) error {
	var transport http.RoundTripper
	if c := w.at(w.target).Client; c != nil {
		transport = c.Transport
	}
	book, err := w.book(ctx, transport, repo, key)
	if err != nil {
		return err
	}
	p, err := book.Read(ctx)
	if err != nil {
		return err
	}
	h, err := book.History(ctx, p, 0)
	if err != nil {
		return err
	}
	raws := map[string][]byte{}
	for _, line := range h.Lines {
		if _, raws[line.Record], err = book.Record(ctx, line); err != nil {
			return err
		}
	}
	var all []error
	for _, f := range ledger.Check(h, raws) {
		if pass == nil || !pass(f) {
			all = append(all, fmt.Errorf("the chain: %+v", f))
		}
	}
	return errors.Join(all...)
}

func (w *world) book(ctx context.Context, transport http.RoundTripper, repo, key string) (*ledger.Book, error) {
	repository, _ := split(failing{}, w.target.Host()+"/"+repo)
	r, err := w.client(transport, regtest.Agent).Open(ctx, credential.Target, repository, registry.Pull)
	if err != nil {
		return nil, err
	}
	return ledger.Open(r, referrer.NewFinder(r), key), nil
}

// tagged is a manifest that a run wrote under a tag.
type tagged struct {
	repo, tag, digest, subject string
}

// note keeps what a run writes under tags: a record once it is there, and anything else as it comes.
func (p *plan) note(q *http.Request) func() {
	repo, tag, found := strings.Cut(strings.TrimPrefix(q.URL.Path, "/v2/"), "/manifests/")
	if q.Method != http.MethodPut || !found || strings.Contains(tag, ":") {
		return func() {}
	}
	text, err := io.ReadAll(q.Body)
	if err != nil {
		return func() {}
	}
	q.Body = io.NopCloser(bytes.NewReader(text))
	var m manifestOf
	_ = json.Unmarshal(text, &m)
	put := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wrote = append(p.wrote, tagged{repo, tag, digestOf(string(text)), m.Subject.Digest})
	}
	if strings.HasPrefix(tag, "promotion-record-") {
		return put
	}
	put()
	return func() {}
}

// runOf reads which run wrote a record, where no credentials are needed.
func runOf(ctx context.Context, at regtest.Access, repo, record string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.Host+"/v2/"+repo+"/blobs/"+record, nil)
	if err != nil {
		return "", err
	}
	answer, err := at.Client.Do(q)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil || digestOf(string(text)) != record {
		return "", fmt.Errorf("record %s is %.100q: %w", record, text, err)
	}
	r, err := document.ParseRecord(text)
	return r.Job.RunID, err
}
