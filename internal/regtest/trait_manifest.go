package regtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// knownToGitLab are the types that are on GitLab's list, as far as reports and tries say: its own migrations
// (registry/datastore/migrations, seed_media_types_table.go) add to it from time to time.
var knownToGitLab = []string{
	ociConfig, dockerConfig, ociEmpty, "application/vnd.cncf.helm.config.v1+json", "application/vnd.buildkit.cacheconfig.v0", "application/vnd.in-toto+json",
}

// UnknownMediaTypes refuses artifact types and types of configs that the registry does not know.
func UnknownMediaTypes() Trait {
	return Trait{
		Name: "known media types only", everyone: true,
		Does:   "400 `MANIFEST_INVALID`, detail `unknown media type`, for an image manifest's `artifactType` or `config.mediaType` outside its list",
		Source: "ocx-sh/ocx#480; grimoire-rs/grimoire#11; fluxcd/flux2#3724; cue-lang/cue#2817; https://gitlab.com/gitlab-org/container-registry (seen on 4.32 with the metadata database)",
		layers: overStore(onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
			if p.isIndex() {
				return false // seen: an index may have any artifact type
			}
			types := []string{p.ArtifactType}
			if p.Config != nil {
				types = append(types, p.Config.MediaType)
			}
			for _, t := range types {
				if t != "" && !slices.Contains(knownToGitLab, t) {
					refuseWith(w, http.StatusBadRequest, wireError{"MANIFEST_INVALID", "manifest invalid", "unknown media type: " + t})
					return true
				}
			}
			return false
		})),
	}
}

// EmptyIndexFails answers 500 to an index that lists nothing.
func EmptyIndexFails() Trait {
	return Trait{
		Name: "no empty index", everyone: true,
		Does:   "500 for an index with `\"manifests\": []`",
		Source: "https://gitlab.com/gitlab-org/container-registry (seen on 4.32 with the metadata database)",
		layers: overStore(onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
			if !p.isIndex() || len(p.Manifests) > 0 {
				return false
			}
			refuseWith(w, http.StatusInternalServerError, wireError{"UNKNOWN", "unknown error", nil})
			return true
		})),
	}
}

// ImagesOnlyInIndex refuses an index of anything but image manifests.
func ImagesOnlyInIndex() Trait {
	return Trait{
		Name: "indexes of image manifests only", everyone: true,
		Does:   "400 `MANIFEST_INVALID` for an index that lists an index, or anything else that is no image manifest by its descriptor; 404 `MANIFEST_BLOB_UNKNOWN` for one that lists what is not there",
		Source: "https://github.com/go-gitea/gitea/blob/main/routers/api/packages/container/manifest.go (seen on 1.27.3)",
		layers: overStore(onPut(func(w http.ResponseWriter, r *http.Request, p putting, next http.Handler) bool {
			if !p.isIndex() {
				return false
			}
			for _, d := range p.Manifests {
				if d.MediaType != ociManifest && d.MediaType != dockerManifest {
					refuseWith(w, http.StatusBadRequest, wireError{"MANIFEST_INVALID", "", nil})
					return true
				}
				if child := inside(r.Context(), next, p.manifest(d.Digest)); child.status != http.StatusOK {
					refuseWith(w, http.StatusNotFound, wireError{"MANIFEST_BLOB_UNKNOWN", "", nil})
					return true
				}
			}
			return false
		})),
	}
}

// SubjectsOnlyImages refuses a subject that is no OCI image manifest of this repository.
func SubjectsOnlyImages() Trait {
	return Trait{
		Name: "subjects are OCI image manifests", everyone: true,
		Does:   "400 `MANIFEST_BLOB_UNKNOWN` for a manifest whose subject is an index or of a docker type",
		Source: "https://gitlab.com/gitlab-org/container-registry (seen on 3.86)",
		layers: overStore(onPut(func(w http.ResponseWriter, r *http.Request, p putting, next http.Handler) bool {
			if p.Subject == nil {
				return false
			}
			subject := inside(r.Context(), next, p.manifest(p.Subject.Digest))
			if subject.status == http.StatusOK && subject.header.Get("Content-Type") == ociManifest {
				return false
			}
			refuseWith(w, http.StatusBadRequest, wireError{"MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", p.Subject.Digest})
			return true
		})),
	}
}

