package credential

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Refusal is what a registry answered to a request with a credential.
type Refusal struct {
	Status int // 401, 403, or 404
	// LoggedIn says that the credential itself was accepted: a token was given for it, or
	// it was let do other things. Some registries answer a missing right with 401 all the
	// same (docker_auth, Gitea).
	LoggedIn bool
}

// Hint says, in several lines, what to do when a registry refused a request with the
// credential: which side, which repository, which credential, and the registry's recipe
// in a workflow.
func Hint(side Side, repo name.Repository, c Credential, refusal Refusal) string {
	h := hint{side: side, repo: repo, credential: c, refusal: refusal, host: hostOf(repo.RegistryStr())}
	h.say("%s answered %d for the %s repository %s; the credential used was: %s.", shown(h.host), refusal.Status, side, h.repository(), c)
	if c.Notice != "" {
		h.say("Note: %s.", strings.TrimSuffix(c.Notice, "."))
	}
	h.judge()
	switch vendorOf(h.host) {
	case gitHub:
		h.forGitHub()
	case amazonECR:
		h.forAmazon()
	case amazonPublic:
		h.forAmazonPublic()
	case googleCloud:
		h.forGoogle()
	case azureACR:
		h.forAzure()
	case dockerHub:
		h.forDockerHub()
	default:
		h.forOther()
	}
	return strings.Join(h.lines, "\n")
}

// judge says what the refusal means: a login that was not taken, a right that is
// missing, or a name of nothing, which many registries do not tell apart (GHCR, Docker
// Hub: 403; others: 401 or 404).
func (h *hint) judge() {
	switch {
	case h.refusal.LoggedIn && !h.anonymous():
		h.say("The login was accepted, the right to %s is missing; or there is no such repository: check the name %s.", h.either("pull", "push"), h.repository())
	case h.refusal.Status == http.StatusUnauthorized && !h.anonymous():
		h.say("The registry did not take it: expired, mistyped, of another registry, or a secret of an environment that this job does not name.")
	default:
		h.say("It answers so too where there is no such repository: check the name %s.", h.repository())
	}
}

// LimitHint says what to do when a registry limits how often it is asked, and asks to be
// left alone for longer than anybody waits.
func LimitHint(side Side, repo name.Repository, c Credential, wait string) string {
	h := hint{side: side, repo: repo, credential: c, host: hostOf(repo.RegistryStr())}
	h.say("%s asks to be left alone for %s, which is longer than is waited for; the credential used was: %s.", shown(h.host), wait, c)
	if !h.anonymous() {
		h.say("Run the promotion again after that time, or give a credential with a higher limit.")
		return strings.Join(h.lines, "\n")
	}
	h.say("Who does not log in has the lowest limit: log in, or run the promotion again after that time.")
	h.containerRecipe()
	return strings.Join(h.lines, "\n")
}

// hint is a hint in the making.
type hint struct {
	side       Side
	repo       name.Repository
	credential Credential
	refusal    Refusal
	host       string
	lines      []string
}

