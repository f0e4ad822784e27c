package regtest

import (
	"net/http"
	"slices"
)

// Trait is one way in which a registry outside is not as the specification says, or not as olareg is. Each registry
// that has it keeps a state of its own.
type Trait struct {
	// Name is short: a table of vendors shows it. Does says in a sentence what a client sees.
	Name, Does string
	// Source is the report.
	Source string

	set    func(*Options)
	layers func() (front, store layer)
	// everyone: the test's own requests meet it too, because it decides what the registry can hold.
	everyone bool
}

// Vendor is a registry with the ways that its users report.
type Vendor struct {
	Name, Title string
	Traits      []Trait
}

// Has says whether the vendor has a trait of that name.
func (v Vendor) Has(name string) bool {
	return slices.ContainsFunc(v.Traits, func(t Trait) bool { return t.Name == name })
}

// FindVendor finds a vendor by its name.
func FindVendor(name string) (Vendor, bool) {
	i := slices.IndexFunc(Vendors, func(v Vendor) bool { return v.Name == name })
	if i < 0 {
		return Vendor{}, false
	}
	return Vendors[i], true
}

// layer is a middleware.
type layer = func(http.Handler) http.Handler

// inFront is a layer that a request meets before it is asked for credentials: what a proxy or the token service does.
func inFront(l layer) func() (front, store layer) {
	return func() (layer, layer) { return l, nil }
}

// overStore is a layer that only requests meet whose credentials allow them.
func overStore(l layer) func() (front, store layer) {
	return func() (layer, layer) { return nil, l }
}

// withTraits is the options with those that the traits set.
func (o Options) withTraits() Options {
	if o.Auth != nil {
		auth := *o.Auth
		o.Auth = &auth
	}
	for _, t := range o.Traits {
		if t.set != nil {
			t.set(&o)
		}
	}
	return o
}

// traits are the layers of all traits. The first trait is the innermost.
func (o Options) traits() (front, store layer) {
	var fronts, stores []layer
	for _, t := range slices.Backward(o.Traits) {
		if t.layers == nil {
			continue
		}
		f, s := t.layers()
		fronts, stores = t.add(fronts, f), t.add(stores, s)
	}
	return Chain(fronts...), Chain(stores...)
}

func (t Trait) add(layers []layer, l layer) []layer {
	switch {
	case l == nil:
		return layers
	case t.everyone:
		return append(layers, l)
	default:
		return append(layers, forClients(l))
	}
}

// forClients lets the test's own requests past a layer.
func forClients(l layer) layer {
	return func(next http.Handler) http.Handler {
		changed := l(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.UserAgent() == Agent {
				next.ServeHTTP(w, r)
				return
			}
			changed.ServeHTTP(w, r)
		})
	}
}

// referrersAPI is a trait of every vendor, one way or the other.
func referrersAPI(has bool, source string) Trait {
	t := Trait{Name: "no referrers API", Does: "answers 404 to `/referrers/`: lists are kept under `sha256-<hex>`", Source: source}
	if has {
		t.Name, t.Does = "referrers API", "lists the referrers of a manifest"
	}
	t.set = func(o *Options) { o.Referrers = has }
	return t
}

// Who says of which vendor whether it has the referrers API.
const (
	gitlabAPI      = "https://gitlab.com/gitlab-org/container-registry/-/issues/1205; oras-project/oras-go#1396 (404 seen)"
	harborAPI      = "goharbor/harbor#17928 (since 2.8)"
	ecrAPI         = "https://aws.amazon.com/about-aws/whats-new/2024/06/amazon-ecr-oci-image-distribution-version-1-1"
	acrAPI         = "Azure/azure-cli#25069; https://github.com/MicrosoftDocs/azure-docs/blob/main/articles/container-registry/container-registry-manage-artifact.md"
	garAPI         = "https://cloud.google.com/artifact-registry/docs/docker/manage-metadata"
	ghcrAPI        = "actions/attest-build-provenance#71; rtvkiz/minimal#7 (404 seen in 2026)"
	hubAPI         = "docker/roadmap#724 (asked for in 2024); awslabs/soci-snapshotter#1828 (said to be there since 2025)"
	quayAPI        = "quay/quay#1706; https://docs.redhat.com/zh-cn/documentation/red_hat_quay/3.13/html/configure_red_hat_quay/other-oci-artifacts-with-quay (a setting)"
	artifactoryAPI = "https://jfrog.com/help/r/jfrog-artifactory-documentation/use-referrers-rest-api-to-discover-oci-references (since 7.90.1)"
	nexusAPI       = "dragonflyoss/nydus#1705 (quotes Sonatype: OCI 1.0.0 and 1.0.1); https://help.sonatype.com/en/docker-registry.html"
	giteaAPI       = "https://github.com/go-gitea/gitea/blob/main/routers/api/packages/api.go (ContainerRoutes: not implemented yet)"
	zotAPI         = "project-zot/zot#934; project-zot/zot#1410"
	// anyAPI is for what is no vendor: both are allowed, and CNCF distribution has none.
	anyAPI = "https://github.com/opencontainers/distribution-spec/blob/main/spec.md#unavailable-referrers-api; distribution/distribution#4828"
)

// Who says of which vendor that it asks for Basic credentials.
const (
	ecrBasic   = "https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html"
	nexusBasic = "https://help.sonatype.com/en/docker-authentication.html (unless its Docker Bearer Token Realm is switched on)"
)

