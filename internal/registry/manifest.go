package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// MaxManifest is the size in bytes of the largest manifest to read or write: registries
// should accept as much (distribution-spec, "Pushing Manifests").
const MaxManifest = 4 << 20

// accept lists every type of manifest. It has schema 1, because a registry would otherwise
// answer 404 for such an image, and the wildcard, because some registries require it.
var accept = strings.Join([]string{
	string(types.OCIImageIndex),
	string(types.OCIManifestSchema1),
	string(types.DockerManifestList),
	string(types.DockerManifestSchema2),
	"application/vnd.oci.artifact.manifest.v1+json",
	string(types.DockerManifestSchema1Signed),
	string(types.DockerManifestSchema1),
	"*/*",
}, ", ")

// Manifest is a manifest as a registry stores it.
type Manifest struct {
	Digest    v1.Hash
	MediaType string
	Raw       []byte
	// Untyped says that neither the manifest nor the registry states the type, which was
	// guessed from the fields. The type of a descriptor is more reliable then.
	Untyped bool
}

const opWriteManifest = "write manifest"

// acceptable is the header of every read of a manifest. It is shared and must not change.
var acceptable = http.Header{"Accept": {accept}}

// GetManifest reads the manifest of a tag or digest. It reads a digest once in a run, and a
// tag once in two seconds, unless the repository is [Repository.Uncached]. The bytes are
// shared and must not change.
//
// The digest is computed from the bytes. If it is neither the requested one nor the one that
// the registry states, the read is retried, and then fails with ErrMismatch. If the registry
// states no digest for a tag, the manifest is read again by the computed digest: a 404 then
// shows that the bytes were damaged.
func (r *Repository) GetManifest(ctx context.Context, ref string) (Manifest, error) {
	c := r.session.cache
	m, err := readOnce(ctx, c, &c.manifests, r.cacheKey(ref), r.uncached, func(ctx context.Context) (Manifest, error) {
		m, err := r.fetchManifest(ctx, ref)
		if err != nil {
			return Manifest{}, err
		}
		return c.keep(r, m), nil
	})
	return m, r.fail("read manifest", ref, err)
}

func (r *Repository) fetchManifest(ctx context.Context, ref string) (m Manifest, err error) {
	err = retry.Do(ctx, r.session.host, func(ctx context.Context) error {
		m, err = r.readConfirmed(ctx, ref)
		return err
	})
	var failure *Error
	switch {
	case errors.As(err, &failure): // made by an attempt
		return Manifest{}, failure
	case err != nil:
		return Manifest{}, r.fail("read manifest", ref, err)
	}
	return m, nil
}

// readConfirmed reads a manifest. If no stated digest confirms the bytes, it reads the manifest
// once more by the computed digest.
func (r *Repository) readConfirmed(ctx context.Context, ref string) (Manifest, error) {
	m, confirmed, err := r.readManifest(ctx, ref)
	if err != nil || confirmed {
		return m, err
	}
	_, _, err = r.readManifest(ctx, m.Digest.String())
	if errors.Is(err, ErrNotFound) {
		err = retry.AfterDamage(fmt.Errorf("%w: the registry sent a manifest with the digest %s, and does not find that digest", ErrMismatch, m.Digest))
	}
	return m, err
}

// readManifest reads a manifest, and reports whether the caller or the registry stated its
// digest.
func (r *Repository) readManifest(ctx context.Context, ref string) (m Manifest, confirmed bool, err error) {
	c := r.call(http.MethodGet, "manifests/"+ref)
	c.header = acceptable
	c.limit = MaxManifest
	c.check = func(a *wire.Answer) (err error) {
		m, err = readManifest(a, ref)
		return err
	}
	if isDigest(ref) || r.side == credential.Source {
		c.judge = judgeScanned
	}
	a, err := r.session.send(ctx, c)
	if err != nil {
		return Manifest{}, false, r.fail("read manifest", ref, err)
	}
	if a.Status != http.StatusOK {
		return Manifest{}, false, r.refuseRead(ctx, "read manifest", ref, a)
	}
	r.noteExists()
	confirmed = isDigest(ref) || isComputable(a.Header.Get("Docker-Content-Digest")) || types.MediaType(m.MediaType).IsSchema1()
	return m, confirmed, nil
}

