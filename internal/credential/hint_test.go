package credential

import (
	"fmt"
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
		want, not  []string
	}{
		{"GHCR, anonymous", Source, "ghcr.io/acme/app", none, 401,
			[]string{"ghcr.io answered 401 for the source repository ghcr.io/acme/app", "none (anonymous)", "${{ github.token }}", "packages: read", "source-password", "read:packages"},
			[]string{"packages: write", "cannot create"}},
		{"GHCR, token", Target, "ghcr.io/acme/app", token, 403,
			[]string{"the github-token input", "packages: write", "Manage Actions access", "role Write", "cannot create a new package", "target-password"},
			[]string{"packages: read", "did not take it"}},
		{"GHCR, own token", Target, "ghcr.io/acme/app", inputs, 403,
			[]string{"the target-username and target-password inputs", "write:packages", "single sign-on", "packages: write"},
			[]string{"Manage Actions access"}},
		{"ECR, anonymous", Source, privateAmazon, none, 401,
			[]string{"aws-actions/configure-aws-credentials@v4", "arn:aws:iam::123456789012:role/", "aws-region: eu-west-1", "stays on the host", "source-username"},
			[]string{"create-repository"}},
		{"ECR, refused", Target, privateAmazon, inputs, 403,
			[]string{"ecr:PutImage", "aws ecr create-repository --region eu-west-1 --repository-name team/app"},
			[]string{"configure-aws-credentials"}},
		{"ECR, reading", Source, privateAmazon, inputs, 403, []string{"ecr:BatchGetImage"}, []string{"ecr:PutImage", "create-repository"}},
		{"ECR Public", Target, publicAmazon, none, 401,
			[]string{"aws-region: us-east-1", "aws ecr-public create-repository --region us-east-1 --repository-name app"}, nil},
		{"ECR Public, refused", Source, publicAmazon, inputs, 403, []string{"sts:GetServiceBearerToken"}, []string{"PutImage", "create-repository"}},
		{"Google, anonymous", Target, googleRepository, none, 401,
			[]string{"google-github-actions/auth@v2", "after actions/checkout", "roles/artifactregistry.writer", "_json_key"}, nil},
		{"Google, refused", Source, googleRepository, inputs, 403, []string{"roles/artifactregistry.reader"}, []string{"google-github-actions"}},
		{"Azure, anonymous", Target, azureRepository, none, 401,
			[]string{"AZURE_CLIENT_ID: ${{ vars.AZURE_CLIENT_ID }}", "id-token: write", "AZURE_CLIENT_SECRET", "AcrPush"}, nil},
		{"Azure, refused", Source, azureRepository, inputs, 403, []string{"AcrPull", "Repository Reader"}, []string{"AZURE_CLIENT_ID"}},
		{"Docker Hub, anonymous", Target, "acme/app", none, 401,
			[]string{"docker.io answered 401 for the target repository docker.io/acme/app", "not the e-mail address", "Read & Write", "docker/login-action@v3", "From a shell: docker login"},
			[]string{"registry:", "index.docker.io"}},
		{"Docker Hub, wrong password", Source, "acme/app", inputs, 401,
			[]string{"The registry did not take it", "Read permission"}, []string{"Read & Write"}},
		{"other, anonymous", Target, "registry.example:5000/acme/app", none, 401,
			[]string{"does not see the login of docker/login-action", "target-username: ${{", "DOCKER_CONFIG: ${{ runner.temp }}/_github_home/.docker", "/github/home/.docker", "registry: registry.example:5000", "docker login registry.example:5000"}, nil},
		{"other, wrong password", Target, "registry.example/acme/app", inputs, 401,
			[]string{"The registry did not take it"}, []string{"login was taken"}},
		{"other, no right", Target, "registry.example/acme/app", inputs, 403,
			[]string{"may not write this repository"}, []string{"did not take it"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Hint(test.side, repository(t, test.repo), test.credential, test.status)
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("does not say %q:\n%s", want, got)
				}
			}
			never := []string{"hunter2", "%!"}
			if test.credential.Anonymous() {
				never = append(never, "did not take it")
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
	got := Hint(Source, repository(t, "registry.example/app"), Credential{Notice: "the helper is missing"}, 401)
	if !strings.Contains(got, "\nNote: the helper is missing.\n") {
		t.Errorf("hint:\n%s", got)
	}
}

// TestHintSnippetsAreYAML reads what is set in from the prose, as a user pastes it.
func TestHintSnippetsAreYAML(t *testing.T) {
	snippets := 0
	for _, repo := range []string{"ghcr.io/a/b", "a/b", "registry.example/a", privateAmazon, publicAmazon, googleRepository, azureRepository} {
		for _, credential := range []Credential{{}, {Auth: authn.AuthConfig{Username: "u"}, Origin: "o"}} {
			for _, snippet := range snippetsOf(Hint(Target, repository(t, repo), credential, 403)) {
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
