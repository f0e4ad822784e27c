package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fullRecord has every member.
func fullRecord() Record {
	free := time.Date(2026, 11, 23, 8, 0, 0, 0, time.FixedZone("CET", 3600))
	return Record{
		Version: "v1.2.3", Repository: "registry.acme.example/prod/app", Digest: digestN(1), Mode: ModeRollback,
		Environment: "production", Ledger: "production", Entry: "0123456789abcdef", Policy: &Policy{URI: ".github/promotion.yml@main", Digest: digestN(2)},
		From:   &Held{Environment: "staging", Reference: "ghcr.io/acme/app:staging", Digest: digestN(1)},
		Source: Source{Reference: "ghcr.io/acme/app:staging", Repository: "ghcr.io/acme/app", Tag: "staging"},
		Tags: []RecordTag{
			{Name: "release-20261122-143000", Fixed: true, After: digestN(1)},
			{Name: "production", Before: digestN(3), After: digestN(1)},
		},
		PreviousDigest: digestN(3),
		Job: Job{
			Repository: "acme/app", RunID: "17", Attempt: "2", Name: "promote", URL: "https://github.com/acme/app/actions/runs/17",
			Workflow: "acme/app/.github/workflows/promote.yml@refs/heads/main", Commit: strings.Repeat("c0", 20), Actor: "ada", TriggeringActor: "grace",
		},
		Approvers: []string{"grace", "linus"}, Reason: "INC-7: errors since 14:00",
		Gates: []Verdict{
			{Gate: "deny", Status: Pass, Message: "nothing denies it"},
			{Gate: "freeze", Status: Pending, Message: "weekend", FreeAt: &free, Overridden: true},
		},
		Overrides: []string{"freeze"},
		Started:   time.Date(2026, 11, 22, 15, 30, 0, 0, time.FixedZone("CET", 3600)), Ended: time.Date(2026, 11, 22, 14, 30, 2, 5e6, time.UTC),
		Bytes: 84_000_000, Attachments: []string{digestN(6), digestN(7)}, AttachmentsOmitted: 3, Release: digestN(4), PreviousRecord: digestN(5),
		Members: []Member{
			{Repository: "registry.acme.example/prod/app", Ledger: "production", Digest: digestN(1), Tags: []RecordTag{
				{Name: "release-20261122-143000", Fixed: true, After: digestN(1)}, {Name: "production", Before: digestN(3), After: digestN(1)},
			}},
			{Repository: "registry.acme.example/prod/worker", Ledger: "production", Digest: digestN(8), Tags: []RecordTag{{Name: "production", After: digestN(8)}}},
		},
	}
}

// fullRollback is the full record of a rollback whose image a record brought before.
func fullRollback() Record {
	r := fullRecord()
	r.Restores, r.Attachments, r.AttachmentsOmitted = digestN(8), nil, 0
	return r
}

func digestN(n int) string { return "sha256:" + strings.Repeat("0", 63) + string(rune('0'+n)) }