func (h *hint) say(format string, args ...any) {
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

// snippet is YAML for a workflow, set in from the prose around it.
func (h *hint) snippet(lines ...string) {
	for _, line := range lines {
		h.lines = append(h.lines, "    "+line)
	}
}

func (h *hint) anonymous() bool { return h.credential.Anonymous() }

func (h *hint) repository() string { return shown(h.host) + "/" + h.repo.RepositoryStr() }

// either picks the word for the side: what reading takes, or what writing takes.
func (h *hint) either(read, write string) string {
	if h.side == Target {
		return write
	}
	return read
}

func (h *hint) forGitHub() {
	if !h.anonymous() && h.credential.Origin != gitHubToken {
		h.say("A personal access token must be a classic one with the scope %s:packages, authorised for the organisation's single sign-on where it has one.", h.either("read", "write"))
		h.say("Or leave it out: github-token serves where the job has these permissions:")
		h.permissions()
		return
	}
	if h.anonymous() {
		h.say("Leave the input github-token at its default, ${{ github.token }}, and give the job these permissions:")
	} else {
		h.say("Give the job these permissions:")
	}
	h.permissions()
	h.say("A package of another repository must also let this one in: the package's settings, \"Manage Actions access\", this repository, role %s.", h.either("Read", "Write"))
	if h.anonymous() {
		h.inputs(fmt.Sprintf("a user name and a classic personal access token with the scope %s:packages", h.either("read", "write")))
	}
	if h.side == Target {
		h.say("The github-token cannot create a new package of an organisation that does not let it: push it once with a classic personal access token with write:packages as target-password, then give access as above.")
	}
}

func (h *hint) permissions() {
	h.snippet("permissions:", "  contents: read", "  packages: "+h.either("read", "write"))
}

func (h *hint) forAmazon() {
	registry := parseAmazon(h.host)
	if h.anonymous() {
		h.say("A login by aws-actions/amazon-ecr-login or docker/login-action stays on the host, out of a container action's sight. The AWS_* variables arrive: configure them before this step.")
		h.amazonSnippet(registry.region, registry.account)
		h.inputs("AWS, and what aws ecr get-login-password prints")
	} else {
		h.say("The identity needs %s on this repository, and ecr:GetAuthorizationToken.", h.either(
			"ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and ecr:BatchCheckLayerAvailability",
			"ecr:BatchGetImage, ecr:GetDownloadUrlForLayer, ecr:BatchCheckLayerAvailability, ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload and ecr:PutImage"))
		h.say("A repository of another account also needs a repository policy that lets this identity in.")
	}
	if h.side == Target {
		h.say("ECR creates no repository by itself: aws ecr create-repository --region %s --repository-name %s", registry.region, h.repo.RepositoryStr())
	}
}

func (h *hint) forAmazonPublic() {
	if h.anonymous() {
		h.say("Configure AWS_* variables before this step; they arrive in a container action, a docker login does not.")
		h.amazonSnippet(parseAmazon(h.host).region, "123456789012")
		h.inputs("AWS, and what aws ecr-public get-login-password prints")
	} else {
		h.say("The identity needs ecr-public:GetAuthorizationToken, sts:GetServiceBearerToken%s.", h.either("", " and ecr-public's actions for layer uploads and PutImage"))
	}
	if h.side == Target {
		_, repository, _ := strings.Cut(h.repo.RepositoryStr(), "/")
		h.say("ECR creates no repository by itself: aws ecr-public create-repository --region us-east-1 --repository-name %s", repository)
	}
}

func (h *hint) amazonSnippet(region, account string) {
	h.snippet(
		"permissions:",
		"  id-token: write",
		"  contents: read",
		"steps:",
		"  - uses: aws-actions/configure-aws-credentials@v4",
		"    with:",
		"      role-to-assume: arn:aws:iam::"+account+":role/promote",
		"      aws-region: "+region,
	)
}

func (h *hint) forGoogle() {
	role := h.either("roles/artifactregistry.reader", "roles/artifactregistry.writer")
	if !h.anonymous() {
		h.say("Give the service account the role %s on this repository; the repository must exist, Artifact Registry creates none by itself.", role)
		return
	}
	h.say("Authenticate before this step, and after actions/checkout, which would delete the file: google-github-actions/auth leaves it where a container action can read it. A docker login stays on the host.")
	h.snippet(
		"permissions:",
		"  id-token: write",
		"  contents: read",
		"steps:",
		"  - uses: actions/checkout@v4",
		"  - uses: google-github-actions/auth@v2",
		"    with:",
		"      workload_identity_provider: ${{ vars.WORKLOAD_IDENTITY_PROVIDER }}",
		"      service_account: ${{ vars.SERVICE_ACCOUNT }}",
	)
	h.say("The service account needs the role %s on this repository.", role)
	h.inputs("_json_key, and a service account's key file")
}

func (h *hint) forAzure() {
	role := h.either("AcrPull", "AcrPush")
	if !h.anonymous() {
		h.say("Give the identity the role %s on this registry; where the registry uses repository permissions (ABAC): Container Registry Repository %s.", role, h.either("Reader", "Writer"))
		return
	}
	h.say("A login by azure/login or az acr login stays on the host, out of a container action's sight. Give this step the application's identifiers; with id-token: write it logs in without a secret, else set AZURE_CLIENT_SECRET too.")
	h.snippet(
		"permissions:",
		"  id-token: write",
		"  contents: read",
		"steps:",
		"  - uses: artifact-promotion/promote@v1",
		"    env:",
		"      AZURE_CLIENT_ID: ${{ vars.AZURE_CLIENT_ID }}",
		"      AZURE_TENANT_ID: ${{ vars.AZURE_TENANT_ID }}",
	)
	h.say("The application needs the role %s on this registry.", role)
	h.inputs("a service principal's identifier and secret, or a token of the registry")
}

func (h *hint) forDockerHub() {
	h.say("Docker Hub takes the user name (not the e-mail address) and an access token with %s permission as password; for an organisation's repository the user must be a member of a team that may %s it.",
		h.either("Read", "Read & Write"), h.either("read", "write"))
	h.containerRecipe()
}

func (h *hint) forOther() {
	if h.side == Target && h.refusal.Status != http.StatusUnauthorized || h.side == Target && h.anonymous() {
		h.say("Where the registry creates no repository by itself, it must be created first.")
	}
	if !h.anonymous() && h.refusal.Status == http.StatusForbidden && !h.refusal.LoggedIn {
		h.say("If the name is right, the login may not %s this repository: give it that right.", h.either("read", "write"))
	}
	h.containerRecipe()
}

// containerRecipe brings a docker login across the container's wall: GitHub
// mounts $RUNNER_TEMP/_github_home as /github/home, and no other home. Where a credential
// was given, its absence is not what is wrong.
func (h *hint) containerRecipe() {
	if !h.anonymous() {
		return
	}
	h.say("A container action does not see the login of docker/login-action. Either give this step the credential:")
	h.snippet(append([]string{"- uses: artifact-promotion/promote@v1", "  with:"}, h.given()...)...)
	h.say("Or let the login step write where this action can read; it appears there as /github/home/.docker:")
	h.snippet(
		"- uses: docker/login-action@v3",
		"  env:",
		"    DOCKER_CONFIG: ${{ runner.temp }}/_github_home/.docker",
		"  with:",
	)
	login := "docker login"
	if vendorOf(h.host) != dockerHub {
		login += " " + h.host
		h.snippet("    registry: " + h.host)
	}
	h.snippet(
		"    username: ${{ vars.REGISTRY_USERNAME }}",
		"    password: ${{ secrets.REGISTRY_PASSWORD }}",
	)
	h.say("From a shell: %s", login)
}

// given are the inputs that hold a credential for the repository.
func (h *hint) given() []string {
	if h.side == Elsewhere {
		return []string{
			"    registry-auth: |",
			"      - registry: " + h.host,
			"        username: ${{ vars.REGISTRY_USERNAME }}",
			"        password: ${{ secrets.REGISTRY_PASSWORD }}",
		}
	}
	return []string{
		"    " + string(h.side) + "-username: ${{ vars.REGISTRY_USERNAME }}",
		"    " + string(h.side) + "-password: ${{ secrets.REGISTRY_PASSWORD }}",
	}
}

func (h *hint) inputs(what string) {
	if h.side == Elsewhere {
		h.say("Or give registry-auth an entry for %s: %s.", h.host, what)
		return
	}
	h.say("Or give %s-username and %s-password: %s.", h.side, h.side, what)
}
