package gate

import (
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// Facts says what evidence the policy needs. A platform is in the image's own
// configuration where there is no index, so that platforms need the image too.
func (p Policy) Facts() Facts {
	return Facts{
		Image: len(p.Platforms) > 0 || p.Checks != nil || p.MaxAge > 0 || p.NoDowngrade ||
			len(p.Labels) > 0 || len(p.Expressions) > 0,
		Previous:  p.NoDowngrade,
		Checks:    p.Checks != nil,
		Approvals: p.Approvals != nil,
		Order:     p.NoDowngrade,
		Records:   p.Soak > 0,
	}
}

// Evaluate judges every gate of the policy, none of them ending the others. The
// verdicts are in the order of [Names]; a gate that the policy does not have has
// none.
func (p Policy) Evaluate(e Evidence) []document.Verdict {
	var verdicts []document.Verdict
	for _, judge := range []func(Evidence) []document.Verdict{
		judgeFrom, p.judgeSoak, p.judgePlatforms, p.judgeFreeze, p.judgeChecks,
		p.judgeApprovals, p.judgeMaxAge, p.judgeDeny, p.judgeNoDowngrade, p.judgeLabels,
		p.judgeExpressions, judgeRolledBack,
	} {
		verdicts = append(verdicts, judge(e)...)
	}
	return verdicts
}

func one(gate string, status document.Status, message string) []document.Verdict {
	return []document.Verdict{{Gate: gate, Status: status, Message: message}}
}

func pass(gate, message string) []document.Verdict { return one(gate, document.Pass, message) }

func fail(gate, message string) []document.Verdict { return one(gate, document.Fail, message) }

func pending(gate, message string) []document.Verdict { return one(gate, document.Pending, message) }

func unknown(gate, message string) []document.Verdict { return one(gate, document.Unknown, message) }

func freeAt(verdicts []document.Verdict, t time.Time) []document.Verdict {
	t = t.UTC()
	verdicts[0].FreeAt = &t
	return verdicts
}