// SubjectFirst refuses a manifest whose subject is not there yet.
func SubjectFirst() Trait {
	return Trait{
		Name: "a subject must exist first", everyone: true,
		Does:   "400 `MANIFEST_UNKNOWN` for a manifest whose subject is not there yet",
		Source: "project-zot/zot#1424",
		layers: overStore(onPut(func(w http.ResponseWriter, r *http.Request, p putting, next http.Handler) bool {
			if p.Subject == nil || inside(r.Context(), next, p.manifest(p.Subject.Digest)).status == http.StatusOK {
				return false
			}
			refuseWith(w, http.StatusBadRequest, wireError{"MANIFEST_UNKNOWN", "manifest unknown", p.Subject.Digest})
			return true
		})),
	}
}

// SubjectRefused refuses every manifest that has a subject: with 404 (Docker Hub), 405 (ECR once) or 415 (distribution
// with a filter on types).
func SubjectRefused(status int) Trait {
	code := map[int]string{http.StatusNotFound: "NOT_FOUND", http.StatusMethodNotAllowed: "UNSUPPORTED", http.StatusUnsupportedMediaType: "MANIFEST_INVALID"}[status]
	return Trait{
		Name: "no subject", everyone: true,
		Does:   fmt.Sprintf("%d for a manifest with a `subject`", status),
		Source: "docker/hub-feedback#2307 (404); aws/containers-roadmap#2783 (405); distribution/distribution#4927 (415); oras-project/oras#738",
		layers: overStore(onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
			if p.Subject == nil {
				return false
			}
			refuseWith(w, status, wireError{code, strings.ToLower(http.StatusText(status)), nil})
			return true
		})),
	}
}

// ManifestLimit refuses manifests of more bytes.
func ManifestLimit(most int) Trait {
	return Trait{
		Name: "small manifests", everyone: true,
		Does:   fmt.Sprintf("400 `MANIFEST_INVALID`, `request body too large`, for a manifest above %d KB", most>>10),
		Source: "nuonco/nuon#2348; https://gitlab.com/gitlab-com/runbooks (incident INC-8389)",
		layers: overStore(onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
			if len(p.text) <= most {
				return false
			}
			refuseWith(w, http.StatusBadRequest, wireError{"MANIFEST_INVALID", "manifest invalid", "http: request body too large"})
			return true
		})),
	}
}

// LayerLimit refuses manifests of more layers.
func LayerLimit(most int) Trait {
	return Trait{
		Name: "few layers", everyone: true,
		Does:   fmt.Sprintf("405 for a manifest with more than %d layers", most),
		Source: "openai/tart#890; spinframework/spin#1787",
		layers: overStore(onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
			if len(p.Layers) <= most {
				return false
			}
			refuseWith(w, http.StatusMethodNotAllowed, wireError{"UNSUPPORTED", "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Limit on number of layers per image exceeded'", nil})
			return true
		})),
	}
}

// HistoryMustFit reads the config of an image: a history that is there has an entry for every layer.
func HistoryMustFit() Trait {
	return Trait{
		Name: "history fits", everyone: true,
		Does:   "400 `MANIFEST_INVALID` for an image config whose `history` does not fit the layers",
		Source: "hpc/charliecloud#1002; opencontainers/distribution-spec#147",
		layers: overStore(onPut(func(w http.ResponseWriter, r *http.Request, p putting, next http.Handler) bool {
			if p.Config == nil || p.Config.MediaType != ociConfig && p.Config.MediaType != dockerConfig {
				return false
			}
			blob := inside(r.Context(), next, "/v2/"+p.repository+"/blobs/"+p.Config.Digest)
			if blob.status != http.StatusOK || historyFits(blob.body.Bytes(), len(p.Layers)) {
				return false
			}
			refuseWith(w, http.StatusBadRequest, wireError{"MANIFEST_INVALID", "manifest invalid", map[string]string{"message": "history does not fit the layers"}})
			return true
		})),
	}
}

func historyFits(config []byte, layers int) bool {
	var c struct {
		History []struct {
			Empty bool `json:"empty_layer"`
		}
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return false
	}
	if len(c.History) == 0 {
		return true
	}
	full := 0
	for _, h := range c.History {
		if !h.Empty {
			full++
		}
	}
	return full == layers
}

// SeveralErrors refuses foreign layers with two errors of which the second tells why. The detail of it is an object,
// or a text.
func SeveralErrors(detail any) Trait {
	return Trait{
		Name: "several errors", everyone: false,
		Does:   "500 for foreign layers: `UNKNOWN` first, then `MANIFEST_BLOB_UNKNOWN`, with a detail that is a text or an object",
		Source: "distribution/distribution#2795",
		layers: overStore(onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
			if !slices.ContainsFunc(p.Layers, func(d Descriptor) bool {
				return len(d.URLs) > 0 || d.MediaType == ociForeign || d.MediaType == dockerForeign
			}) {
				return false
			}
			refuseWith(w, http.StatusInternalServerError, wireError{"UNKNOWN", "unknown error", map[string]any{}}, wireError{"MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", detail})
			return true
		})),
	}
}

var plainDigestTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}$`)

// DigestTagIsImage has the tag sha256-<hex> stand for the image of that digest. A write to it is answered with 201 and
// changes nothing, or with 400 DIGEST_INVALID.
func DigestTagIsImage(put int) Trait {
	return Trait{
		Name: "`sha256-<hex>` is the image", everyone: true,
		Does:   fmt.Sprintf("the tag `sha256-<hex>` resolves to the image of that digest; a PUT there is answered with %d and changes nothing", put),
		Source: "oras-project/oras-go#1396; oras-project/oras#2148",
		layers: overStore(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			t, ok := parsePath(r.URL.Path)
			switch {
			case !ok || t.kind != "manifests" || !plainDigestTag.MatchString(t.name):
				next.ServeHTTP(w, r)
			case isRead(r):
				next.ServeHTTP(w, to(r, t.manifest(strings.Replace(t.name, "-", ":", 1))))
			case r.Method == http.MethodPut && put == http.StatusCreated:
				w.Header().Set("Docker-Content-Digest", digestOf(takeBody(r)))
				w.Header().Set("Location", r.URL.Path)
				w.WriteHeader(http.StatusCreated)
			default:
				refuseWith(w, put, wireError{"DIGEST_INVALID", "provided digest did not match uploaded content", nil})
			}
		})),
	}
}

// LowerCaseTags keeps tags in lower case.
func LowerCaseTags() Trait {
	return Trait{
		Name: "tags in lower case", everyone: true,
		Does:   "writes and reads a tag in lower case, so that `V1` and `v1` are one",
		Source: "https://github.com/go-gitea/gitea/blob/main/models/packages/package_version.go",
		layers: overStore(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if t, ok := parsePath(r.URL.Path); ok && t.isTag() {
				r = to(r, t.manifest(strings.ToLower(t.name)))
			}
			next.ServeHTTP(w, r)
		})),
	}
}

// ManifestsLag answers 404 to every n-th manifest that is written, though its blobs were taken; the same manifest is
// taken when it comes again.
func ManifestsLag(every int) Trait {
	return Trait{
		Name:   "404 to a write",
		Does:   fmt.Sprintf("404 `NOT_FOUND` to one manifest PUT in %d: its blobs are not on every replica yet", every),
		Source: "goharbor/harbor#20726; goharbor/harbor#14902; goharbor/harbor#22417",
		layers: func() (layer, layer) {
			count := counter(every)
			struck := newSet()
			return nil, onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
				if struck.has(p.repository+p.name) || !count() {
					return false
				}
				struck.add(p.repository + p.name)
				refuseWith(w, http.StatusNotFound, wireError{"NOT_FOUND", "artifact " + p.repository + " not found", nil})
				return true
			})
		},
	}
}

// OverwrittenIsGone forgets a manifest whose last tag was overwritten.
func OverwrittenIsGone() Trait {
	return Trait{
		Name: "an overwritten tag's image is gone", everyone: true,
		Does:   "the digest that a tag held is 404 once the tag is overwritten, unless another tag names it",
		Source: "project-zot/zot#4444 (seen with and without accounts)",
		layers: func() (layer, layer) {
			z := &untagged{tags: map[string]string{}, gone: newSet()}
			return nil, z.layer
		},
	}
}

// OverwrittenIsGoneButByDigest is OverwrittenIsGone for manifests that were written by tag only.
func OverwrittenIsGoneButByDigest() Trait {
	return Trait{
		Name: "an overwritten tag's image is gone, unless it was written by digest", everyone: true,
		Does:   "the digest that a tag held is 404 once the tag is overwritten, unless it was written by its digest too, or another tag names it",
		Source: "https://github.com/go-gitea/gitea/blob/main/routers/api/packages/container/manifest.go (seen on 1.27.3: createPackageAndVersion deletes the version that the tag is)",
		layers: func() (layer, layer) {
			z := &untagged{tags: map[string]string{}, gone: newSet(), kept: newSet()}
			return nil, z.layer
		},
	}
}

// untagged is which tags hold what, by repository and name, and what is gone.
type untagged struct {
	mu   sync.Mutex
	tags map[string]string
	gone *set
	kept *set // written by digest; nil where that keeps nothing
}

func (z *untagged) layer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := parsePath(r.URL.Path)
		switch {
		case !ok || t.kind != "manifests":
			next.ServeHTTP(w, r)
		case r.Method == http.MethodPut:
			digest := digestOf(takeBody(r))
			next.ServeHTTP(&onStatus{ResponseWriter: w, f: func(status int) {
				if status == http.StatusCreated {
					z.wrote(t, digest)
				}
			}}, r)
		case z.gone.has(t.repository + "@" + t.name):
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (z *untagged) wrote(t target, digest string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.gone.remove(t.repository + "@" + digest)
	if !t.isTag() {
		if z.kept != nil {
			z.kept.add(t.repository + "@" + digest)
		}
		return
	}
	old := z.tags[t.repository+":"+t.name]
	z.tags[t.repository+":"+t.name] = digest
	if old == "" || old == digest || z.kept != nil && z.kept.has(t.repository+"@"+old) {
		return
	}
	for tag, held := range z.tags {
		if held == old && strings.HasPrefix(tag, t.repository+":") {
			return
		}
	}
	z.gone.add(t.repository + "@" + old)
}

// RacyReferrers takes every n-th manifest with a subject and does not list it, until it is written again.
func RacyReferrers(every int) Trait {
	return Trait{
		Name:   "racy list of referrers",
		Does:   fmt.Sprintf("201 with `OCI-Subject` for a referrer, and one in %d is not listed until it is written again", every),
		Source: "https://github.com/olareg/olareg/blob/v0.1.2/referrer.go (without a lock: 7 of 60 writes at once were lost)",
		layers: func() (layer, layer) {
			count := counter(every)
			seen, lost := newSet(), newSet()
			put := onPut(func(_ http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
				if p.Subject == nil {
					return false
				}
				key := p.repository + "@" + digestOf(p.text)
				if seen.has(key) || !count() {
					lost.remove(key)
				} else {
					lost.add(key)
				}
				seen.add(key)
				return false
			})
			list := onReferrers(func(t target, list []json.RawMessage) []json.RawMessage {
				return slices.DeleteFunc(list, func(entry json.RawMessage) bool { return lost.has(t.repository + "@" + digestIn(entry)) })
			})
			return nil, Chain(list, put)
		},
	}
}

func digestIn(entry json.RawMessage) string {
	var d Descriptor
	_ = json.Unmarshal(entry, &d)
	return d.Digest
}

// onReferrers makes a layer that changes each list of referrers.
func onReferrers(change func(t target, list []json.RawMessage) []json.RawMessage) layer {
	return intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		t, ok := parsePath(r.URL.Path)
		if !ok || t.kind != "referrers" || r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		answer := keep(next, r)
		var list struct{ Manifests []json.RawMessage }
		if answer.status == http.StatusOK && json.Unmarshal(answer.body.Bytes(), &list) == nil {
			changed := change(t, append([]json.RawMessage{}, list.Manifests...))
			answer.replace(marshal(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": changed}))
		}
		answer.send(w, r.Method)
	})
}

// OddReferrers adds entries to every list that no client can read.
func OddReferrers(entries ...string) Trait {
	return Trait{
		Name:   "odd entries among the referrers",
		Does:   "lists an entry with an unknown digest algorithm (`blake3:`), or a malformed one",
		Source: "https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests",
		layers: overStore(onReferrers(func(_ target, list []json.RawMessage) []json.RawMessage {
			for _, e := range entries {
				list = append([]json.RawMessage{json.RawMessage(e)}, list...)
			}
			return list
		})),
	}
}

// lateInScripts is shorter than outside (5 to 15 seconds), so that scenarios with many steps end.
const lateInScripts = 700 * time.Millisecond

// TagsLate shows a tag's new digest only after a time.
func TagsLate(after time.Duration) Trait {
	return Trait{
		Name:   "tags are seen late",
		Does:   "shows what a tag held before for some time after it was written (outside 5 to 15 s, here less)",
		Source: "distribution/distribution#1141",
		layers: func() (layer, layer) {
			l := newLags()
			return nil, func(next http.Handler) http.Handler { return &lateTags{l, after, next} }
		},
	}
}

type lateTags struct {
	lags  *lags
	after time.Duration
	next  http.Handler
}

func (l *lateTags) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if l.lags.serve(w, r) {
		return
	}
	t, ok := parsePath(r.URL.Path)
	if !ok || !t.isTag() || r.Method != http.MethodPut {
		l.next.ServeHTTP(w, r)
		return
	}
	before := inside(r.Context(), l.next, r.URL.Path)
	// Hidden before the answer can be seen: a client may read at once.
	l.next.ServeHTTP(&onStatus{ResponseWriter: w, f: func(status int) {
		if status == http.StatusCreated {
			l.lags.keep(r.URL.Path, lagging{time.Now().Add(l.after), before})
		}
	}}, r)
}