// Vendors are the registries that the scenarios run on. A vendor has here what a promotion is to succeed under; what
// has to end it (a policy, a lost repository) is a trait that tests use by itself.
var Vendors = []Vendor{
	{"gitlab", "GitLab", []Trait{
		referrersAPI(false, gitlabAPI), UnknownMediaTypes(), EmptyIndexFails(), SubjectsOnlyImages(), DigestTagIsImage(http.StatusCreated), ManifestLimit(256 << 10),
	}},
	{"harbor", "Harbor", []Trait{referrersAPI(true, harborAPI), HeadBlobRedirected()}},
	{"harbor-replicas", "Harbor, replicas that lag", []Trait{referrersAPI(true, harborAPI), ManifestsLag(4)}},
	{"harbor-immutable", "Harbor, immutable tags", []Trait{referrersAPI(true, harborAPI), ImmutableTags(HarborImmutable, fixedNames)}},
	{"ecr", "ECR", []Trait{referrersAPI(true, ecrAPI), basicOnly(ecrBasic), ManifestLimit(256 << 10), LayerLimit(500)}},
	{"ecr-immutable", "ECR, immutable tags", []Trait{referrersAPI(true, ecrAPI), basicOnly(ecrBasic), ImmutableTags(ECRImmutable, fixedNames)}},
	{"acr", "ACR", []Trait{referrersAPI(true, acrAPI), TokenAnswers(OnlyAccessToken)}},
	{"acr-immutable", "ACR, locked tags", []Trait{referrersAPI(true, acrAPI), ImmutableTags(ACRImmutable, fixedNames)}},
	{"gar", "Artifact Registry", []Trait{referrersAPI(true, garAPI), ListWithManifests(3 << 20), TokenAnswers(ExpiresAsText)}},
	{"ghcr", "GHCR", []Trait{referrersAPI(false, ghcrAPI), Throttled(25, RetryMicroseconds)}},
	{"ghcr-new", "GHCR, a first push", []Trait{referrersAPI(false, ghcrAPI), ForbiddenIfMissing()}},
	{"dockerhub", "Docker Hub", []Trait{referrersAPI(false, hubAPI), Throttled(25, RetryEpoch)}},
	{"dockerhub-immutable", "Docker Hub, immutable tags", []Trait{referrersAPI(false, hubAPI), ImmutableTags(HubImmutable, fixedNames)}},
	{"quay", "Quay", []Trait{referrersAPI(true, quayAPI), HistoryMustFit(), ChallengeForm(BlanksRoundEquals), TokenAnswers(ExpiresAsFraction)}},
	{"artifactory", "Artifactory", []Trait{referrersAPI(true, artifactoryAPI), HeadBlob(http.StatusMethodNotAllowed), ChallengeForm(BasicThenBearer), PageLimit(500)}},
	{"artifactory-immutable", "Artifactory, no overwriting", []Trait{referrersAPI(true, artifactoryAPI), ImmutableTags(ArtifactoryImmutable, fixedNames)}},
	{"nexus", "Nexus", []Trait{referrersAPI(false, nexusAPI), basicOnly(nexusBasic), HeadBlob(http.StatusBadRequest), TagsNull()}},
	{"nexus-immutable", "Nexus, no redeploy", []Trait{referrersAPI(false, nexusAPI), basicOnly(nexusBasic), ImmutableTags(NexusImmutable, fixedNames)}},
	{"gitea", "Gitea, Forgejo", []Trait{referrersAPI(false, giteaAPI), ImagesOnlyInIndex(), OverwrittenIsGoneButByDigest(), LowerCaseTags(), MissingRightIs401()}},
	{"proxy", "behind a proxy", []Trait{
		referrersAPI(false, anyAPI), BodyLimit(1<<20, true), HeaderLimit(8<<10, http.StatusBadRequest), OddLocationQuery(), ChallengeForm(NegotiateFirst),
	}},
	{"cdn", "behind a CDN", []Trait{referrersAPI(false, anyAPI), ZippedAnswers(), Throttled(25, RetryDate)}},
	{"no-subjects", "subjects refused (Docker Hub in 2023, ECR once)", []Trait{referrersAPI(false, anyAPI), SubjectRefused(http.StatusNotFound)}},
	{"zot", "zot", []Trait{referrersAPI(true, zotAPI), OverwrittenIsGone(), SubjectFirst()}},
	{"late", "tags that are seen late", []Trait{referrersAPI(false, anyAPI), TagsLate(lateInScripts)}},
	{"racy", "a racy referrers API", []Trait{referrersAPI(true, anyAPI), RacyReferrers(2)}},
}

// Others are the traits that no vendor of the list has: tests of the product use each by itself, mostly because it has
// to end a promotion.
func Others() []Trait {
	none := func(string, string) bool { return false }
	return []Trait{
		SubjectRefused(http.StatusMethodNotAllowed), SubjectRefused(http.StatusUnsupportedMediaType), DigestTagIsImage(http.StatusBadRequest),
		SeveralErrors(""), ImmutableTags(ArtifactoryImmutable400, none), PolicyViolation(none, -1), MissingRepository(func(string) bool { return true }),
		FullPageWithoutLink(1), ListTimesOut(1),
		BodyLimit(1<<20, false), HeaderLimit(8<<10, http.StatusRequestHeaderFieldsTooLarge), ChunkMinimum(1 << 20), MonolithicLimit(100 << 20),
		Throttled(25, RetrySeconds), Throttled(25, RetryHours),
		HeadBlob(http.StatusForbidden), GoneBlobs(none, false), BlobsCollected(0), OneAtATime(),
		PlainLocation(), LocationWithoutPort(), LocationAt(""), ChallengeForm(BothInOneHeader), TokenAnswers(OddIssuedAt),
		LoginPage(func(*http.Request) bool { return false }), UntypedChildren("text/plain"), OddReferrers(),
		LateWrite(none, http.StatusForbidden),
	}
}
