package promote_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// Of a ledger that is long.
const (
	manyRecords = 1000
	aPart       = 200
	manifestOCI = "application/vnd.oci.image.manifest.v1+json"
)

// fill gives production a ledger of many records, each with its tag, as many promotions of two images in turn would
// have left it. The records themselves are not there: who lists them reads lines.
func (s *shop) fill(images ...*regtest.Image) {
	s.Helper()
	for _, image := range images {
		push(s, image, s.at, s.repo)
	}
	at := s.at.Access("", "")
	put := func(tag string, raw []byte) {
		if err := regtest.PutManifest(s.Context(), at, s.repo, tag, manifestOCI, raw); err != nil {
			s.Fatal(err)
		}
	}
	if _, err := regtest.PutBlob(s.Context(), at, s.repo, []byte("{}")); err != nil {
		s.Fatal(err)
	}
	config := map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": digestOf("{}"), "size": 2}
	older, previous, sealed := "", "", make([]byte, 16)
	var lines []any
	for n := range manyRecords {
		raw := fmt.Appendf(nil, "record %d", n)
		if _, err := regtest.PutBlob(s.Context(), at, s.repo, raw); err != nil {
			s.Fatal(err)
		}
		record, id := digestOf(string(raw)), sha256.Sum256(raw)
		tag := "promotion-record-production-" + hex.EncodeToString(id[:16])
		put(tag, encoded(s, map[string]any{
			"schemaVersion": 2, "mediaType": manifestOCI, "artifactType": "application/vnd.artifact-promotion.record.v1+json",
			"config": config, "layers": []any{map[string]any{"mediaType": document.RecordMediaType, "digest": record, "size": len(raw)}},
		}))
		lines = append(lines, map[string]any{
			"mediaType": document.RecordMediaType, "digest": record, "size": len(raw), "annotations": s.annotations(n, tag, previous, images),
		})
		previous = record
		if len(lines) < aPart && n < manyRecords-1 {
			for i := range sealed {
				sealed[i] ^= id[i]
			}
			continue
		}
		part := n/aPart + 1
		about := notes("ledger", "production", "part", strconv.Itoa(part))
		if older != "" {
			about = notes("ledger", "production", "part", strconv.Itoa(part), "older", older, "settled", fmt.Sprintf("%d-%x", (part-1)*aPart, s.seal))
		}
		page := encoded(s, map[string]any{
			"schemaVersion": 2, "mediaType": manifestOCI, "artifactType": "application/vnd.artifact-promotion.ledger.v1+json",
			"config": config, "layers": lines, "annotations": about,
		})
		for i := range sealed {
			sealed[i] ^= id[i]
		}
		s.seal = append([]byte{}, sealed...)
		name := "promotion-ledger-production"
		if n < manyRecords-1 {
			name = fmt.Sprintf("promotion-ledger.%d-production", part)
		}
		put(name, page)
		older, lines = digestOf(string(page)), nil
	}
	s.tag("production", images[(manyRecords-1)%len(images)].Root)
	s.at.ResetRequests()
}

func (s *shop) annotations(n int, tag, previous string, images []*regtest.Image) map[string]string {
	return notes(
		"time", s.began.Add(time.Duration(n)*time.Minute).Format(time.RFC3339Nano), "environment", "production", "mode", "promote", "result", "promoted",
		"from", "staging", "repository", s.at.Host()+"/"+s.repo, "digest", images[n%len(images)].Root, "previous-digest", images[(n+1)%len(images)].Root,
		"tags", "production,"+fmt.Sprint("v", n), "actor", "ada", "reason", fmt.Sprint("TICKET-", n), "run", fmt.Sprint("https://github.com/acme/app/actions/runs/", n),
		"record-tag", tag, "previous-record", previous,
	)
}

// notes are annotations, from names and texts in turn.
func notes(pairs ...string) map[string]string {
	all := map[string]string{}
	for n := 0; n < len(pairs); n += 2 {
		if pairs[n+1] != "" {
			all["io.github.artifact-promotion."+pairs[n]] = pairs[n+1]
		}
	}
	return all
}

func encoded(t testing.TB, value any) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// wideArea is the simulated network.
var wideArea = regtest.Network{RTT: 40 * time.Millisecond, BytesPerSecond: 25 << 20}

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
		s.fill(a, b)
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
	s.fill(picture("a"), picture("b"))
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
