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
	h.judge()
	h.say("The credential used was: %s.", c)
	if c.Notice != "" {
		h.say("Note: %s.", strings.TrimSuffix(c.Notice, "."))
	}
	h.check()
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

// judge says what was refused, on the first line, which is all that a chat message shows.
// A cut keeps the line short: the full name follows in check.
func (h *hint) judge() {
	repository := cut(h.repository(), 50)
	switch {
	case h.refusal.Status == http.StatusNotFound:
		h.say("The %s repository %s does not exist or is hidden (404).", h.side, repository)
	case h.anonymous():
		h.say("Anonymous access to the %s repository %s was refused (%d).", h.side, repository, h.refusal.Status)
	case h.refusal.LoggedIn:
		h.say("The login may not %s the %s repository %s (%d).", h.either("pull from", "push to"), h.side, repository, h.refusal.Status)
	case h.refusal.Status == http.StatusUnauthorized:
		h.say("The credential for the %s repository %s was rejected (401).", h.side, repository)
	default:
		h.say("Access to the %s repository %s was refused (%d).", h.side, repository, h.refusal.Status)
	}
}

// check says what to look at first. Many registries answer for a missing repository as for
// a missing right (GHCR, Docker Hub: 403; others: 401 or 404).
func (h *hint) check() {
	switch {
	case h.refusal.LoggedIn && !h.anonymous():
		h.say("The login itself was accepted. Either the right to %s is missing, or the repository does not exist: check the name %s.", h.either("pull", "push"), h.repository())
	case h.refusal.Status == http.StatusUnauthorized && !h.anonymous():
		h.say("The password or token may be expired, mistyped, for another registry, or a secret of an environment that this job does not name.")
		h.say("Some registries give the same answer if the repository does not exist: check the name %s.", h.repository())
	default:
		h.say("Many registries give the same answer if the repository does not exist: check the name %s.", h.repository())
	}
}

// cut shortens a name to n bytes. Names of repositories are ASCII.
func cut(name string, n int) string {
	if len(name) <= n {
		return name
	}
	return name[:n] + "…"
}

// LimitHint says what to do when a registry limits the rate of requests, and asks for a
// longer wait than the run makes.
func LimitHint(side Side, repo name.Repository, c Credential, wait string) string {
	h := hint{side: side, repo: repo, credential: c, host: hostOf(repo.RegistryStr())}
	h.say("%s limits the rate of requests: it asks for a wait of %s, which is too long for this run.", shown(h.host), wait)
	h.say("The credential used was: %s.", c)
	if !h.anonymous() {
		h.say("Run the promotion again after that time, or use a credential with a higher limit.")
		return strings.Join(h.lines, "\n")
	}
	h.say("The limit is lowest without a login: log in, or run the promotion again after that time.")
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
		h.say("A personal access token must be a classic one with the scope %s:packages. If the organisation uses single sign-on, authorise the token for it.", h.either("read", "write"))
		h.say("Or leave the credential out: the github-token is enough if the job has these permissions:")
		h.permissions()
		return
	}
	if h.anonymous() {
		h.say("Leave the input github-token at its default, ${{ github.token }}, and give the job these permissions:")
	} else {
		h.say("Give the job these permissions:")
	}
	h.permissions()
	h.say("A package of another repository must also grant access to this one: in the settings of the package, under \"Manage Actions access\", add this repository with the role %s.", h.either("Read", "Write"))
	if h.anonymous() {
		h.inputs(fmt.Sprintf("a user name and a classic personal access token with the scope %s:packages", h.either("read", "write")))
	}
	if h.side == Target {
		h.say("An organisation may forbid the github-token to create packages. Then push once with a classic personal access token with write:packages as target-password, and grant access as above.")
	}
}

func (h *hint) permissions() {
	h.snippet("permissions:", "  contents: read", "  packages: "+h.either("read", "write"))
}

