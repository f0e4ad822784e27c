package promote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// annals are what a ledger's heads say, read as JSON, by none of the program's own means.
type annals struct {
	key   string
	lines []annal // oldest first
}

// annal is one entry.
type annal struct {
	record, result, mode, digest, previous, run string
}

func (l annal) good() bool { return l.result == "promoted" || l.result == "rolled-back" }

func (l annal) String() string { return l.result + " " + l.digest + " by " + l.run }

// readAnnals reads the ledger of a repository; none is one without entries.
func readAnnals(ctx context.Context, at regtest.Access, repo, key string) (annals, error) {
	a := annals{key: key}
	entries, err := readEntries(ctx, at, repo, key)
	for _, e := range entries {
		line := e.intent.Line
		a.lines = append(a.lines, annal{
			record: e.record, result: e.outcome.State, mode: line.Mode, digest: line.Digest, previous: line.PreviousDigest,
			run: strings.TrimPrefix(line.Reason, "TICKET-"),
		})
	}
	return a, err
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

// sound expects that each entry has a record of its own, that what was promoted is there, and that the chain is whole.
func (a annals) sound(ctx context.Context, w *world, repo string) error {
	var all []error
	seen := map[string]bool{}
	for _, l := range a.lines {
		if seen[l.record] {
			all = append(all, fmt.Errorf("%s is listed twice", l.record))
		}
		seen[l.record] = true
		if _, exists, err := regtest.TagDigest(ctx, w.at(w.target), repo, l.digest); l.good() && (err != nil || !exists) {
			all = append(all, fmt.Errorf("the image of the entry %+v is not there: %w", l, err))
		}
	}
	if len(a.lines) == 0 {
		return errors.Join(all...)
	}
	return errors.Join(append(all, w.chained(ctx, repo, a.key, w.isUnseen))...)
}

// isUnseen reports whether a finding is a fork where tags are seen so late that a run which follows at once cannot see
// the entry before its own: both are there, and neither follows the other.
func (w *world) isUnseen(f ledger.Finding) bool {
	return f.Damage == ledger.Forked && strings.HasPrefix(w.vendor, "late")
}

// chained reads a ledger and its records, and expects nothing to be found in them but what is let pass.
func (w *world) chained(ctx context.Context, repo, key string, pass func(ledger.Finding) bool) error {
	var transport http.RoundTripper
	if c := w.at(w.target).Client; c != nil {
		transport = c.Transport
	}
	r, err := w.opened(ctx, transport, repo)
	if err != nil {
		return err
	}
	for _, k := range []ledger.Key{ledger.ForEnvironment(key), ledger.ForTag(key)} {
		l := ledger.Open(ledger.InRegistry(r), k, ledger.Run{})
		v, err := l.Read(ctx)
		if err != nil {
			return err
		}
		if !v.Exists() {
			continue
		}
		h, err := l.History(ctx, v, 0)
		if err = errors.Join(err, l.LostError(h)); err != nil {
			return err
		}
		raws := map[string][]byte{}
		for _, e := range h.Entries {
			from := r.OpenBlob(ctx, e.Record)
			raw, err := io.ReadAll(from)
			if err = errors.Join(err, from.Close()); err != nil {
				return err
			}
			raws[e.Line.Record] = raw
		}
		var all []error
		for _, f := range ledger.Check(h, raws) {
			if pass == nil || !pass(f) {
				all = append(all, fmt.Errorf("the chain: %+v", f))
			}
		}
		if err := errors.Join(all...); err != nil {
			return err
		}
	}
	return nil
}

// opened is a repository of the target's, to be read.
func (w *world) opened(ctx context.Context, transport http.RoundTripper, repo string) (*registry.Repository, error) {
	repository, _ := split(failing{}, w.target.Host()+"/"+repo)
	return w.client(transport, regtest.Agent).Open(ctx, credential.Target, repository, registry.Pull)
}

// tagged is what a run did to a tag: it wrote a manifest there, or deleted it.
type tagged struct {
	repo, tag, digest string // no digest: it was deleted
	manifest          []byte
}

// note keeps what a run does to tags: a ledger's head once the registry has answered, any other tag before that, so that
// nothing is taken for written ahead that only crossed.
func (p *plan) note(q *http.Request) (after func()) {
	repo, tag, found := strings.Cut(strings.TrimPrefix(q.URL.Path, "/v2/"), "/manifests/")
	if !found || strings.Contains(tag, ":") || q.Method != http.MethodPut && q.Method != http.MethodDelete {
		return func() {}
	}
	t := tagged{repo: repo, tag: tag}
	if q.Method == http.MethodPut {
		text, err := io.ReadAll(q.Body)
		if err != nil {
			return func() {}
		}
		q.Body = io.NopCloser(bytes.NewReader(text))
		t.digest, t.manifest = digestOf(string(text)), text
	}
	put := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wrote = append(p.wrote, t)
	}
	if isHead(tag) {
		return put
	}
	put()
	return func() {}
}

func isHead(tag string) bool { return strings.HasPrefix(tag, "promotion-ledger.") }
