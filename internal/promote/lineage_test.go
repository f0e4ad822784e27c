package promote_test

import (
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestCredentialsOfTheTargetStayThere: what is given for the target goes to the registry of what was asked for, and to
// no other, although that would take it.
func TestCredentialsOfTheTargetStayThere(t *testing.T) {
	account := regtest.Options{Auth: &regtest.Auth{Anonymous: []regtest.Grant{{Repository: "*", Actions: []string{"pull"}}}, Users: map[string]regtest.User{
		user: {Password: password, Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}},
	}}}
	here, elsewhere := regtest.Serve(t, account), regtest.Serve(t, account)
	production := stageAt(t, here.Host()+"/prod/app", "production")
	staging := stageAt(t, elsewhere.Host()+"/acme/app", "staging")
	saw := func(at *regtest.Registry) bool {
		for _, q := range at.Requests() {
			if q.User == user {
				return true
			}
		}
		return false
	}
	for name, asked := range map[string]struct {
		stages      []promote.Stage
		here, other bool
	}{
		"one registry":    {[]promote.Stage{production, unasked(staging)}, true, false},
		"several of them": {[]promote.Stage{production, staging}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			here.ResetRequests()
			elsewhere.ResetRequests()
			r := requestOf()
			r.Mode, r.Stages = promote.History, asked.stages
			d := runWith(t, t.Context(), logins(credential.Login{}, credential.Login{Username: user, Password: password}), r, &watcher{})
			expect(t, d, document.Listed)
			if saw(here) != asked.here || saw(elsewhere) != asked.other {
				t.Errorf("sent to the registry that was asked about: %v, to the other: %v", saw(here), saw(elsewhere))
			}
		})
	}
}

func stageAt(t *testing.T, repo, environment string) promote.Stage {
	t.Helper()
	return promote.Stage{Environment: environment, From: "dev", Repository: repository(t, repo), Ledger: environment, Tags: []string{environment}, Asked: true}
}

func unasked(s promote.Stage) promote.Stage {
	s.Asked = false
	return s
}
