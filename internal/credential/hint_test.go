package credential

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-containerregistry/pkg/authn"
)

func TestHint(t *testing.T) {
	auth := authn.AuthConfig{Username: "u", Password: "hunter2"}
	none := Credential{Origin: anonymous}
	token := Credential{Auth: auth, Origin: gitHubToken}
	inputs := Credential{Auth: auth, Origin: "the target-username and target-password inputs"}
	for _, test := range []struct {
		name       string
		side       Side
		repo       string
		credential Credential
		status     int
		loggedIn   bool
		want, not  []string
	}{
		{"GHCR, anonymous", Source, "ghcr.io/acme/app", none, 401, false,
			[]string{"Anonymous access to the source repository ghcr.io/acme/app was refused (401).", "none (anonymous)", "${{ github.token }}", "packages: read", "source-password", "read:packages"},
			[]string{"packages: write", "create packages"}},
		{"GHCR, token", Target, "ghcr.io/acme/app", token, 403, false,
			[]string{"the github-token input", "packages: write", "Manage Actions access", "role Write", "forbid the github-token to create packages", "target-password"},
			[]string{"packages: read", "was rejected"}},
		{"GHCR, own token", Target, "ghcr.io/acme/app", inputs, 403, false,
			[]string{"the target-username and target-password inputs", "write:packages", "single sign-on", "packages: write"},
			[]string{"Manage Actions access"}},
		{"ECR, anonymous", Source, privateAmazon, none, 401, false,
			[]string{"aws-actions/configure-aws-credentials@v5", "arn:aws:iam::123456789012:role/", "aws-region: eu-west-1", "stays on the host", "source-username"},
			[]string{"create-repository"}},
		{"ECR, refused", Target, privateAmazon, inputs, 403, false,
			[]string{"ecr:PutImage", "aws ecr create-repository --region eu-west-1 --repository-name team/app"},
			[]string{"configure-aws-credentials"}},
		{"ECR, reading", Source, privateAmazon, inputs, 403, false, []string{"ecr:BatchGetImage"}, []string{"ecr:PutImage", "create-repository"}},
		{"ECR Public", Target, publicAmazon, none, 401, false,
			[]string{"aws-region: us-east-1", "aws ecr-public create-repository --region us-east-1 --repository-name app"}, nil},
		{"ECR Public, refused", Source, publicAmazon, inputs, 403, false, []string{"sts:GetServiceBearerToken"}, []string{"PutImage", "create-repository"}},
		{"Google, anonymous", Target, googleRepository, none, 401, false,
			[]string{"google-github-actions/auth@v3", "after actions/checkout", "roles/artifactregistry.writer", "_json_key"}, nil},
		{"Google, refused", Source, googleRepository, inputs, 403, false, []string{"roles/artifactregistry.reader"}, []string{"google-github-actions"}},
		{"Azure, anonymous", Target, azureRepository, none, 401, false,
			[]string{"AZURE_CLIENT_ID: ${{ vars.AZURE_CLIENT_ID }}", "id-token: write", "AZURE_CLIENT_SECRET", "AcrPush"}, nil},
		{"Azure, refused", Source, azureRepository, inputs, 403, false, []string{"AcrPull", "Repository Reader"}, []string{"AZURE_CLIENT_ID"}},
		{"Docker Hub, anonymous", Target, "acme/app", none, 401, false,
			[]string{"Anonymous access to the target repository docker.io/acme/app was refused (401).", "not the e-mail address", "Read & Write", "docker/login-action@v3", "From a shell: docker login"},
			[]string{"registry:", "index.docker.io"}},
		{"Docker Hub, wrong password", Source, "acme/app", inputs, 401, false,
			[]string{"was rejected (401)", "Read permission"}, []string{"Read & Write", "docker/login-action"}},
		{"other, anonymous", Target, "registry.example:5000/acme/app", none, 401, false,
			[]string{"does not see the login of docker/login-action", "target-username: ${{", "DOCKER_CONFIG: ${{ runner.temp }}/_github_home/.docker", "/github/home/.docker", "registry: registry.example:5000", "docker login registry.example:5000"}, nil},
		{"other, wrong password", Target, "registry.example/acme/app", inputs, 401, false,
			[]string{"was rejected (401)"}, []string{"login itself was accepted", "docker/login-action"}},
		{"other, no right", Target, "registry.example/acme/app", inputs, 403, false,
			[]string{"the right to write this repository", "check the name registry.example/acme/app"}, []string{"was rejected", "docker/login-action"}},
		{"401 for a missing right", Target, "registry.example/acme/app", inputs, 401, true,
			[]string{"The login may not push to the target repository", "the right to push is missing", "check the name registry.example/acme/app"}, []string{"was rejected", "mistyped", "docker/login-action"}},
		{"401 for a missing right to read", Source, "registry.example/acme/app", inputs, 401, true,
			[]string{"the right to pull is missing"}, []string{"mistyped"}},
		{"anonymous token", Source, "registry.example/acme/app", none, 401, true,
			[]string{"check the name registry.example/acme/app", "docker/login-action"}, []string{"login itself was accepted"}},
		{"Docker Hub, a typo", Source, "acme/ap", inputs, 403, false,
			[]string{"check the name docker.io/acme/ap", "member of a team"}, []string{"docker/login-action"}},
		{"GHCR, a typo", Source, "ghcr.io/acme/ap", token, 403, false, []string{"check the name ghcr.io/acme/ap"}, nil},
		{"no such repository", Target, "registry.example/acme/ap", inputs, 404, false,
			[]string{"check the name registry.example/acme/ap", "create the repository first"}, []string{"was rejected", "docker/login-action"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Hint(test.side, repository(t, test.repo), test.credential, Refusal{test.status, test.loggedIn})
			// The hint's first line is all of it that a chat message shows.
			if first, _, _ := strings.Cut(got, "\n"); len(first) > 119 {
				t.Errorf("the first line has %d characters: %s", len(first), first)
			}
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("does not say %q:\n%s", want, got)
				}
			}
			never := []string{"hunter2", "%!"}
			if test.credential.Anonymous() {
				never = append(never, "was rejected")
			}
			for _, not := range slices.Concat(test.not, never) {
				if strings.Contains(got, not) {
					t.Errorf("says %q:\n%s", not, got)
				}
			}
		})
	}
}

