package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// ParseRecord reads a record as a stranger's text: whoever may push to the
// repository may have written it. Members that it does not know are a newer
// version's and are let be; what it takes must be well formed. An error names no
// more than a few words of the text, escaped.
func ParseRecord(raw []byte) (Record, error) {
	r, err := parseRecord(raw)
	if err != nil {
		quoted := strconv.QuoteToASCII(cut(err.Error()))
		return Record{}, fmt.Errorf("read the record: %s", quoted[1:len(quoted)-1])
	}
	return r, nil
}

func parseRecord(raw []byte) (Record, error) {
	if len(raw) > MaxRecord {
		return Record{}, fmt.Errorf("it has %d bytes, more than the %d that a record can have", len(raw), MaxRecord)
	}
	if err := checkKeys(raw); err != nil {
		return Record{}, err
	}
	var s statement
	if err := json.Unmarshal(raw, &s); err != nil {
		return Record{}, err
	}
	if err := s.check(); err != nil {
		return Record{}, err
	}
	r, err := s.record()
	if err != nil {
		return Record{}, err
	}
	return r, r.check()
}

func (s statement) check() error {
	switch {
	case s.Type != statementType:
		return fmt.Errorf("its _type is %s, expected %q", quote(s.Type), statementType)
	case s.PredicateType != PredicateType:
		return fmt.Errorf("its predicateType is %s, expected %q", quote(s.PredicateType), PredicateType)
	case s.Predicate.Record == nil:
		return fmt.Errorf("its predicate has no member %q", recordSchema)
	case s.Predicate.Record.SchemaVersion < 1:
		return fmt.Errorf("its schemaVersion is %d, expected 1 or more", s.Predicate.Record.SchemaVersion)
	case len(s.Subject) != 1:
		return fmt.Errorf("it has %d subjects, expected 1", len(s.Subject))
	case !s.Predicate.TimeVerified.Equal(s.Predicate.Record.Ended):
		return errors.New("its timeVerified is not the time when it ended")
	}
	return nil
}

func (s statement) record() (Record, error) {
	p, m := s.Predicate, s.Predicate.Record
	digest, err := s.Subject[0].Digest.text()
	if err != nil {
		return Record{}, err
	}
	named, err := p.Policy.named()
	if err != nil {
		return Record{}, err
	}
	return Record{
		Version: p.Verifier.Version[verifierID], Repository: s.Subject[0].Name, Digest: digest,
		Mode: m.Mode, Environment: m.Environment, Ledger: m.Ledger, Entry: m.Entry, Policy: named,
		From: m.From, Source: m.Source, Tags: m.Tags, PreviousDigest: m.PreviousDigest,
		Job: Job{
			Repository: m.Run.Repository, RunID: m.Run.ID, Attempt: m.Run.Attempt, Name: m.Run.Job, URL: m.Run.URL,
			Workflow: m.Run.Workflow, Commit: m.Run.Commit, Actor: m.Actor, TriggeringActor: m.TriggeringActor,
		},
		Approvers: m.Approvers, Reason: m.Reason, Gates: m.Gates, Overrides: m.Overrides,
		Started: m.Started, Ended: m.Ended, Bytes: m.Bytes, Attachments: m.Attachments, AttachmentsOmitted: m.Omitted,
		Restores: m.Restores, Release: m.Release, Members: m.Members, PreviousRecord: m.PreviousRecord,
	}, nil
}

func (p *policy) named() (*Policy, error) {
	if p == nil {
		return nil, nil
	}
	digest, err := p.Digest.text()
	return &Policy{URI: p.URI, Digest: digest}, err
}

// text is the digest of a set; a newer version may add one of another algorithm.
func (d digestSet) text() (string, error) {
	for _, algorithm := range []string{"sha256", "sha512"} {
		if hex, there := d[algorithm]; there {
			return algorithm + ":" + hex, nil
		}
	}
	return "", errors.New("a digest is neither sha256 nor sha512")
}

// modeForm is what a mode looks like, those of newer versions included.
var modeForm = regexp.MustCompile(`^[a-z][a-z-]{0,31}$`)

