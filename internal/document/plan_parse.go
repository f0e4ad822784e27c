package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"
)

// The most that a plan can hold.
const (
	maxPromotions = 10_000
	maxTags       = 10_000 // of all promotions
)

var planDigest = regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)

// ParsePlan reads a plan strictly: unknown and repeated keys, another schema, a
// digest or a time that is none, are errors. So is every spelling but that of
// [Plan.Encode], so that one plan has one digest.
func ParsePlan(raw []byte) (Plan, error) {
	if len(raw) > maxJSON {
		return Plan{}, fmt.Errorf("the plan has %d bytes, more than the %d that a plan can have", len(raw), maxJSON)
	}
	if err := checkKeys(raw); err != nil {
		return Plan{}, unreadable(err)
	}
	p, err := decode(raw)
	if err != nil {
		return Plan{}, err
	}
	if err := p.check(); err != nil {
		return Plan{}, unreadable(err)
	}
	if !bytes.Equal(p.Encode(), raw) {
		return Plan{}, errors.New("the plan was altered: it is not written as this program writes plans; make a new plan")
	}
	return p, nil
}

func decode(raw []byte) (Plan, error) {
	// The schema first: another one has keys that are unknown here.
	var other struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(raw, &other); err != nil {
		return Plan{}, unreadable(err)
	}
	if other.Schema != PlanSchema {
		return Plan{}, fmt.Errorf("the plan's schema is %s, expected %q: make a new plan with this version of the program", quote(other.Schema), PlanSchema)
	}
	var p Plan
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Plan{}, unreadable(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Plan{}, unreadable(errors.New("something follows it"))
	}
	return p, nil
}

// unreadable also takes errors with words of the plan in them.
func unreadable(err error) error {
	quoted := strconv.QuoteToASCII(cut(err.Error()))
	return fmt.Errorf("read the plan: %s; make a new plan", quoted[1:len(quoted)-1])
}

// quote is a stranger's text for an error.
func quote(text string) string { return strconv.QuoteToASCII(cut(text)) }

func cut(text string) string {
	const longest = 200
	if len(text) > longest {
		return text[:longest] + "..."
	}
	return text
}

func (p Plan) check() error {
	if err := p.checkTimes(); err != nil {
		return err
	}
	if p.Config != nil && !planDigest.MatchString(p.Config.Digest) {
		return noDigest("config", p.Config.Digest)
	}
	if n := len(p.Promotions); n == 0 || n > maxPromotions {
		return fmt.Errorf("it has %d promotions, expected 1 to %d", n, maxPromotions)
	}
	written := map[string]bool{}
	for i, promotion := range p.Promotions {
		if err := promotion.check(written); err != nil {
			return fmt.Errorf("promotion %d: %w", i+1, err)
		}
	}
	return nil
}

func (p Plan) checkTimes() error {
	switch {
	case !inUTC(p.Created):
		return errors.New("created is not in UTC: " + p.Created.Format(time.RFC3339))
	case !inUTC(p.Expires):
		return errors.New("expires is not in UTC: " + p.Expires.Format(time.RFC3339))
	case !p.Expires.After(p.Created):
		return errors.New("expires is not after created")
	default:
		return nil
	}
}

func inUTC(t time.Time) bool {
	_, offset := t.Zone()
	return offset == 0
}

// check also notes the tags that the promotion writes.
func (p PlannedPromotion) check(written map[string]bool) error {
	switch {
	case p.Source.Repository == "", p.Repository == "":
		return errors.New("source.repository or repository is missing")
	case !planDigest.MatchString(p.Digest):
		return noDigest("digest", p.Digest)
	case p.From != nil && p.From.Digest != "" && !planDigest.MatchString(p.From.Digest):
		return noDigest("from.digest", p.From.Digest)
	case min(p.Content.Manifests, p.Content.Blobs, p.Missing.Manifests, p.Missing.Blobs) < 0, min(p.Content.Bytes, p.Missing.Bytes) < 0:
		return errors.New("a number of manifests, blobs or bytes is negative")
	}
	if err := checkVerdicts(p.Gates); err != nil {
		return err
	}
	return p.checkTags(written)
}

func checkVerdicts(gates []Verdict) error {
	for _, v := range gates {
		switch v.Status {
		case Pass, Fail, Pending, Unknown:
		default:
			return fmt.Errorf("gate %s has the status %s, expected pass, fail, pending or error", quote(v.Gate), quote(string(v.Status)))
		}
		if v.FreeAt != nil && !inUTC(*v.FreeAt) {
			return fmt.Errorf("freeAt of gate %s is not in UTC", quote(v.Gate))
		}
	}
	return nil
}

func (p PlannedPromotion) checkTags(written map[string]bool) error {
	if len(p.Tags) == 0 {
		return errors.New("it has no tags")
	}
	for _, tag := range p.Tags {
		reference := p.Repository + ":" + tag.Name
		switch {
		case tag.Name == "":
			return errors.New("a tag has no name")
		case tag.Before != "" && !planDigest.MatchString(tag.Before):
			return noDigest("before of tag "+quote(tag.Name), tag.Before)
		case written[reference]:
			return fmt.Errorf("tag %s is written twice", quote(reference))
		case len(written) == maxTags:
			return fmt.Errorf("with it the plan has more than %d tags", maxTags)
		}
		written[reference] = true
	}
	return nil
}

func noDigest(what, given string) error {
	return fmt.Errorf("%s is %s, expected sha256: and 64 hex digits, or sha512: and 128", what, quote(given))
}
