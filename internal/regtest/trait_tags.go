package regtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Immutability is how a vendor refuses to write a tag again.
type Immutability struct {
	Status        int
	Code, Message string
	Detail        any
	// Words and Reported are for people: what a client sees, and where that is from.
	Words, Reported string
}

// The vendors' words. ECR is known to refuse the digest that the tag has, too; that another takes it is not known.
var (
	ECRImmutable = Immutability{
		Status: http.StatusBadRequest, Code: "TAG_INVALID",
		Message:  "The image tag already exists and cannot be overwritten because the repository is immutable.",
		Words:    "400 `TAG_INVALID`, even for the digest that the tag has",
		Reported: "https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html",
	}
	HarborImmutable = Immutability{
		Status: http.StatusPreconditionFailed, Code: "PRECONDITION", Message: "Failed to process request due to the tag configured as immutable.",
		Words: "412 `PRECONDITION`", Reported: "https://github.com/goharbor/harbor/issues/17332",
	}
	ACRImmutable = Immutability{
		Status: http.StatusMethodNotAllowed, Code: "REGISTRY_DISALLOWED_OPERATION", Message: "The operation is disallowed on this registry, repository or image.",
		Words: "405 `REGISTRY_DISALLOWED_OPERATION`", Reported: "https://github.com/Azure/acr-cli/issues/70",
	}
	NexusImmutable = Immutability{
		Status: http.StatusBadRequest, Code: "BLOB_UPLOAD_INVALID", Message: "blob upload invalid", Detail: "Asset cannot be updated: repository does not allow updating assets",
		Words: "400 `BLOB_UPLOAD_INVALID`, detail `cannot be updated`", Reported: "https://github.com/GoogleContainerTools/jib/issues/2395",
	}
	ArtifactoryImmutable = Immutability{
		Status: http.StatusForbidden, Code: "MANIFEST_INVALID", Message: "manifest invalid", Detail: map[string]string{"description": "HTTP 403 Forbidden"},
		Words: "403 `MANIFEST_INVALID`", Reported: "https://github.com/GoogleContainerTools/kaniko/issues/1095",
	}
	ArtifactoryImmutable400 = Immutability{
		Status: http.StatusBadRequest, Code: "MANIFEST_INVALID", Message: "manifest invalid", Detail: map[string]string{"description": "Not enough permissions to overwrite"},
		Words: "400 `MANIFEST_INVALID`", Reported: "https://github.com/GoogleContainerTools/kaniko/issues/1095",
	}
	HubImmutable = Immutability{
		Status: http.StatusForbidden, Code: "DENIED", Message: "requested access to the resource is denied",
		Words: "403 `DENIED`", Reported: "https://github.com/docker/hub-feedback/issues/2466",
	}
)

// fixedNames is a rule that somebody writes who reads README: everything but environments' tags is immutable, and the
// tags that lists of referrers and signatures need.
func fixedNames(_, tag string) bool {
	for _, prefix := range []string{"promotion-", "release-", "v"} {
		if strings.HasPrefix(tag, prefix) {
			return true
		}
	}
	return false
}

// ImmutableTags refuses to write the tags again that is names.
func ImmutableTags(how Immutability, is func(repository, tag string) bool) Trait {
	return Trait{
		Name: "immutable tags", everyone: true,
		Does:   how.Words + " to the PUT of an immutable tag that exists",
		Source: how.Reported,
		layers: overStore(onPut(func(w http.ResponseWriter, r *http.Request, p putting, next http.Handler) bool {
			if !p.isTag() || !is(p.repository, p.name) || inside(r.Context(), next, r.URL.Path).status != http.StatusOK {
				return false
			}
			refuseWith(w, how.Status, wireError{how.Code, how.Message, how.Detail})
			return true
		})),
	}
}