func (r Record) check() error {
	switch {
	case r.Repository == "", len(r.Repository) > maxName:
		return errors.New("it names no repository")
	case !planDigest.MatchString(r.Digest):
		return noDigest("the image's digest", r.Digest)
	case !modeForm.MatchString(string(r.Mode)):
		return fmt.Errorf("its mode is %s, expected a word such as promote", quote(string(r.Mode)))
	case r.Ledger == "", len(r.Ledger) > maxName, r.Environment != "" && r.Environment != r.Ledger:
		return fmt.Errorf("its ledger is %s, expected the name of its environment %s, or of a tag", quote(r.Ledger), quote(r.Environment))
	case r.Bytes < 0:
		return errors.New("its number of bytes is negative")
	case len(r.Approvers) > maxTags, len(r.Gates) > maxTags, len(r.Overrides) > maxTags:
		return fmt.Errorf("it has more than %d approvers, gates or overrides", maxTags)
	}
	if err := r.checkTimes(); err != nil {
		return err
	}
	if err := r.checkDigests(); err != nil {
		return err
	}
	if err := checkVerdicts(r.Gates); err != nil {
		return err
	}
	if err := r.checkAttachments(); err != nil {
		return err
	}
	if err := r.checkMembers(); err != nil {
		return err
	}
	return checkTags(r.Tags)
}

// maxMembers is how many promotions a release has at most, for a record.
const maxMembers = 2000

func (r Record) checkMembers() error {
	if len(r.Entry) > maxName || len(r.Members) > maxMembers {
		return fmt.Errorf("its entry has %d bytes, or its release %d members", len(r.Entry), len(r.Members))
	}
	for _, m := range r.Members {
		if m.Repository == "" || len(m.Repository) > maxName || len(m.Ledger) > maxName || !planDigest.MatchString(m.Digest) {
			return fmt.Errorf("a member of its release is %s, which is not a promotion", quote(m.Repository))
		}
		if err := checkTags(m.Tags); err != nil {
			return err
		}
	}
	return nil
}

// checkAttachments lets a newer version name more of them than this one does.
func (r Record) checkAttachments() error {
	switch n := len(r.Attachments); {
	case n > maxTags:
		return fmt.Errorf("it has %d attachments, expected at most %d", n, maxTags)
	case r.AttachmentsOmitted < 0, r.AttachmentsOmitted > math.MaxInt32:
		return errors.New("its attachmentsOmitted cannot be")
	}
	for i, name := range r.Attachments {
		if !planDigest.MatchString(name) && !cosignTag.MatchString(name) {
			return noDigest(fmt.Sprintf("attachments[%d]", i), name)
		}
		if i > 0 && name <= r.Attachments[i-1] {
			return fmt.Errorf("its attachments are not in order, or %s is among them twice", quote(name))
		}
	}
	return nil
}

// cosignTag is a tag of cosign's scheme, of which a newer version may know more.
var cosignTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}\.[a-z]{1,16}$`)

// maxName is more than any repository, environment or tag has, in bytes.
const maxName = 512

func (r Record) checkTimes() error {
	for _, t := range []struct {
		name string
		time time.Time
	}{{"started", r.Started}, {"ended", r.Ended}} {
		switch {
		case t.time.IsZero() || t.time.Year() < 1970 || t.time.Year() > 9999:
			return fmt.Errorf("its time %s is missing, or is none", t.name)
		case !inUTC(t.time):
			return fmt.Errorf("its time %s is not in UTC", t.name)
		}
	}
	return nil
}

func (r Record) checkDigests() error {
	digests := []struct{ name, text string }{
		{"previousDigest", r.PreviousDigest}, {"previousRecord", r.PreviousRecord}, {"release", r.Release}, {"restores", r.Restores},
	}
	if r.From != nil {
		digests = append(digests, struct{ name, text string }{"from.digest", r.From.Digest})
	}
	if r.Policy != nil && !planDigest.MatchString(r.Policy.Digest) {
		return noDigest("policy.digest", r.Policy.Digest)
	}
	for _, d := range digests {
		if d.text != "" && !planDigest.MatchString(d.text) {
			return noDigest(d.name, d.text)
		}
	}
	return nil
}

// tagForm is what a tag looks like (distribution-spec, "Pulling manifests").
var tagForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

func checkTags(tags []RecordTag) error {
	if n := len(tags); n == 0 || n > maxTags {
		return fmt.Errorf("it has %d tags, expected 1 to %d", n, maxTags)
	}
	seen := map[string]bool{}
	for _, tag := range tags {
		switch {
		case !tagForm.MatchString(tag.Name):
			return fmt.Errorf("it names the tag %s, which cannot be one", quote(tag.Name))
		case seen[tag.Name]:
			return fmt.Errorf("it names the tag %s twice", quote(tag.Name))
		case tag.Before != "" && !planDigest.MatchString(tag.Before):
			return noDigest("before of tag "+quote(tag.Name), tag.Before)
		case !planDigest.MatchString(tag.After):
			return noDigest("after of tag "+quote(tag.Name), tag.After)
		}
		seen[tag.Name] = true
	}
	return nil
}
