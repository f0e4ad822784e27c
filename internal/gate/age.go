package gate

import (
	"fmt"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// clockSkew is by how much a builder's clock may be ahead of ours.
const clockSkew = 5 * time.Minute

// earliest is before any image was built. Reproducible builds often give the year
// 1970 or 1980.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// judgeMaxAge asks that every platform's image was built lately enough.
func (p Policy) judgeMaxAge(e Evidence) []document.Verdict {
	if p.MaxAge <= 0 {
		return nil
	}
	if len(e.Image.Variants) == 0 {
		return unknown(MaxAge, "this is no image with platforms, so that nothing says when it was built")
	}
	oldest := e.Image.Variants[0]
	for _, v := range e.Image.Variants {
		if v.created().Before(oldest.created()) {
			oldest = v
		}
		if v.created().After(e.Now.Add(clockSkew)) {
			return unknown(MaxAge, fmt.Sprintf("the image%s was built at %s, which is still to come (it is %s); set the builder's clock, and build it again", v.where(), moment(v.created()), moment(e.Now)))
		}
	}
	return p.judgeAge(oldest, e.Now)
}

func (p Policy) judgeAge(oldest Variant, now time.Time) []document.Verdict {
	built := oldest.created()
	age := now.Sub(built)
	switch {
	case built.Before(earliest):
		return unknown(MaxAge, fmt.Sprintf("when the image%s was built is not known: %s; reproducible builds leave it out, so build it with the label %s (docker/metadata-action sets it)",
			oldest.where(), givenTime(built), labelCreated))
	case age > p.MaxAge:
		return fail(MaxAge, fmt.Sprintf("the image%s was built at %s, %s ago; %s is the most; build it again", oldest.where(), moment(built), spanUp(age), span(p.MaxAge)))
	}
	return pass(MaxAge, fmt.Sprintf("the image%s was built at %s, %s ago; %s is the most", oldest.where(), moment(built), span(max(age, 0)), span(p.MaxAge)))
}

func givenTime(t time.Time) string {
	if t.IsZero() {
		return "it does not say"
	}
	return "it says " + moment(t)
}