// onTagList makes a layer for lists of tags.
func onTagList(f func(w http.ResponseWriter, r *http.Request, t target, next http.Handler)) layer {
	return intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if t, ok := parsePath(r.URL.Path); ok && t.kind == "tags" && r.Method == http.MethodGet {
			f(w, r, t, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// PageLimit refuses to list more tags at once than that.
func PageLimit(most int) Trait {
	return Trait{
		Name:   "small pages of tags",
		Does:   fmt.Sprintf("400 `PAGINATION_NUMBER_INVALID` for `n` above %d", most),
		Source: "distribution/distribution#4844; google/go-containerregistry#681",
		layers: overStore(onTagList(func(w http.ResponseWriter, r *http.Request, _ target, next http.Handler) {
			if n, err := strconv.Atoi(r.URL.Query().Get("n")); err == nil && n > most {
				refuseWith(w, http.StatusBadRequest, wireError{"PAGINATION_NUMBER_INVALID", "invalid number of results requested", map[string]int{"n": n}})
				return
			}
			next.ServeHTTP(w, r)
		})),
	}
}

// tagsOf reads a list whole.
func tagsOf(next http.Handler, r *http.Request, t target) ([]string, int) {
	answer := inside(r.Context(), next, "/v2/"+t.repository+"/tags/list")
	var list struct{ Tags []string }
	_ = json.Unmarshal(answer.body.Bytes(), &list)
	return list.Tags, answer.status
}

func sendJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(marshal(value))
}

// ListWithManifests answers a list of tags whole, with a member for each manifest, filled up to so many bytes.
func ListWithManifests(atLeast int) Trait {
	return Trait{
		Name:   "tags with every manifest",
		Does:   fmt.Sprintf("one answer for all tags, with a member `manifest` for each digest: %.1f MiB", float64(atLeast)/(1<<20)),
		Source: "google/go-containerregistry#897",
		layers: overStore(onTagList(func(w http.ResponseWriter, r *http.Request, t target, next http.Handler) {
			tags, status := tagsOf(next, r, t)
			if status != http.StatusOK {
				next.ServeHTTP(w, r)
				return
			}
			type member struct {
				Size string   `json:"imageSizeBytes"`
				Type string   `json:"mediaType"`
				Tags []string `json:"tag"`
				Time string   `json:"timeUploadedMs"`
			}
			all := map[string]member{}
			for _, tag := range tags {
				digest := digestOf(inside(r.Context(), next, t.manifest(tag)).body.Bytes())
				all[digest] = member{"12345678", ociIndex, append(all[digest].Tags, tag), "1785500000000"}
			}
			for n := 0; n*200 < atLeast; n++ {
				all[digestOf([]byte(strconv.Itoa(n)))] = member{"12345678", ociManifest, []string{}, "1785500000000"}
			}
			sendJSON(w, map[string]any{"child": []string{}, "manifest": all, "name": t.repository, "tags": tags})
		})),
	}
}

// FullPageWithoutLink lists a full page of tags and no Link, and answers 405 to who asks what comes after it.
func FullPageWithoutLink(size int) Trait {
	return Trait{
		Name:   "a full page without Link",
		Does:   "a full page of tags without `Link`; 405 to a request for what comes `last`",
		Source: "opencontainers/distribution-spec#461",
		layers: overStore(onTagList(func(w http.ResponseWriter, r *http.Request, t target, next http.Handler) {
			if r.URL.Query().Has("last") {
				refuseWith(w, http.StatusMethodNotAllowed, wireError{"UNSUPPORTED", "the operation is unsupported", nil})
				return
			}
			tags, status := tagsOf(next, r, t)
			if status != http.StatusOK {
				next.ServeHTTP(w, r)
				return
			}
			slices.Sort(tags)
			sendJSON(w, map[string]any{"name": t.repository, "tags": tags[:min(size, len(tags))]})
		})),
	}
}

// TagsNull answers a repository without tags with "tags": null.
func TagsNull() Trait {
	return Trait{
		Name:   "`\"tags\": null`",
		Does:   "`\"tags\": null` for a repository without tags, or of which nothing is known",
		Source: "distribution/distribution#1186; zeegin/v8std#39",
		layers: overStore(onTagList(func(w http.ResponseWriter, r *http.Request, t target, next http.Handler) {
			if tags, status := tagsOf(next, r, t); len(tags) == 0 && (status == http.StatusOK || status == http.StatusNotFound) {
				sendJSON(w, map[string]any{"name": t.repository, "tags": nil})
				return
			}
			next.ServeHTTP(w, r)
		})),
	}
}

// ListTimesOut answers the first lists of tags with 504: outside for minutes, in a repository with many tags.
func ListTimesOut(times int) Trait {
	return Trait{
		Name:   "504 for a list of tags",
		Does:   "504 with a proxy's HTML for a list of tags, for minutes",
		Source: "docker-archive/docker-registry#614; goharbor/harbor#2754",
		layers: func() (layer, layer) {
			var mu sync.Mutex
			left := times
			return onTagList(func(w http.ResponseWriter, r *http.Request, _ target, next http.Handler) {
				mu.Lock()
				left--
				fails := left >= 0
				mu.Unlock()
				if fails {
					page(w, http.StatusGatewayTimeout, "504 Gateway Time-out")
					return
				}
				next.ServeHTTP(w, r)
			}), nil
		},
	}
}

// ForbiddenIfMissing answers 403 to reads in a repository that does not exist. The first manifest creates it, by
// whatever name: a package of untagged versions is one.
func ForbiddenIfMissing() Trait {
	return Trait{
		Name:   "403 for what does not exist",
		Does:   "403 `DENIED` to a read in a repository that does not exist; its first manifest creates it",
		Source: "docker/build-push-action#981; google/go-containerregistry#1691",
		layers: func() (layer, layer) {
			written := newSet()
			return nil, intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				t, ok := parsePath(r.URL.Path)
				switch {
				case ok && r.Method == http.MethodPut && t.kind == "manifests":
					next.ServeHTTP(&onStatus{ResponseWriter: w, f: func(status int) {
						if status < 300 {
							written.add(t.repository)
						}
					}}, r)
					return
				case !ok || !isRead(r) || t.kind == "blobs" || written.has(t.repository):
				default:
					if tags, _ := tagsOf(next, r, t); len(tags) == 0 {
						refuseWith(w, http.StatusForbidden, wireError{"DENIED", "requested access to the resource is denied", nil})
						return
					}
				}
				next.ServeHTTP(w, r)
			})
		},
	}
}