func mustEncode(t *testing.T, r Record) []byte {
	t.Helper()
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestRecordV1: what version 1 of the record looked like is never edited, and is read and written as it was.
func TestRecordV1(t *testing.T) {
	t.Run("full", func(t *testing.T) { isGolden(t, "testdata/record-v1.json", fullRecord) })
	t.Run("rollback", func(t *testing.T) { isGolden(t, "testdata/record-v1-rollback.json", fullRollback) })
}

func isGolden(t *testing.T, file string, full func() Record) {
	t.Helper()
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden = bytes.TrimSpace(golden)
	r, err := ParseRecord(golden)
	if err != nil {
		t.Fatal(err)
	}
	if raw := mustEncode(t, r); !bytes.Equal(raw, golden) {
		t.Errorf("written again it is\n%s\nand was\n%s", raw, golden)
	}
	if raw := mustEncode(t, full()); !bytes.Equal(raw, golden) {
		t.Errorf("the full record is\n%s\nand was\n%s", raw, golden)
	}
	want := full()
	want.Started, want.Gates[1].FreeAt = r.Started, r.Gates[1].FreeAt
	if !reflect.DeepEqual(r, want) || !r.Started.Equal(full().Started) || r.Started.Location() != time.UTC {
		t.Errorf("read %+v, want %+v", r, want)
	}
}

// TestRecordIsASummary: who knows nothing of this program reads it as a SLSA verification summary.
func TestRecordIsASummary(t *testing.T) {
	type summary struct {
		Type    string `json:"_type"`
		Subject []struct {
			Name   string
			Digest map[string]string
		}
		PredicateType string
		Predicate     struct {
			Verifier           struct{ ID string }
			TimeVerified       time.Time
			ResourceURI        string `json:"resourceUri"`
			Policy             *struct{ URI string }
			VerificationResult string
			VerifiedLevels     []string
		}
	}
	for name, test := range map[string]struct {
		change           func(*Record)
		resource, result string
		policy           string
	}{
		"of an environment": {func(*Record) {}, "oci://registry.acme.example/prod/app?environment=production", "PASSED", ".github/promotion.yml@main"},
		"of a tag":          {func(r *Record) { r.Environment, r.Ledger, r.Policy = "", "v1+x&y", nil }, "oci://registry.acme.example/prod/app?tag=v1%2Bx%26y", "PASSED", ""},
		"no pass":           {func(r *Record) { r.Gates[1].Overridden = false }, "oci://registry.acme.example/prod/app?environment=production", "FAILED", ".github/promotion.yml@main"},
		"no gates":          {func(r *Record) { r.Gates = nil }, "oci://registry.acme.example/prod/app?environment=production", "PASSED", ".github/promotion.yml@main"},
	} {
		r := fullRecord()
		test.change(&r)
		var s summary
		if err := json.Unmarshal(mustEncode(t, r), &s); err != nil {
			t.Fatal(name, err)
		}
		if s.Type != "https://in-toto.io/Statement/v1" || s.PredicateType != "https://slsa.dev/verification_summary/v1" || len(s.Subject) != 1 ||
			s.Subject[0].Digest["sha256"] != digestN(1)[7:] || s.Subject[0].Name != r.Repository || s.Predicate.VerifiedLevels == nil ||
			s.Predicate.Verifier.ID != "https://github.com/artifact-promotion/promote" || !s.Predicate.TimeVerified.Equal(r.Ended) {
			t.Errorf("%s: %+v", name, s)
		}
		if s.Predicate.ResourceURI != test.resource || s.Predicate.VerificationResult != test.result || (s.Predicate.Policy != nil) != (test.policy != "") ||
			s.Predicate.Policy != nil && s.Predicate.Policy.URI != test.policy {
			t.Errorf("%s: %+v", name, s.Predicate)
		}
	}
}

// TestNewerRecord: what a newer version adds does not keep this one from reading the rest.
func TestNewerRecord(t *testing.T) {
	text := string(mustEncode(t, fullRecord()))
	for _, change := range [][2]string{
		{`"_type"`, `"more":{"a":[1,2]},"_type"`},
		{`"verifier"`, `"inputAttestations":[{"uri":"x"}],"verifier"`},
		{`"schemaVersion":1`, `"schemaVersion":2,"weather":"fair"`},
		{`"digest":{"sha256":"` + digestN(1)[7:] + `"}`, `"digest":{"sha3":"00","sha256":"` + digestN(1)[7:] + `"}`},
		{`"name":"production"`, `"name":"production","colour":"blue"`},
	} {
		newer := strings.Replace(text, change[0], change[1], 1)
		want, err := ParseRecord([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := ParseRecord([]byte(newer)); err != nil || newer == text || !reflect.DeepEqual(r, want) {
			t.Errorf("with %s: %+v, error %v", change[1], r, err)
		}
	}
	r := fullRecord()
	r.Mode = "sync"
	if got, err := ParseRecord(mustEncode(t, r)); err != nil || got.Mode != "sync" {
		t.Errorf("another mode: %+v, error %v", got, err)
	}
}

// TestHostileRecord: text that is no record, or says what cannot be, is refused in few words.
func TestHostileRecord(t *testing.T) {
	long := strings.Repeat("x", 5000)
	text := string(mustEncode(t, fullRecord()))
	replaced := func(old, by string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%s is not in it", old)
		}
		return strings.Replace(text, old, by, 1)
	}
	set := `"digest":{"sha256":"` + digestN(1)[7:] + `"}`
	for name, test := range map[string]struct{ text, says string }{
		"nothing":              {"", "too early"},
		"no JSON":              {"record", "read the record"},
		"a list":               {"[]", "read the record"},
		"more behind it":       {text + "{}", "follows"},
		"a key twice":          {replaced(`"_type"`, `"_type":"x","_type"`), "twice"},
		"another statement":    {replaced("Statement/v1", "Statement/v0.1"), "_type"},
		"another predicate":    {replaced(`"predicateType":"https://slsa.dev/verification_summary/v1"`, `"predicateType":"`+long+`"`), "predicateType"},
		"another program's":    {replaced(`promote/record/v1"`, `promote/record/v9"`), "record/v1"},
		"no version":           {replaced(`"schemaVersion":1`, `"schemaVersion":0`), "schemaVersion"},
		"no subject":           {replaced(`"subject":[{"name":"registry.acme.example/prod/app",`+set+`}]`, `"subject":[]`), "subjects"},
		"a subject of nothing": {replaced(set, `"digest":{}`), "sha256"},
		"a digest of no form":  {replaced(set, `"digest":{"sha256":"../x`+long+`"}`), "digest"},
		"no name":              {replaced(`"name":"registry.acme.example/prod/app"`, `"name":""`), "repository"},
		"a long name":          {replaced(`"name":"registry.acme.example/prod/app"`, `"name":"`+long+`"`), "repository"},
		"another time":         {replaced(`"timeVerified":"2026`, `"timeVerified":"2025`), "timeVerified"},
		"no time":              {replaced(`"started":"2026-11-22T14:30:00Z"`, `"started":"0001-01-01T00:00:00Z"`), "started"},
		"a time elsewhere":     {replaced(`"started":"2026-11-22T14:30:00Z"`, `"started":"2026-11-22T14:30:00+01:00"`), "UTC"},
		"a mode of no form":    {replaced(`"mode":"rollback"`, `"mode":"\u001b[31m`+long+`"`), "mode"},
		"another environment":  {replaced(`"environment":"production"`, `"environment":"staging"`), "ledger"},
		"no ledger":            {replaced(`"environment":"production","ledger":"production"`, `"ledger":""`), "ledger"},
		"no tags":              {replaced(`"tags":[`, `"tags":[],"other":[`), "tags"},
		"a tag as a path":      {replaced(`"name":"production"`, `"name":"../x"`), "tag"},
		"a tag twice":          {replaced(`"name":"production"`, `"name":"release-20261122-143000"`), "twice"},
		"before is no digest":  {replaced(`"before":"sha256:`, `"before":"sha1:`), "before"},
		"after is no digest":   {replaced(`"after":"sha256:`, `"after":"`), "after"},
		"previous digest":      {replaced(`"previousDigest":"`, `"previousDigest":"x`), "previousDigest"},
		"previous record":      {replaced(`"previousRecord":"`, `"previousRecord":"x`), "previousRecord"},
		"an attachment":        {replaced(`"attachments":["sha256:`, `"attachments":["sha1:`), "attachments[0]"},
		"an attachment's tag":  {replaced(`"attachments":["sha256:`, `"attachments":["latest`), "attachments[0]"},
		"attachments twice":    {replaced(digestN(6), digestN(7)), "order"},
		"attachments swapped":  {replaced(digestN(6), digestN(8)), "order"},
		"too many attachments": {replaced(`"attachments":[`, `"attachments":[`+strings.Repeat(`"",`, maxTags)), "more than"},
		"fewer than none":      {replaced(`"attachmentsOmitted":3`, `"attachmentsOmitted":-1`), "attachmentsOmitted"},
		"too many omitted":     {replaced(`"attachmentsOmitted":3`, `"attachmentsOmitted":4000000000`), "attachmentsOmitted"},
		"release":              {replaced(`"release":"`, `"release":"x`), "release"},
		"what from held":       {replaced(`"from":{"environment":"staging","reference":"ghcr.io/acme/app:staging","digest":"`, `"from":{"environment":"staging","digest":"x`), "from.digest"},
		"a long entry":         {replaced(`"entry":"`, `"entry":"`+long), "entry"},
		"too many members":     {replaced(`"members":[`, `"members":[`+strings.Repeat(`{},`, maxMembers)), "members"},
		"a member nowhere":     {replaced(`{"repository":"registry.acme.example/prod/worker"`, `{"repository":""`), "member"},
		"a member's long name": {replaced(`{"repository":"registry.acme.example/prod/worker"`, `{"repository":"`+long+`"`), "member"},
		"a member's ledger":    {replaced(`prod/worker","ledger":"`, `prod/worker","ledger":"`+long), "member"},
		"a member's digest":    {replaced(`prod/worker","ledger":"production","digest":"`, `prod/worker","ledger":"production","digest":"x`), "member"},
		"a member's tags":      {replaced(digestN(8)+`","tags":[{"name":"production","after":"`+digestN(8)+`"}]`, digestN(8)+`","tags":[]`), "tags"},
		"a member's tag":       {replaced(digestN(8)+`","tags":[{"name":"production"`, digestN(8)+`","tags":[{"name":"../x"`), "tag"},
		"policy":               {replaced(`"policy":{"uri":".github/promotion.yml@main","digest":{"sha256":"`, `"policy":{"uri":"x","digest":{"sha256":"x`), "policy.digest"},
		"a gate's status":      {replaced(`"status":"pending"`, `"status":"maybe"`), "status"},
		"bytes":                {replaced(`"bytes":84000000`, `"bytes":-1`), "negative"},
		"too large":            {replaced(`"reason":"`, `"reason":"`+strings.Repeat(long, 210)), "more than"},
		"too deep":             {replaced(`"_type"`, `"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,"_type"`), "deep"},
	} {
		r, err := ParseRecord([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.says) || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %+v, error %v, want one that says %q", name, r, err, test.says)
		}
	}
}

// TestRecordThatCannotBeWritten: nothing is written that could not be read.
func TestRecordThatCannotBeWritten(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"no repository": func(r *Record) { r.Repository = "" },
		"no digest":     func(r *Record) { r.Digest = "" },
		"no time":       func(r *Record) { r.Ended = time.Time{} },
		"no tags":       func(r *Record) { r.Tags = nil },
		"another key":   func(r *Record) { r.Ledger = "staging" },
		"too large":     func(r *Record) { r.Reason = strings.Repeat("x", MaxRecord) },
		"a far year":    func(r *Record) { r.Started = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a gate":        func(r *Record) { r.Gates[0].Status = "maybe" },
		"an attachment": func(r *Record) { r.Attachments = []string{"latest"} },
		"restores":      func(r *Record) { r.Restores = "latest" },
		"a member":      func(r *Record) { r.Members[1].Digest = "latest" },
		"its tags":      func(r *Record) { r.Members[1].Tags = nil },
		"an entry":      func(r *Record) { r.Entry = strings.Repeat("x", 2000) },
	} {
		r := fullRecord()
		change(&r)
		if raw, err := r.Encode(); err == nil {
			t.Errorf("%s: %s", name, raw)
		}
	}
}

// TestAttachmentsOfARecord are in order, each once, and no more than can be read; and the caller's are left alone.
func TestAttachmentsOfARecord(t *testing.T) {
	numbered := func(n int) string { return fmt.Sprintf("sha256:%064x", n) }
	for _, test := range []struct{ given, omitted, want, rest int }{
		{0, 0, 0, 0}, {1, 0, 1, 0}, {500, 0, 500, 0}, {501, 0, 500, 1}, {700, 4, 500, 204},
	} {
		r := fullRecord()
		r.Attachments, r.AttachmentsOmitted = nil, test.omitted
		for n := range test.given { // backwards, and the first twice
			r.Attachments = append(r.Attachments, numbered(test.given-n))
		}
		r.Attachments = append(r.Attachments, r.Attachments[:min(1, test.given)]...)
		got, err := ParseRecord(mustEncode(t, r))
		if err != nil || len(got.Attachments) != test.want || got.AttachmentsOmitted != test.rest {
			t.Errorf("%+v: %d attachments, %d omitted, error %v", test, len(got.Attachments), got.AttachmentsOmitted, err)
		}
		for n, digest := range got.Attachments {
			if digest != numbered(n+1) {
				t.Errorf("%+v: attachment %d is %s", test, n, digest)
			}
		}
		if test.given > 1 && r.Attachments[0] != numbered(test.given) {
			t.Error("the caller's were sorted")
		}
	}
}

func TestLineOf(t *testing.T) {
	r := fullRecord()
	want := Line{
		Time: r.Ended, Environment: "production", Mode: ModeRollback, Outcome: OutcomeRolledBack, From: "staging",
		Repository: r.Repository, Digest: digestN(1), PreviousDigest: digestN(3), Tags: []string{"production", "release-20261122-143000"},
		Actor: "grace", Reason: r.Reason, Run: r.Job.URL, Entry: "0123456789abcdef", Record: digestN(9), Size: 7, PreviousRecord: digestN(5),
		Release: digestN(4), Bytes: 84_000_000,
	}
	if got := LineOf(r, digestN(9), 7, OutcomeRolledBack); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	r.From, r.Job.TriggeringActor, r.Tags = nil, "", nil
	r.Reason = "one\r\n two\x00\xff " + strings.Repeat("ä", 200)
	for n := range 200 {
		r.Tags = append(r.Tags, RecordTag{Name: "v1.0." + strings.Repeat("0", n/20), Fixed: n > 0})
	}
	got := LineOf(r, digestN(9), 7, OutcomeFailed)
	if got.From != "ghcr.io/acme/app:staging" || got.Actor != "ada" || !strings.HasPrefix(got.Reason, "one two\x00� ää") ||
		len(got.Reason) > 200 || len(got.Reason) < 198 || len(got.Tags) < 50 || len(strings.Join(got.Tags, ",")) > 1024 {
		t.Errorf("%+v", got)
	}
	for o, good := range map[Outcome]bool{OutcomePromoted: true, OutcomeRolledBack: true, OutcomeFailed: false, OutcomeInterrupted: false, OutcomePending: false, "": false, "lost": false} {
		if o.Good() != good {
			t.Errorf("%q is good: %v", o, !good)
		}
	}
}

// What is taken for a record is written as it would be read, and its line is one line.
func FuzzRecord(f *testing.F) {
	full, err := fullRecord().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add(bytes.Replace(full, []byte("INC-7"), []byte("\\ud800\xff\\u2028"), 1))
	f.Add(bytes.Replace(full, []byte("sha256"), []byte("sha512"), 1))
	f.Add(bytes.ReplaceAll(full, []byte("2026-11-22T14:30:02.005Z"), []byte("2026-11-22T14:30:02.0050+00:00")))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRecord(raw)
		if err != nil {
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("error %q", err)
			}
			return
		}
		again, err := r.Encode()
		if err != nil {
			if len(raw) < MaxRecord/8 { // escapes make text longer
				t.Fatal(err)
			}
			return
		}
		second, err := ParseRecord(again)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		if third := mustEncode(t, second); !bytes.Equal(third, again) {
			t.Errorf("written again it is\n%s\nand was\n%s", third, again)
		}
		line := LineOf(r, digestN(1), int64(len(raw)), OutcomePromoted)
		if strings.ContainsAny(line.Reason+line.Actor+line.From+line.Run, "\n\r") || len(line.Reason) > 200 || len(line.Actor) > 300 {
			t.Errorf("line %+v", line)
		}
		if other := LineOf(second, digestN(1), int64(len(raw)), OutcomePromoted); !reflect.DeepEqual(other, line) {
			t.Errorf("line %+v, and of what was written %+v", line, other)
		}
	})
}