// judgeScanned retries a 412 until a scan of a new image is complete: for some seconds after a
// push, a policy may forbid pulling it (harbor#15885). It is not used for the old image of a
// target's tag, which was scanned long ago.
func judgeScanned(a *wire.Answer) error {
	if a.Status == http.StatusPreconditionFailed {
		return retry.Error{Err: errors.New(a.Describe()), Answer: a, Reason: retry.Lagging}
	}
	return nil
}

// maxEntries is how many fields and list entries a manifest may have. A manifest could
// otherwise exhaust the memory: "{}," takes three bytes there and many times as much in Go. An
// index of ten thousand children has fewer entries.
const maxEntries = 100_000

func readManifest(a *wire.Answer, ref string) (m Manifest, err error) {
	if n := bytes.Count(a.Body, []byte(",")); n > maxEntries {
		return Manifest{}, fmt.Errorf("%w: a manifest with %d entries", ErrTooLarge, n)
	}
	k := kindOf(a)
	m = Manifest{Digest: digestOf(a.Body), MediaType: k.mediaType, Untyped: k.untyped, Raw: bytes.Clone(a.Body)}
	if isDigest(ref) {
		m.Digest, err = matches(a.Body, ref)
	} else {
		err = checkStatedDigest(a, m)
	}
	switch {
	case isDigest(ref) && err == nil:
		return m, nil
	case a.IsPage():
		return Manifest{}, wire.InvalidError{Err: fmt.Errorf("%w: it is %s", wire.ErrPage, a.DescribePage())}
	case err == nil && !k.isManifest: // a page that answers every path passes the check of the digest too
		return Manifest{}, retry.AfterDamage(fmt.Errorf("%w: it is not a manifest", wire.ErrPage))
	}
	return m, err
}

// checkStatedDigest fails if the registry states another digest than that of the bytes. It does
// not check schema 1, whose digest leaves out the signatures (distribution, "Image Manifest
// Version 2, Schema 1"): the caller refuses that type.
func checkStatedDigest(a *wire.Answer, m Manifest) error {
	got, want := a.Header.Get("Docker-Content-Digest"), digestOf(m.Raw).String()
	if !isComputable(got) || got == want || types.MediaType(m.MediaType).IsSchema1() {
		return nil
	}
	if algorithm(got) != "sha256" {
		_, err := matches(m.Raw, got)
		return err
	}
	return fmt.Errorf("%w: the registry states %s, its bytes have %s", ErrMismatch, wire.Cut(got, 80), want)
}

// mediaType is the type of the manifest in an answer.
func mediaType(a *wire.Answer) string { return kindOf(a).mediaType }

// kind is the type of a manifest, found without reading all of it.
type kind struct {
	mediaType  string
	untyped    bool // the type was guessed from the fields
	isManifest bool // it has a field that only manifests have
}

// kindOf finds the type that the manifest states, or else the type that the registry states
// (Content-Type), or else guesses it from the fields (image-spec, "mediaType").
func kindOf(a *wire.Answer) kind {
	var stated struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"` // not parsed: a list of empty objects would take a lot of memory
		Schema    int             `json:"schemaVersion"`
	}
	var config, layers, blobs present
	err := json.Unmarshal(a.Body, &struct { // the caller reports a manifest that it cannot parse
		MediaType *string          `json:"mediaType"`
		Manifests *json.RawMessage `json:"manifests"`
		Schema    *int             `json:"schemaVersion"`
		Config    *present         `json:"config"`
		Layers    *present         `json:"layers"`
		Blobs     *present         `json:"blobs"`
	}{&stated.MediaType, &stated.Manifests, &stated.Schema, &config, &layers, &blobs})
	var typed *json.UnmarshalTypeError
	readable := err == nil || errors.As(err, &typed)
	k := kind{isManifest: readable && (stated.MediaType != "" || stated.Schema != 0 || stated.Manifests != nil || bool(config || layers || blobs))}
	sent, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	sent = strings.TrimSpace(sent)
	k.untyped = stated.MediaType == "" && !strings.Contains(sent, "manifest") && !strings.Contains(sent, "index")
	switch {
	case stated.MediaType != "":
		k.mediaType = stated.MediaType
	case !k.untyped:
		k.mediaType = sent
	case bytes.HasPrefix(stated.Manifests, []byte("[")):
		k.mediaType = string(types.OCIImageIndex)
	case stated.Schema == 1:
		k.mediaType = string(types.DockerManifestSchema1)
	default:
		k.mediaType = string(types.OCIManifestSchema1)
	}
	return k
}