// MissingRepository refuses every write to a repository that was not made before.
func MissingRepository(exists func(repository string) bool) Trait {
	return Trait{
		Name:   "repositories are made first",
		Does:   "404 `NAME_UNKNOWN` to a write into a repository that nobody has created",
		Source: "https://docs.aws.amazon.com/AmazonECR/latest/userguide/common-errors-docker.html",
		layers: overStore(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			t, ok := parsePath(r.URL.Path)
			if !ok || exists(t.repository) {
				next.ServeHTTP(w, r)
				return
			}
			refuseWith(w, http.StatusNotFound, wireError{
				"NAME_UNKNOWN", "The repository with name '" + t.repository + "' does not exist in the registry with id '123456789012'", nil,
			})
		})),
	}
}

// PolicyViolation refuses to let a manifest be pulled: so often, or for ever if times is negative.
func PolicyViolation(is func(repository, reference string) bool, times int) Trait {
	return Trait{
		Name:   "vulnerable images are kept back",
		Does:   "412 `PROJECTPOLICYVIOLATION` to the pull of a manifest that is vulnerable, or not scanned yet",
		Source: "goharbor/harbor#19408; goharbor/harbor#15885",
		layers: func() (layer, layer) {
			var mu sync.Mutex
			left := map[string]int{}
			return nil, intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				t, ok := parsePath(r.URL.Path)
				if !ok || t.kind != "manifests" || !isRead(r) || !is(t.repository, t.name) {
					next.ServeHTTP(w, r)
					return
				}
				mu.Lock()
				left[r.URL.Path]++
				over := times >= 0 && left[r.URL.Path] > times
				mu.Unlock()
				if over {
					next.ServeHTTP(w, r)
					return
				}
				refuseWith(w, http.StatusPreconditionFailed, wireError{
					"PROJECTPOLICYVIOLATION", "current image with 7 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of \"High\" or higher from running.'", nil,
				})
			})
		},
	}
}

// addQuery adds to a raw query.
func addQuery(u *url.URL, raw string) {
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += raw
}
