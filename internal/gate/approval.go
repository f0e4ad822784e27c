package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

const howToApprove = "a reviewer of that environment approves the run on its page (Review deployments), and a job that needs that approval must come before this one"

// judgeApprovals asks that the run's environments were approved.
func (p Policy) judgeApprovals(e Evidence) []document.Verdict {
	if p.Approvals == nil {
		return nil
	}
	barred := e.barred()
	switch {
	case e.Approvals.Err != nil:
		return unknown(Approvals, "who approved the run is not known: "+plain(e.Approvals.Err.Error()))
	case p.Approvals.NotActor && len(barred) == 0:
		return unknown(Approvals, "who started the run is not known, and that person's approval must not count; run it in GitHub Actions")
	case len(p.Approvals.Environments) == 0:
		return unknown(Approvals, "the config names no environment that must be approved; name one in approvals")
	case !p.Approvals.NotActor:
		barred = nil
	}
	return p.Approvals.judge(latest(e.Approvals.List), barred)
}

// barred are who must not approve their own run, in lower case.
func (e Evidence) barred() []string {
	var all []string
	for _, person := range append([]string{e.Actor}, e.Persons...) {
		if person != "" {
			all = append(all, strings.ToLower(person))
		}
	}
	return all
}

// latest keeps the last review of each person for each environment. GitHub tells
// neither names of people nor names of environments apart by case.
func latest(reviews []Approval) []Approval {
	var kept []Approval
	for _, r := range reviews {
		r.User = strings.ToLower(r.User)
		kept = slices.DeleteFunc(kept, func(k Approval) bool {
			return k.User == r.User && strings.EqualFold(k.Environment, r.Environment)
		})
		kept = append(kept, r)
	}
	return kept
}

func (p ApprovalPolicy) judge(reviews []Approval, barred []string) []document.Verdict {
	var rejected, missing, given []string
	approvers := make([][]string, len(p.Environments))
	for i, env := range p.Environments {
		yes, own, no := sort3(reviews, env, barred)
		approvers[i] = yes
		given = append(given, fmt.Sprintf("%s by %s", quote(env), list(quoted(yes))))
		switch {
		case len(no) > 0:
			rejected = append(rejected, fmt.Sprintf("%s was rejected by %s", quote(env), list(quoted(no))))
		case len(yes) == 0:
			missing = append(missing, quote(env)+" is not approved yet"+ownApproval(own))
		}
	}
	switch {
	case len(rejected) > 0:
		return fail(Approvals, strings.Join(append(rejected, missing...), "; ")+"; start a new run if the reason is gone")
	case len(missing) > 0:
		return pending(Approvals, strings.Join(missing, "; ")+"; "+howToApprove)
	case p.Distinct && !distinct(approvers):
		return pending(Approvals, fmt.Sprintf("approved: %s; but %s must be approved by %d different people, and these are too few; %s",
			strings.Join(given, ", "), count(len(approvers), "environment"), len(approvers), howToApprove))
	}
	return pass(Approvals, "approved: "+strings.Join(given, ", "))
}

func ownApproval(users []string) string {
	if len(users) == 0 {
		return ""
	}
	return fmt.Sprintf(" (the approval of %s does not count, because the run is theirs)", list(quoted(users)))
}

// sort3 sorts the reviews of an environment by what they are worth: approvals,
// approvals by those who must not give them, and rejections. An approval without a
// name is nobody's.
func sort3(reviews []Approval, env string, barred []string) (yes, own, no []string) {
	for _, r := range reviews {
		switch {
		case !strings.EqualFold(r.Environment, env):
		case !r.Approved:
			no = append(no, r.User)
		case slices.Contains(barred, r.User):
			own = append(own, r.User)
		case r.User != "":
			yes = append(yes, r.User)
		}
	}
	return yes, own, no
}

// distinct reports whether each environment can be given an approver of its own
// (a matching in a bipartite graph, by augmenting paths).
func distinct(approvers [][]string) bool {
	taken := map[string]int{}
	for env := range approvers {
		if !assign(env, approvers, taken, map[string]bool{}) {
			return false
		}
	}
	return true
}

// assign finds an approver for an environment, and another one for the environment
// that has had that approver before.
func assign(env int, approvers [][]string, taken map[string]int, tried map[string]bool) bool {
	for _, user := range approvers[env] {
		if tried[user] {
			continue
		}
		tried[user] = true
		other, busy := taken[user]
		if !busy || assign(other, approvers, taken, tried) {
			taken[user] = env
			return true
		}
	}
	return false
}