// present records that a JSON object has a field.
type present bool

// UnmarshalJSON ignores the value.
func (a *present) UnmarshalJSON([]byte) error {
	*a = true
	return nil
}

// HeadManifest finds the digest of a tag without its bytes: a registry may state it even for an
// image that a policy forbids pulling. The digest is not confirmed.
func (r *Repository) HeadManifest(ctx context.Context, ref string) (Manifest, error) {
	c := r.call(http.MethodHead, "manifests/"+ref)
	c.header = acceptable
	a, err := r.session.send(ctx, c)
	if err != nil {
		return Manifest{}, r.fail("look for manifest", ref, err)
	}
	if a.Status != http.StatusOK {
		return Manifest{}, r.refuse("look for manifest", ref, a)
	}
	digest, err := v1.NewHash(a.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return Manifest{}, r.fail("look for manifest", ref, errors.New("the registry states no digest (Docker-Content-Digest)"))
	}
	return Manifest{Digest: digest, MediaType: mediaType(a), Untyped: true}, nil
}

// HasManifest reports whether the repository has a manifest.
func (r *Repository) HasManifest(ctx context.Context, digest v1.Hash) (bool, error) {
	c := r.call(http.MethodHead, "manifests/"+digest.String())
	c.header = acceptable
	return r.has(ctx, c, digest.String(), "look for manifest")
}

func (r *Repository) has(ctx context.Context, c call, ref, op string) (bool, error) {
	a, err := r.session.send(ctx, c)
	switch {
	case err != nil:
		return false, r.fail(op, ref, err)
	case a.Status == http.StatusOK:
		r.noteExists()
		return true, nil
	case a.Status == http.StatusNotFound:
		return false, nil
	}
	if err = r.refuseRead(ctx, op, ref, a); errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return false, err
}

// PutManifest writes the unchanged bytes of a manifest to a tag or to its digest. It reports
// whether the registry has indexed the manifest as a referrer of its subject
// (distribution-spec, "Pushing Manifests with Subject").
//
// The error for an immutable tag is ErrTagImmutable, unless the tag points to the digest
// already.
func (r *Repository) PutManifest(ctx context.Context, ref string, m Manifest) (indexed bool, err error) {
	if !isDigest(ref) {
		if err := r.confirmAssumedMissing(ctx, m); err != nil {
			return false, err
		}
	}
	return r.writeManifest(ctx, ref, m)
}

func (r *Repository) writeManifest(ctx context.Context, ref string, m Manifest) (indexed bool, err error) {
	defer r.session.referrersOf(r).write(subjectOf(m))()
	a, err := r.putManifest(ctx, ref, m)
	if err != nil {
		return false, r.fail(opWriteManifest, ref, err)
	}
	if wasWritten(a) {
		r.noteExists()
		if indexed = a.Header.Get("OCI-Subject") != ""; indexed {
			r.session.referrersOf(r).learn(supported)
		}
		return indexed, nil
	}
	return false, r.refusedManifest(ctx, ref, m, a)
}

func wasWritten(a *wire.Answer) bool {
	return a.Status == http.StatusCreated || a.Status == http.StatusOK || a.Status == http.StatusAccepted
}

func (r *Repository) putManifest(ctx context.Context, ref string, m Manifest) (*wire.Answer, error) {
	c := r.call(http.MethodPut, "manifests/"+ref)
	c.header = http.Header{"Content-Type": {m.MediaType}}
	c.body = m.Raw
	// Some registries store and digest a manifest that they have encoded again.
	c.check = func(a *wire.Answer) error { return checkStatedDigest(a, m) }
	c.judge = func(a *wire.Answer) error { return judgeManifest(a, subjectOf(m)) }
	r.session.cache.wroteManifest(r, ref)
	defer r.session.cache.wroteManifest(r, ref)
	return r.session.send(ctx, c)
}