func TestHintTellsNotice(t *testing.T) {
	got := Hint(Source, repository(t, "registry.example/app"), Credential{Notice: "the helper is missing"}, Refusal{Status: 401})
	if !strings.Contains(got, "\nNote: the helper is missing.\n") {
		t.Errorf("hint:\n%s", got)
	}
}

// TestHintSnippetsAreYAML reads what is set in from the prose, as a user pastes it.
func TestHintSnippetsAreYAML(t *testing.T) {
	snippets := 0
	for _, repo := range []string{"ghcr.io/a/b", "a/b", "registry.example/a", privateAmazon, publicAmazon, googleRepository, azureRepository} {
		for _, credential := range []Credential{{}, {Auth: authn.AuthConfig{Username: "u"}, Origin: "o"}} {
			for _, snippet := range snippetsOf(Hint(Target, repository(t, repo), credential, Refusal{Status: 403})) {
				snippets++
				var value any
				if err := yaml.UnmarshalWithOptions([]byte(snippet), &value, yaml.Strict()); err != nil {
					t.Errorf("%s: %v\n%s", repo, err, snippet)
				}
				switch value.(type) {
				case map[string]any, []any:
				default:
					t.Errorf("%s: a snippet is a %T:\n%s", repo, value, snippet)
				}
			}
		}
	}
	if snippets < 8 {
		t.Errorf("found %d snippets", snippets)
	}
}

// usesAction matches a step of a workflow, with the action's name and version.
var usesAction = regexp.MustCompile(`uses: ([a-z0-9-]+/[a-z0-9-]+)@(v[0-9]+)`)

// TestHintsNameTheVersionsOfREADME: a user who reads both gets one version of each action.
func TestHintsNameTheVersionsOfREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, use := range usesAction.FindAllStringSubmatch(string(readme), -1) {
		if first := cmp.Or(versions[use[1]], use[2]); first != use[2] {
			t.Errorf("README.md uses %s@%s and @%s", use[1], first, use[2])
		}
		versions[use[1]] = use[2]
	}
	named := map[string]bool{}
	for _, repo := range []string{"ghcr.io/a/b", "a/b", "registry.example/a", privateAmazon, publicAmazon, googleRepository, azureRepository} {
		hint := Hint(Target, repository(t, repo), Credential{Origin: anonymous}, Refusal{Status: 401})
		for _, use := range usesAction.FindAllStringSubmatch(hint, -1) {
			if named[use[1]] = true; versions[use[1]] != use[2] {
				t.Errorf("the hint for %s uses %s@%s, README.md %q", repo, use[1], use[2], versions[use[1]])
			}
		}
	}
	if len(named) < 5 {
		t.Errorf("the hints name only %v", named)
	}
}

func snippetsOf(hint string) []string {
	var all []string
	inside := false
	for line := range strings.SplitSeq(hint, "\n") {
		text, set := strings.CutPrefix(line, "    ")
		switch {
		case set && !inside:
			all = append(all, text+"\n")
		case set:
			all[len(all)-1] = fmt.Sprint(all[len(all)-1], text, "\n")
		}
		inside = set
	}
	return all
}

func TestLimitHint(t *testing.T) {
	inputs := Credential{Auth: authn.AuthConfig{Username: "u", Password: "hunter2"}, Origin: "o"}
	for _, test := range []struct {
		credential Credential
		want, not  string
	}{
		{Credential{Origin: anonymous}, "log in, or run the promotion again after that time.\nA container action does not see the login of docker/login-action", "higher limit"},
		{inputs, "use a credential with a higher limit", "docker/login-action"},
	} {
		got := LimitHint(Source, repository(t, "acme/app"), test.credential, "6h")
		if !strings.Contains(got, "docker.io limits the rate of requests: it asks for a wait of 6h") || !strings.Contains(got, test.want) || strings.Contains(got, test.not) || strings.Contains(got, "hunter2") {
			t.Errorf("hint:\n%s", got)
		}
	}
}
