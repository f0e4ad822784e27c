package promote_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// either expects of every tag the old digest, or the new one and all of it; only the new one after a success.
func (w *world) either(ctx context.Context, success bool) error {
	if success {
		return w.done(ctx)
	}
	var all []error
	for _, p := range w.parcels {
		moved := false
		for _, tag := range w.tags() {
			now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, tag)
			switch {
			case err != nil:
				all = append(all, err)
			case now == p.image.Root:
				moved = true
			case now != w.oldOf(p, tag):
				all = append(all, fmt.Errorf("tag %s:%s holds %q", p.repo, tag, now))
			}
		}
		if moved {
			all = append(all, w.intact(ctx, p), w.recorded(ctx, p, p.image.Root))
		}
		all = append(all, w.kept(ctx, p))
	}
	return errors.Join(all...)
}

// oldOf is what a tag of a parcel held before.
func (w *world) oldOf(p *parcel, tag string) string {
	if tag == "production" {
		return p.old
	}
	return "" // a fixed tag did not exist
}

// kept expects that what the target had attached of its own is there, at every moment.
func (w *world) kept(ctx context.Context, p *parcel) error {
	if p.theirs == nil {
		return nil
	}
	tree, err := regtest.Read(ctx, w.at(w.target), p.repo, p.image.Root)
	if err != nil {
		return err
	}
	lines := append(lostLayers(p.theirs, tree), regtest.Diff(withoutSignatures(p.theirs), tree)...)
	if len(lines) > 0 {
		return fmt.Errorf("of the target's own: %s", strings.Join(lines, "; "))
	}
	return nil
}

func digestHash(t testing.TB, text string) v1.Hash {
	t.Helper()
	h, err := v1.NewHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const (
	jobVariable = "PROMOTE_TEST_JOB" // has a process promote, and run no tests
	killSeed    = 1
)

var kills = flag.Int("kills", 10, "how many promotions are killed, and a quarter as many rollbacks")

// job is what such a process promotes.
type job struct {
	Agent  string
	Auth   bool
	Source []string
	Target [][]string // of each source
	Run    string     // of the job; empty: none is known
	Back   bool       // it rolls back instead
}

// work does a job and is its process's exit code.
func work(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		fmt.Println(err)
		return 2
	}
	w := &world{setting: setting{auth: j.Auth}}
	var items []promote.Item
	for n, source := range j.Source {
		items = append(items, item(failing{}, source, j.Target[n]...))
	}
	r := requestOf(items...)
	if r.Job.RunID = j.Run; j.Back {
		r.Mode, r.Reason = promote.Rollback, "INC-1"
	}
	d := promote.Run(context.Background(), w.client(nil, j.Agent), r, &watcher{})
	fmt.Printf("%s: %+v\n", d.Result, d.Faults)
	return d.Result.ExitCode()
}

// sequel is the run after the one that was cut.
type sequel int

const (
	rerun    sequel = iota // the same run, once more
	anew                   // the same promotion, as a run of its own
	onwards                // a promotion of another image
	backward               // a rollback
	sequels
)

func (s sequel) String() string {
	return [...]string{"the run again", "the same in a new run", "another promotion", "a rollback"}[s]
}

// recordOf is a record that the ledger names.
type recordOf struct{ record, subject, run string }

// readRecords are the records that a ledger names, whatever became of them.
func readRecords(ctx context.Context, at regtest.Access, repo, key string) (all []recordOf, err error) {
	entries, err := readEntries(ctx, at, repo, key)
	for _, e := range entries {
		all = append(all, recordOf{e.record, e.intent.Line.Digest, e.intent.Run.ID})
	}
	return all, err
}