// judgeManifest retries a refusal that may pass: of a digest or a size, because the bytes were
// hashed here and must have been damaged in transit; or of content that was written a moment
// ago, because replicas may lag. Lagging replicas also answer 404 (harbor#20726,
// harbor#14902, harbor#22417). For a manifest with a subject, 404 may also mean that the
// registry refuses subjects (hub-feedback#2307), and MANIFEST_BLOB_UNKNOWN with the digest of
// the subject that it refuses this kind of subject (GitLab 3.86: an index). Both answers are
// also those for a subject that is missing, so the retries are fewer.
func judgeManifest(a *wire.Answer, subject v1.Hash) error {
	code, detail := a.Diagnosis()
	hasSubject := subject.Hex != ""
	retryFor := func(why retry.Reason) error {
		return retry.Error{Err: errors.New(a.Describe()), Answer: a, Reason: why}
	}
	if a.Status >= http.StatusInternalServerError {
		return nil // distribution#2795: 500 for content that it never takes, such as foreign layers
	}
	switch code {
	case "DIGEST_INVALID", "SIZE_INVALID", "MANIFEST_INVALID":
		return retryFor(retry.Refused)
	case "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN":
		if hasSubject && strings.Contains(detail, subject.String()) {
			return retryFor(retry.Refused)
		}
		return retryFor(retry.Lagging)
	case "NOT_FOUND", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "":
		switch {
		case a.Status == http.StatusNotFound && hasSubject:
			return retryFor(retry.Refused)
		case a.Status == http.StatusNotFound:
			return retryFor(retry.Lagging)
		}
	}
	return nil
}

// refusedManifest finds out what the refusal of a manifest means. It returns nil if the
// reference points to the manifest already: an attempt whose answer was lost may have written
// it, and ECR refuses to write an immutable tag even with its current digest.
//
// Registries refuse to change an immutable tag with 412 PRECONDITION (harbor#17332), 405
// (acr-cli#70), 400 BLOB_UPLOAD_INVALID (jib#2395), 403 (Docker Hub) or 400 TAG_INVALID (ECR).
// What they have in common: the tag exists, and the same manifest is accepted by its digest.
func (r *Repository) refusedManifest(ctx context.Context, ref string, m Manifest, a *wire.Answer) error {
	refused := r.refusal(opWriteManifest, ref, a)
	switch a.Status {
	case http.StatusUnauthorized, http.StatusRequestEntityTooLarge:
		return refused
	}
	if a.Status >= 500 || isDigest(ref) && a.Status == http.StatusForbidden {
		return refused
	}
	current, err := r.fetchManifest(ctx, ref)
	switch {
	case err == nil && current.Digest == m.Digest:
		return nil
	case err != nil || isDigest(ref):
		return refused
	case saysImmutable(refused) || !isMissingContent(refused.Code) && r.acceptsByDigest(ctx, m):
		refused.immutable = true
		refused.Hint = ""
	}
	return refused
}

// saysImmutable reports whether the error code is that of an immutable tag.
func saysImmutable(e *Error) bool {
	return e.Status >= 400 && e.Status < 500 && (e.Code == string(transport.TagInvalidErrorCode) || e.Code == "TAG_IMMUTABLE")
}

// isMissingContent reports whether a manifest was refused because content that it names is
// missing.
func isMissingContent(code string) bool {
	return code == "MANIFEST_BLOB_UNKNOWN" || code == "BLOB_UNKNOWN"
}

// acceptsByDigest reports whether the registry accepts a manifest by its digest. That needs the
// same rights and content as a write to a tag, so a refusal of the tag is about the tag.
func (r *Repository) acceptsByDigest(ctx context.Context, m Manifest) bool {
	a, err := r.putManifest(ctx, m.Digest.String(), m)
	return err == nil && wasWritten(a)
}

// DeleteTag removes a tag, but not its manifest. Registries may refuse that (ErrUnsupported),
// or cannot remove a tag alone.
func (r *Repository) DeleteTag(ctx context.Context, tag string) error {
	c := r.call(http.MethodDelete, "manifests/"+tag)
	c.need.Access = Delete // the token for the other requests does not include this right
	r.session.cache.wroteManifest(r, tag)
	defer r.session.cache.wroteManifest(r, tag)
	a, err := r.session.send(ctx, c)
	if err != nil {
		return r.fail("delete tag", tag, err)
	}
	if a.Status != http.StatusAccepted && a.Status != http.StatusOK && a.Status != http.StatusNoContent &&
		a.Status != http.StatusNotFound {
		return r.refuse("delete tag", tag, a)
	}
	return nil
}
