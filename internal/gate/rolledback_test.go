package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// TestRolledBack: an image that the environment was rolled back from is refused by every policy, and
// the message says when, by whom, why, and what to do.
func TestRolledBack(t *testing.T) {
	at := time.Date(2026, 11, 21, 15, 4, 5, 0, time.FixedZone("CET", 3600))
	from := func(r Rollback) func(*Evidence) { return func(e *Evidence) { e.RolledBack = &r } }
	const what = "production was rolled back from this image"
	const advice = "; promote another image, or override this gate with a reason"
	for _, policy := range []Policy{{}, strict(t)} {
		for _, j := range []judgement{
			{"everything known", from(Rollback{at, "ada", "INC-7: errors"}), document.Fail, what + ` on 2026-11-21 14:04 UTC by "ada": "INC-7: errors"` + advice},
			{"nobody", from(Rollback{At: at, Reason: "INC-7"}), document.Fail, what + ` on 2026-11-21 14:04 UTC: "INC-7"` + advice},
			{"no reason", from(Rollback{At: at, Actor: "ada"}), document.Fail, what + ` on 2026-11-21 14:04 UTC by "ada"` + advice},
			{"nothing known", from(Rollback{}), document.Fail, what + advice},
			{"hostile", from(Rollback{at, "a\x1b[31m", "one\ntwo\u202e" + strings.Repeat("x", 5000)}), document.Fail, `by "a\x1b[31m": "one\ntwo\u202exxx`},
		} {
			j.check(t, RolledBack, policy)
		}
	}
	e := good()
	from(Rollback{at, strings.Repeat("a", 5000), strings.Repeat("\x1b", 5000)})(&e)
	for _, v := range (Policy{}).Evaluate(e) {
		if len(v.Message) > 500 || strings.ContainsAny(v.Message, "\x1b\n") {
			t.Errorf("a message of %d bytes: %q", len(v.Message), v.Message)
		}
	}
}

func TestNotRolledBack(t *testing.T) {
	for _, v := range strict(t).Evaluate(good()) {
		if v.Gate == RolledBack {
			t.Errorf("%+v", v)
		}
	}
}
