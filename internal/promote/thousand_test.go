package promote_test

import (
	"fmt"
	"net/http/httputil"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// Of a ledger that is long: 15 segments, and the rest in both heads.
const (
	manySegments = 15
	segmentSize  = 64
	headSize     = 40
	manyRecords  = manySegments*segmentSize + headSize
)

// fill gives production a ledger of so many segments and a head, as many promotions of two images in turn would have left
// it. The records are none: who lists them reads entries.
func (s *shop) fill(segments int, images ...*regtest.Image) {
	s.Helper()
	for _, image := range images {
		push(s, image, s.at, s.repo)
	}
	s.blob([]byte("{}"))
	count := segments*segmentSize + headSize
	var entries []entry
	closed, newest, previous := 0, "", ""
	for n := range count {
		e := s.past(n, previous, images)
		previous = e.record
		entries = append(entries, e)
		if len(entries) == segmentSize && closed < segments {
			closed++
			newest = s.putHead(fmt.Sprint("promotion-ledger.env.production.", closed), 0, closed, newest, nil, entries)
			entries = nil
		}
	}
	var moved []string
	for n := max(0, count-headSize-2*segmentSize); n < count-headSize; n++ {
		moved = append(moved, fmt.Sprint("entry-", n))
	}
	for n, tag := range ledgerTags("env", "production") {
		s.putHead(tag, 2*count+n, closed, newest, moved, entries)
	}
	s.tag("production", images[(count-1)%len(images)].Root)
	s.at.ResetRequests()
}

// putHead writes a head, or a segment, and returns its digest.
func (s *shop) putHead(tag string, sequence, closed int, previous string, moved []string, entries []entry) string {
	s.Helper()
	text := headOf(s, "env", "production", sequence, closed, previous, moved, entries)
	if err := regtest.PutManifest(s.Context(), s.at.Access("", ""), s.repo, tag, manifestOCI, text); err != nil {
		s.Fatal(err)
	}
	return digestOf(string(text))
}

// past is the n-th entry of a long ledger.
func (s *shop) past(n int, previous string, images []*regtest.Image) entry {
	s.Helper()
	record := s.blob(fmt.Appendf(nil, "record %d", n))
	at, digest := s.began.Add(time.Duration(n)*time.Minute), images[n%len(images)].Root
	run := fmt.Sprint("https://github.com/acme/app/actions/runs/", n)
	before, fixedTag := images[(n+1)%len(images)].Root, fmt.Sprint("v", n)
	e := entry{record: record, size: int64(len(fmt.Sprint("record ", n)))}
	e.intent = entryIntent{
		ID: fmt.Sprint("entry-", n), Number: n + 1, Begun: at, Run: entryRun{ID: fmt.Sprint(n), Attempt: 1, URL: run},
		Tags: []entryTag{{Name: "production", Found: before, Back: before, After: digest}, {Name: fixedTag, Fixed: true, After: digest}},
		Line: entryLine{
			Time: at, Environment: "production", Mode: "promote", From: "staging", Repository: s.at.Host() + "/" + s.repo, Digest: digest,
			PreviousDigest: before, Tags: []string{"production", fixedTag}, Actor: "ada", Reason: fmt.Sprint("TICKET-", n), Run: run,
			Entry: fmt.Sprint("entry-", n), Record: record, Size: e.size, PreviousRecord: previous,
		},
	}
	e.outcome = entryOutcome{
		Record: record, State: "promoted", Sequence: 2*n + 2, Resolved: at, Held: map[string]string{"production": digest, fixedTag: digest},
	}
	return e
}

// TestThousandRecords are listed within two seconds over a distance of 40 ms, as its own clock counts them, and a few
// within much less.
func TestThousandRecords(t *testing.T) {
	long(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := regtest.NewMemory()
		at, err := regtest.Start(regtest.Options{Referrers: true, Memory: memory, Network: &wideArea})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now().UTC()
		s := &shop{TB: t, at: at, repo: aisle, began: began, now: began.Add(manyRecords * time.Minute)}
		a, b := picture("a"), picture("b")
		s.fill(manySegments, a, b)
		for name, test := range map[string]struct {
			query  promote.Query
			listed int
			most   time.Duration
		}{
			"all":           {promote.Query{}, manyRecords, 2 * time.Second},
			"find":          {promote.Query{Find: digestHash(t, b.Root)}, manyRecords, 2 * time.Second},
			"20":            {promote.Query{Limit: 20}, 20, time.Second},
			"the last hour": {promote.Query{Since: s.now.Add(-time.Hour)}, 60, time.Second},
			"the last 300":  {promote.Query{Since: s.now.Add(-300 * time.Minute)}, 300, 2 * time.Second},
			"all but one":   {promote.Query{Limit: manyRecords - 1}, manyRecords - 1, 2 * time.Second},
		} {
			at.ResetRequests()
			transport := memory.Transport()
			r := s.ask(promote.History, s.stage("production"))
			r.Query = test.query
			began := time.Now()
			d := runWith(t, t.Context(), registry.New(registry.Options{Transport: transport}), r, &watcher{})
			took := time.Since(began)
			transport.CloseIdleConnections()
			expect(t, d, document.Listed)
			h := d.Histories[0]
			if len(h.Lines) != test.listed || h.Older != (test.query.Limit > 0) || took > test.most {
				t.Errorf("%s: %d listed, older %v, in %v", name, len(h.Lines), h.Older, took)
			}
			if l := d.Lineage[0]; !l.Recorded || !l.Since.Equal(s.began.Add((manyRecords-1)*time.Minute)) {
				t.Errorf("%s: %+v", name, l)
			}
			t.Logf("%s: %v, %d requests", name, took, len(ours(at)))
		}
		memory.Close()
		if err := at.Close(); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkHistory lists a thousand records over the simulated network.
func BenchmarkHistory(b *testing.B) {
	s := &shop{TB: b, at: regtest.Serve(b, regtest.Options{Referrers: true}), repo: aisle, began: time.Now().UTC()}
	s.now = s.began.Add(manyRecords * time.Minute)
	s.fill(manySegments, picture("a"), picture("b"))
	near := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.at.Host()})
	s.at = regtest.Serve(b, regtest.Options{Backend: near, Network: &wideArea}) // from here on it is far away
	for _, limit := range []int{0, 20} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			s.at.ResetRequests()
			r := s.ask(promote.History, s.stage("production"))
			r.Query.Limit = limit
			runs := 0
			for b.Loop() {
				if d := promote.Run(b.Context(), anonymous(), r, &watcher{}); d.Result != document.Listed {
					b.Fatalf("%+v", d.Faults)
				}
				runs++
			}
			b.ReportMetric(float64(len(ours(s.at)))/float64(runs), "requests/op")
		})
	}
}
