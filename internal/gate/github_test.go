package gate

import (
	"errors"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

func everywhere(e *Evidence, label, value string) {
	for _, v := range e.Image.Variants {
		v.Labels[label] = value
	}
}

func TestChecks(t *testing.T) {
	with := func(checks ...Check) func(*Evidence) {
		return func(e *Evidence) { e.Checks.List = checks }
	}
	e2e, load := Check{Name: "e2e", State: CheckPassed}, Check{Name: "load-test", State: CheckPassed}
	running := Check{Name: "load-test", State: CheckRunning, Detail: "queued"}
	failed := Check{Name: "e2e", State: CheckFailed, Detail: "timed_out", URL: "https://github.com/acme/app/runs/1"}
	for _, j := range []judgement{
		{"green", with(e2e, load), document.Pass, `"e2e" and "load-test" passed on commit ` + revision + " of acme/app"},
		{"others do not matter", with(e2e, load, Check{Name: "lint"}, Check{Name: "E2E"}), document.Pass, "passed"},
		{"running", with(e2e, running), document.Pending, `on commit ` + revision + ` of acme/app: "load-test" has not ended ("queued"); run it again`},
		{"failed", with(failed, load), document.Fail, `"e2e" did not pass ("timed_out", "https://github.com/acme/app/runs/1"); promote`},
		{"failed and running", with(failed, running), document.Fail, `"load-test" has not ended ("queued"); promote`},
		{"missing", with(load), document.Fail, `there is no check run or commit status named "e2e"; names are exact`},
		{"another case", with(load, Check{Name: "E2E", State: CheckPassed}), document.Fail, `named "e2e"`},
		{"missing and running", with(running), document.Fail, "names are exact"},
		{"none", with(), document.Fail, `named "load-test"`},
		{"two of one name, one failed", with(e2e, failed, load), document.Fail, "timed_out"},
		{"two of one name, one runs", with(e2e, load, running), document.Pending, "queued"},
		{"a state nobody knows", with(e2e, Check{Name: "load-test", State: 99}), document.Fail, "did not pass; promote"},
		{"hostile", with(load, Check{Name: "e2e", Detail: "\x1b]0;" + strings.Repeat("a", 500)}), document.Fail, `"\x1b]0;aaa`},
		{"nobody to ask", func(e *Evidence) { e.Checks.Err = errors.New("403: add checks: read to permissions") }, document.Unknown,
			"the checks on commit " + revision + " of acme/app are not known: 403: add checks: read to permissions"},
		{"an error and all green", func(e *Evidence) { with(e2e, load)(e); e.Checks.Err = errors.New("cut") }, document.Unknown, "cut"},
		{"another commit was asked for", func(e *Evidence) { with(e2e, load)(e); e.Checks.Commit = strings.Repeat("9", 40) }, document.Unknown, "the checks are those of"},
		{"no revision", func(e *Evidence) { everywhere(e, labelRevision, "") }, document.Unknown, "has no label " + labelRevision + "; build it with the labels of docker/metadata-action"},
		{"one without", func(e *Evidence) { delete(e.Image.Variants[1].Labels, labelRevision) }, document.Unknown, "the image for linux/arm64 has no label"},
		{"they disagree", func(e *Evidence) { e.Image.Variants[1].Labels[labelRevision] = strings.Repeat("9", 40) }, document.Unknown, "disagree about the label " + labelRevision},
		{"a branch", func(e *Evidence) { everywhere(e, labelRevision, "main"); e.Checks.Commit = "main" }, document.Unknown, `is "main", which is no full commit hash`},
		{"a short hash", func(e *Evidence) { everywhere(e, labelRevision, revision[:7]) }, document.Unknown, "no full commit hash"},
		{"upper case", func(e *Evidence) {
			with(e2e, load)(e)
			everywhere(e, labelRevision, strings.ToUpper(revision))
		}, document.Pass, revision},
		{"artifact", func(e *Evidence) { e.Image.Variants = nil }, document.Unknown, "no image with platforms"},
		{"another repository", func(e *Evidence) { with(e2e, load)(e); everywhere(e, labelSource, "https://github.com/evil/app") }, document.Fail,
			`built from another repository, "evil/app", and not from acme/app`},
		{"another repository on one platform", func(e *Evidence) {
			with(e2e, load)(e)
			e.Image.Variants[1].Labels[labelSource] = "https://github.com/evil/app.git"
		}, document.Fail, `"evil/app"`},
		{"another repository, and nobody to ask", func(e *Evidence) {
			everywhere(e, labelSource, "https://github.com/evil/app")
			e.Checks.Err = errors.New("x")
		}, document.Fail, "evil/app"},
		{"the same in another case", func(e *Evidence) { with(e2e, load)(e); everywhere(e, labelSource, "https://github.com/Acme/APP/") }, document.Pass, "passed"},
		{"no source", func(e *Evidence) { with(e2e, load)(e); everywhere(e, labelSource, "") }, document.Pass, "passed"},
	} {
		j.check(t, Checks, Policy{Checks: &CheckPolicy{Names: []string{"e2e", "load-test"}}})
	}
	judgement{"nothing to ask for", nil, document.Unknown, "names no check"}.check(t, Checks, Policy{Checks: &CheckPolicy{}})
}

func TestRepository(t *testing.T) {
	for source, want := range map[string]string{
		"https://github.com/acme/app":              "acme/app",
		"https://github.com/acme/app/":             "acme/app",
		"https://github.com/acme/app.git":          "acme/app",
		"https://github.acme.example/Acme/my.app-": "Acme/my.app-",
		"http://github.com/acme/app":               "",
		"git@github.com:acme/app.git":              "",
		"ssh://git@github.com/acme/app":            "",
		"https://x@github.com/acme/app":            "",
		"https://github.com/acme":                  "",
		"https://github.com/acme/app/tree/main":    "",
		"https://github.com/acme/..":               "",
		"https://github.com/./app":                 "",
		"https://github.com/acme/.git":             "",
		"https://github.com/acme/a%20b":            "",
		"https://github.com/acme%2Fapp":            "acme/app",
		"https:///acme/app":                        "",
		"acme/app":                                 "",
		"":                                         "",
		"https://github.com/acme/app\x00":          "",
	} {
		e := good()
		everywhere(&e, labelSource, source)
		if got := e.Image.Repository(); got != want {
			t.Errorf("%q: %q, want %q", source, got, want)
		}
	}
	e := good()
	e.Image.Variants[1].Labels[labelSource] = "https://github.com/acme/other"
	if got := e.Image.Repository(); got != "" {
		t.Errorf("of two: %q", got)
	}
}

func TestVersionLabel(t *testing.T) {
	e := good()
	if got, err := e.Image.Version(); got != "1.4.2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	e.Image.Variants[1].Labels[labelVersion] = "1.4.3"
	if got, err := e.Image.Version(); got != "" || err == nil || !strings.Contains(err.Error(), `"1.4.2" for linux/amd64, "1.4.3" for linux/arm64`) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestApprovals(t *testing.T) {
	with := func(list ...Approval) func(*Evidence) {
		return func(e *Evidence) { e.Approvals.List = list }
	}
	yes := func(env, user string) Approval { return Approval{env, user, true} }
	no := func(env, user string) Approval { return Approval{env, user, false} }
	two := []string{"change-control", "production"}
	plainly, distinctly := ApprovalPolicy{Environments: two}, ApprovalPolicy{Environments: two, Distinct: true}
	notActor, both := ApprovalPolicy{Environments: two, NotActor: true}, ApprovalPolicy{Environments: two, Distinct: true, NotActor: true}
	three := ApprovalPolicy{Environments: []string{"a", "b", "c"}, Distinct: true}
	for _, test := range []struct {
		policy ApprovalPolicy
		j      judgement
	}{
		{plainly, judgement{"both", with(yes("production", "bob"), yes("change-control", "bob")), document.Pass, `approved: "change-control" by "bob", "production" by "bob"`}},
		{plainly, judgement{"the actor", with(yes("production", "alice"), yes("change-control", "alice")), document.Pass, "approved"}},
		{plainly, judgement{"case of names", with(yes("Production", "bob"), yes("CHANGE-CONTROL", "bob")), document.Pass, "approved"}},
		{plainly, judgement{"one", with(yes("production", "bob")), document.Pending, `"change-control" is not approved yet; a reviewer`}},
		{plainly, judgement{"none", with(), document.Pending, `"change-control" is not approved yet; "production" is not approved yet; `}},
		{plainly, judgement{"another environment", with(yes("production-eu", "bob"), yes("change-control", "bob")), document.Pending, `"production" is not approved yet`}},
		{plainly, judgement{"rejected", with(no("production", "bob"), yes("change-control", "bob")), document.Fail, `"production" was rejected by "bob"; start a new run`}},
		{plainly, judgement{"rejected, the other missing", with(no("production", "bob")), document.Fail, `"change-control" is not approved yet; start`}},
		{plainly, judgement{"rejected by one of two", with(yes("production", "carol"), no("production", "bob"), yes("change-control", "bob")), document.Fail, `rejected by "bob"`}},
		{plainly, judgement{"rejected and then approved by one person", with(no("production", "bob"), yes("Production", "Bob"), yes("change-control", "bob")), document.Pass, "approved"}},
		{plainly, judgement{"approved and then rejected", with(yes("production", "bob"), no("production", "BOB"), yes("change-control", "bob")), document.Fail, "rejected"}},
		{plainly, judgement{"another environment rejected", with(yes("production", "bob"), yes("change-control", "bob"), no("dev", "bob")), document.Pass, "approved"}},
		{plainly, judgement{"nobody's", with(yes("production", ""), yes("change-control", "bob")), document.Pending, `"production" is not approved yet`}},
		{plainly, judgement{"error", func(e *Evidence) {
			with(yes("production", "bob"), yes("change-control", "bob"))(e)
			e.Approvals.Err = errors.New("add actions: read to permissions")
		}, document.Unknown, "who approved the run is not known: add actions: read to permissions"}},
		{plainly, judgement{"hostile", with(yes("production", "b\u202eob"), yes("change-control", strings.Repeat("x", 300))), document.Pass, `"production" by "b\u202eob"`}},

		{notActor, judgement{"the actor", with(yes("production", "Alice"), yes("change-control", "bob")), document.Pending,
			`"production" is not approved yet (the approval of "alice" does not count, because the run is theirs)`}},
		{notActor, judgement{"the actor and another", with(yes("production", "alice"), yes("production", "bob"), yes("change-control", "bob")), document.Pass, `"production" by "bob"`}},
		{notActor, judgement{"who ran it again", func(e *Evidence) {
			with(yes("production", "bob"), yes("change-control", "carol"))(e)
			e.Persons = []string{"alice", "BOB"}
		}, document.Pending, `approval of "bob" does not count`}},
		{notActor, judgement{"the actor rejects", with(no("production", "alice"), yes("change-control", "bob")), document.Fail, `rejected by "alice"`}},
		{notActor, judgement{"actor without persons", func(e *Evidence) {
			with(yes("production", "alice"), yes("change-control", "bob"))(e)
			e.Persons = nil
		}, document.Pending, "does not count"}},
		{notActor, judgement{"no actor", func(e *Evidence) {
			with(yes("production", "bob"), yes("change-control", "bob"))(e)
			e.Actor, e.Persons = "", []string{""}
		}, document.Unknown, "who started the run is not known"}},

		{distinctly, judgement{"one person", with(yes("production", "bob"), yes("change-control", "Bob")), document.Pending,
			`approved: "change-control" by "bob", "production" by "bob"; but 2 environments must be approved by 2 different people`}},
		{distinctly, judgement{"two people", with(yes("production", "bob"), yes("change-control", "carol")), document.Pass, "approved"}},
		{distinctly, judgement{"the second of two", with(yes("change-control", "bob"), yes("change-control", "carol"), yes("production", "bob")), document.Pass, "approved"}},
		{distinctly, judgement{"both of both", with(yes("change-control", "bob"), yes("production", "bob"), yes("change-control", "carol"), yes("production", "carol")), document.Pass, "approved"}},
		{both, judgement{"the actor makes two", with(yes("production", "alice"), yes("production", "bob"), yes("change-control", "bob")), document.Pending, "2 different people"}},
		{three, judgement{"a chain", with(yes("a", "x"), yes("a", "y"), yes("b", "x"), yes("b", "z"), yes("c", "x")), document.Pass, "approved"}},
		{three, judgement{"two for three", with(yes("a", "x"), yes("a", "y"), yes("b", "x"), yes("b", "y"), yes("c", "x"), yes("c", "y")), document.Pending, "3 different people"}},
		{three, judgement{"one has only whom another needs", with(yes("a", "x"), yes("b", "x"), yes("c", "y"), yes("c", "z")), document.Pending, "3 different people"}},
		{ApprovalPolicy{}, judgement{"nothing to ask for", nil, document.Unknown, "names no environment"}},
	} {
		test.j.check(t, Approvals, Policy{Approvals: &test.policy})
	}
}

func TestNoDowngrade(t *testing.T) {
	from := func(before, after string, relation Relation) func(*Evidence) {
		return func(e *Evidence) {
			e.Previous.Variants[0].Labels[labelVersion] = before
			everywhere(e, labelVersion, after)
			e.Order.Relation = relation
		}
	}
	for _, j := range []judgement{
		{"first", func(e *Evidence) { e.Previous = nil }, document.Pass, "nothing was there before"},
		{"the same", func(e *Evidence) { e.Previous.Digest = digestA; e.Order.Relation = Behind }, document.Pass, "it is there already"},
		{"newer", from("1.4.1", "1.4.2", Behind), document.Pass, `version "v1.4.2" takes the place of "v1.4.1"`},
		{"ten is more than nine", from("v1.9.0", "1.10.0", Behind), document.Pass, "takes the place"},
		{"older", from("2.0.0", "1.9.9", Ahead), document.Fail, `version "v1.9.9" is older than "v2.0.0", which is there now; promote a newer one, or roll back`},
		{"pre-release", from("2.0.0", "2.0.0-rc.1", Ahead), document.Fail, "is older"},
		{"release after pre-release", from("2.0.0-rc.1", "2.0.0", Behind), document.Pass, "takes the place"},
		{"equal, ahead", from("1.4.2", "1.4.2", Ahead), document.Pass, `both are version "v1.4.2"; in acme/app its commit is newer than the one that is there now`},
		{"build metadata does not count", from("1.4.2+a", "1.4.2+b", Behind), document.Fail, "its commit is older"},
		{"equal, identical", from("1.4.2", "1.4.2", Identical), document.Pass, "the same as"},
		{"equal, behind", from("1.4.2", "1.4.2", Behind), document.Fail, "its commit is older"},
		{"equal, diverged", from("1.4.2", "1.4.2", Diverged), document.Fail, "neither contains the other"},
		{"no version before", from("", "1.4.2", Ahead), document.Pass, "the image that is there now has no semantic version"},
		{"no version now", from("1.4.2", "main", Behind), document.Fail, "the image has no semantic version"},
		{"neither", from("main", "", Diverged), document.Fail, "neither image has a semantic version"},
		{"a part of a version", from("1.4", "1.4.2", Behind), document.Fail, "has no semantic version"},
		{"only major", from("1.4.2", "v2", Behind), document.Fail, "has no semantic version"},
		{"leading zero", from("1.4.02", "1.4.3", Behind), document.Fail, "has no semantic version"},
		{"no relation", from("", "", ""), document.Unknown, "cannot be told: neither image has a semantic version, and the order of the commits in acme/app is not known; build images"},
		{"a relation nobody knows", from("", "", "sideways"), document.Unknown, "cannot be told"},
		{"nobody to ask", func(e *Evidence) { from("", "", Ahead)(e); e.Order.Repository = "" }, document.Unknown, "nobody could be asked for the order of the commits; build images with the labels"},
		{"an error", func(e *Evidence) { from("", "", Ahead)(e); e.Order.Err = errors.New("add contents: read") }, document.Unknown, "is not known: add contents: read"},
		{"an error that does not matter", func(e *Evidence) { e.Order.Err = errors.New("x") }, document.Pass, "takes the place"},
		{"the source's tag", func(e *Evidence) { e.Source.Tag = "v1.0.0" }, document.Fail, `version "v1.0.0" is older than "v1.4.1"`},
		{"the source's tag without v", func(e *Evidence) { from("1.4.1", "main", Behind)(e); e.Source.Tag = "1.5.0" }, document.Pass, `version "v1.5.0" takes`},
		{"the source's tag is no version", func(e *Evidence) { e.Source.Tag = "1.5" }, document.Pass, `version "v1.4.2" takes`},
		{"platforms disagree", func(e *Evidence) { e.Image.Variants[1].Labels[labelVersion] = "9.9.9"; e.Order.Relation = Behind }, document.Fail, "the image has no semantic version"},
		{"artifact", func(e *Evidence) { e.Image.Variants = nil; e.Order.Relation = "" }, document.Unknown, "cannot be told"},
	} {
		j.check(t, NoDowngrade, Policy{NoDowngrade: true})
	}
}

func TestNeedsOrder(t *testing.T) {
	policy := Policy{NoDowngrade: true}
	for _, test := range []struct {
		what   string
		change func(*Evidence)
		policy Policy
		want   bool
	}{
		{"versions decide", func(*Evidence) {}, policy, false},
		{"no version", func(e *Evidence) { everywhere(e, labelVersion, "") }, policy, true},
		{"equal", func(e *Evidence) { everywhere(e, labelVersion, "v1.4.1") }, policy, true},
		{"no gate", func(e *Evidence) { everywhere(e, labelVersion, "") }, Policy{}, false},
		{"first", func(e *Evidence) { e.Previous = nil; everywhere(e, labelVersion, "") }, policy, false},
		{"the same", func(e *Evidence) { e.Previous.Digest = digestA; everywhere(e, labelVersion, "") }, policy, false},
	} {
		e := good()
		test.change(&e)
		if got := test.policy.NeedsOrder(e); got != test.want {
			t.Errorf("%s: %v", test.what, got)
		}
	}
}