func (h *hint) forAmazon() {
	registry := parseAmazon(h.host)
	if h.anonymous() {
		h.say("A container action does not see a login by aws-actions/amazon-ecr-login or docker/login-action, which stays on the host. It does see the AWS_* variables: configure them before this step.")
		h.amazonSnippet(registry.region, registry.account)
		h.inputs("AWS, and what aws ecr get-login-password prints")
	} else {
		h.say("The identity needs %s on this repository, and ecr:GetAuthorizationToken.", h.either(
			"ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and ecr:BatchCheckLayerAvailability",
			"ecr:BatchGetImage, ecr:GetDownloadUrlForLayer, ecr:BatchCheckLayerAvailability, ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload and ecr:PutImage"))
		h.say("A repository of another account also needs a repository policy that allows this identity.")
	}
	if h.side == Target {
		h.say("ECR does not create repositories on push by default: aws ecr create-repository --region %s --repository-name %s", registry.region, h.repo.RepositoryStr())
	}
}

func (h *hint) forAmazonPublic() {
	if h.anonymous() {
		h.say("A container action does not see a docker login, which stays on the host. It does see the AWS_* variables: configure them before this step.")
		h.amazonSnippet(parseAmazon(h.host).region, "123456789012")
		h.inputs("AWS, and what aws ecr-public get-login-password prints")
	} else {
		h.say("The identity needs ecr-public:GetAuthorizationToken, sts:GetServiceBearerToken%s.", h.either("", " and ecr-public's actions for layer uploads and PutImage"))
	}
	if h.side == Target {
		_, repository, _ := strings.Cut(h.repo.RepositoryStr(), "/")
		h.say("ECR does not create repositories on push: aws ecr-public create-repository --region us-east-1 --repository-name %s", repository)
	}
}

func (h *hint) amazonSnippet(region, account string) {
	h.snippet(
		"permissions:",
		"  id-token: write",
		"  contents: read",
		"steps:",
		"  - uses: aws-actions/configure-aws-credentials@v5",
		"    with:",
		"      role-to-assume: arn:aws:iam::"+account+":role/promote",
		"      aws-region: "+region,
	)
}

func (h *hint) forGoogle() {
	role := h.either("roles/artifactregistry.reader", "roles/artifactregistry.writer")
	if !h.anonymous() {
		h.say("Give the service account the role %s on this repository. Artifact Registry does not create repositories on push: it must exist.", role)
		return
	}
	h.say("A container action does not see a docker login, which stays on the host. It can read the file that google-github-actions/auth writes. Run that action before this step, and after actions/checkout, which deletes the file.")
	h.snippet(
		"permissions:",
		"  id-token: write",
		"  contents: read",
		"steps:",
		"  - uses: actions/checkout@v5",
		"  - uses: google-github-actions/auth@v3",
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
		h.say("Give the identity the role %s on this registry. If the registry uses repository permissions (ABAC), the role is Container Registry Repository %s.", role, h.either("Reader", "Writer"))
		return
	}
	h.say("A container action does not see a login by azure/login or az acr login, which stays on the host. Give this step the identifiers of the application. With id-token: write it needs no secret, otherwise set AZURE_CLIENT_SECRET too.")
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
	h.say("Docker Hub takes the user name (not the e-mail address), and as password an access token with %s permission. For a repository of an organisation the user must be a member of a team that may %s it.",
		h.either("Read", "Read & Write"), h.either("read", "write"))
	h.containerRecipe()
}

func (h *hint) forOther() {
	if h.side == Target && h.refusal.Status != http.StatusUnauthorized || h.side == Target && h.anonymous() {
		h.say("If the registry does not create repositories on push, create the repository first.")
	}
	if !h.anonymous() && h.refusal.Status == http.StatusForbidden && !h.refusal.LoggedIn {
		h.say("If the name is right, give the login the right to %s this repository.", h.either("read", "write"))
	}
	h.containerRecipe()
}

// containerRecipe says how a container action gets a docker login: GitHub mounts
// $RUNNER_TEMP/_github_home as /github/home, and no other home directory. It is left out
// if a credential was given, which then is at fault.
func (h *hint) containerRecipe() {
	if !h.anonymous() {
		return
	}
	h.say("A container action does not see the login of docker/login-action. Either give this step the credential:")
	h.snippet(append([]string{"- uses: artifact-promotion/promote@v1", "  with:"}, h.given()...)...)
	h.say("Or let the login step write its file where this action reads it, as /github/home/.docker:")
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
