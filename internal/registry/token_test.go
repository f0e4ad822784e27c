package registry

import (
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// Whatever form challenges and tokens have, a login gets in.
func TestChallengesAndTokensOfVendors(t *testing.T) {
	t.Parallel()
	for _, trait := range []regtest.Trait{
		regtest.ChallengeForm(regtest.BasicThenBearer), regtest.ChallengeForm(regtest.BothInOneHeader),
		regtest.ChallengeForm(regtest.BlanksRoundEquals), regtest.ChallengeForm(regtest.NegotiateFirst),
		regtest.TokenAnswers(regtest.OnlyAccessToken), regtest.TokenAnswers(regtest.ExpiresAsText),
		regtest.TokenAnswers(regtest.ExpiresAsFraction), regtest.TokenAnswers(regtest.OddIssuedAt),
	} {
		t.Run(trait.Name, func(t *testing.T) {
			t.Parallel()
			reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Traits: []regtest.Trait{trait}})
			fill(t, reg, "acme/app")
			r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
			if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
				t.Fatal(err)
			}
			wantRequests(t, reg, "/token$", 1)
		})
	}
}
