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

// MaxManifest is the largest manifest that is read or written, in bytes: what
// the distribution-spec asks registries to take ("Pushing Manifests").
const MaxManifest = 4 << 20

// accept names every kind of manifest. Schema 1 is among them so that an image
// of it can be told apart from none; some registries answer 404 without the
// exact type, others look for the wildcard.
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

// Manifest is a manifest as a registry holds it.
type Manifest struct {
	Digest    v1.Hash
	MediaType string
	Raw       []byte
	// Untyped says that neither the manifest nor the registry states the type: it was
	// told from the shape. Where a descriptor led here, that knows better.
	Untyped bool
}

const opWriteManifest = "write manifest"

// acceptable is what every question for a manifest says; nobody changes it.
var acceptable = http.Header{"Accept": {accept}}

// GetManifest reads the manifest of a tag or digest: by digest once a run, by tag once
// within two seconds, unless the repository is [Repository.Uncached]. Nobody changes
// the bytes, which are shared. Its digest is that of the
// bytes; bytes that do not match a digest asked for, or the one the registry
// names, are asked for again and then refused with ErrMismatch. Where a tag is
// answered without naming a digest, it is read once more by the digest that the
// bytes have: a registry that has no such manifest did not send it.
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
		m, err = r.readVouched(ctx, ref)
		return err
	})
	var failure *Error
	switch {
	case errors.As(err, &failure): // an attempt has said it
		return Manifest{}, failure
	case err != nil:
		return Manifest{}, r.fail("read manifest", ref, err)
	}
	return m, nil
}

// readVouched reads a manifest once more by the digest of its bytes where nothing vouches
// for these.
func (r *Repository) readVouched(ctx context.Context, ref string) (Manifest, error) {
	m, vouched, err := r.readManifest(ctx, ref)
	if err != nil || vouched {
		return m, err
	}
	_, _, err = r.readManifest(ctx, m.Digest.String())
	if errors.Is(err, ErrNotFound) {
		err = retry.AfterDamage(fmt.Errorf("%w: the registry sends bytes of the digest %s and has no such manifest", ErrMismatch, m.Digest))
	}
	return m, err
}

// readManifest asks for a manifest. It reports whether its digest is more than
// what was computed from bytes that nothing vouches for.
func (r *Repository) readManifest(ctx context.Context, ref string) (m Manifest, named bool, err error) {
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
	r.seen()
	named = isDigest(ref) || vouches(a.Header.Get("Docker-Content-Digest")) || types.MediaType(m.MediaType).IsSchema1()
	return m, named, nil
}

// judgeScanned waits for a scan: for seconds after an image was pushed a policy may
// forbid to pull it (harbor#15885). What a target's tag holds is not waited for: a policy
// that forbids that stays.
func judgeScanned(a *wire.Answer) error {
	if a.Status == http.StatusPreconditionFailed {
		return retry.Error{Err: fmt.Errorf("the registry answered %s", a), Answer: a, Reason: retry.Lagging}
	}
	return nil
}

// maxMembers is the most members and entries that a manifest may have. In Go an
// entry takes many times the two bytes that "{}," or "0," take in a manifest made
// to exhaust the program. An index of ten thousand children has fewer.
const maxMembers = 100_000

func readManifest(a *wire.Answer, ref string) (m Manifest, err error) {
	if n := bytes.Count(a.Body, []byte(",")); n > maxMembers {
		return Manifest{}, fmt.Errorf("%w: a manifest of %d members", ErrTooLarge, n)
	}
	k := kindOf(a)
	m = Manifest{Digest: digestOf(a.Body), MediaType: k.mediaType, Untyped: k.untyped, Raw: bytes.Clone(a.Body)}
	if isDigest(ref) {
		m.Digest, err = matches(a.Body, ref)
	} else {
		err = names(a, m)
	}
	switch {
	case isDigest(ref) && err == nil:
		return m, nil
	case a.IsPage():
		return Manifest{}, wire.InvalidError{Err: fmt.Errorf("%w in place of the registry: %s came for a manifest", wire.ErrPage, a.DescribePage())}
	case err == nil && !k.isManifest: // the digest of a page is right as well where it comes for every path
		return Manifest{}, retry.AfterDamage(fmt.Errorf("%w in place of the registry: what came is no manifest", wire.ErrPage))
	}
	return m, err
}

// names fails if the registry names another digest than that of the manifest's
// bytes. The digest of schema 1 leaves its signatures out (distribution, "Image
// Manifest Version 2, Schema 1"): who reads on refuses it by its type.
func names(a *wire.Answer, m Manifest) error {
	got, want := a.Header.Get("Docker-Content-Digest"), digestOf(m.Raw).String()
	if !vouches(got) || got == want || types.MediaType(m.MediaType).IsSchema1() {
		return nil
	}
	if algorithm(got) != "sha256" {
		_, err := matches(m.Raw, got)
		return err
	}
	return fmt.Errorf("%w: the registry names %s, the bytes are %s", ErrMismatch, wire.Cut(got, 80), want)
}

// mediaType is the type of the manifest that an answer brings.
func mediaType(a *wire.Answer) string { return kindOf(a).mediaType }

// kind is what can be told of a manifest without reading all of it.
type kind struct {
	mediaType  string
	untyped    bool // the type was told from the shape
	isManifest bool // it has a member that some kind of manifest must have
}

// kindOf tells the type that the manifest itself states, else the one that the
// registry sends with it, else what its shape tells (image-spec, "mediaType").
func kindOf(a *wire.Answer) kind {
	var stated struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"` // unread: a list of nothings would be large
		Schema    int             `json:"schemaVersion"`
	}
	var config, layers, blobs present
	err := json.Unmarshal(a.Body, &struct { // what cannot be read is refused by who needs it
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

// present notes that a member is there.
type present bool

// UnmarshalJSON reads nothing.
func (a *present) UnmarshalJSON([]byte) error {
	*a = true
	return nil
}

// HeadManifest is what a tag names, without its bytes: of an image that a policy forbids
// to pull its digest may be told all the same. The digest is the registry's word.
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
		return Manifest{}, r.fail("look for manifest", ref, errors.New("the registry names no digest"))
	}
	return Manifest{Digest: digest, MediaType: mediaType(a), Untyped: true}, nil
}

// HasManifest reports whether the repository holds a digest.
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
		r.seen()
		return true, nil
	case a.Status == http.StatusNotFound:
		return false, nil
	}
	if err = r.refuseRead(ctx, op, ref, a); errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return false, err
}

// PutManifest writes the manifest's bytes as they are, under a tag or its
// digest. It reports whether the registry says that it has indexed the
// manifest's subject (distribution-spec, "Pushing Manifests with Subject").
//
// A tag that cannot be changed is ErrTagImmutable, unless it holds the digest already.
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
		r.seen()
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
	// Some registries digest their own rendering of the manifest.
	c.check = func(a *wire.Answer) error { return names(a, m) }
	c.judge = func(a *wire.Answer) error { return judgeManifest(a, subjectOf(m).Hex != "") }
	r.session.cache.wroteManifest(r, ref)
	defer r.session.cache.wroteManifest(r, ref)
	return r.session.send(ctx, c)
}

// judgeManifest tells a refusal that may not stay: of bytes that were hashed here,
// so that they must have been damaged on their way; or because the registry does
// not see yet what was stored there a moment ago. Where replicas lag behind, that is
// also said as 404 (harbor#20726, #14902, #22417). Where the manifest has a subject, 404
// may as well mean that none with one is taken (hub-feedback#2307): that is not waited for
// as long.
func judgeManifest(a *wire.Answer, hasSubject bool) error {
	code, _ := a.Diagnosis()
	again := func(why retry.Reason) error {
		return retry.Error{Err: fmt.Errorf("the registry answered %s", a), Answer: a, Reason: why}
	}
	switch code {
	case "DIGEST_INVALID", "SIZE_INVALID", "MANIFEST_INVALID":
		return again(retry.Refused)
	case "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN":
		return again(retry.Lagging)
	case "NOT_FOUND", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "":
		switch {
		case a.Status == http.StatusNotFound && hasSubject:
			return again(retry.Refused)
		case a.Status == http.StatusNotFound:
			return again(retry.Lagging)
		}
	}
	return nil
}

// refusedManifest finds out what the refusal of a manifest means; nil if the
// repository holds what was to be written: an attempt whose answer was lost may have
// written it, and some refuse an immutable tag the digest that it has (ECR).
//
// How a registry says that a tag cannot be changed differs: 412 PRECONDITION
// (harbor#17332), 405 (acr-cli#70), 400 BLOB_UPLOAD_INVALID (jib#2395), 403 (Docker
// Hub), 400 TAG_INVALID (ECR). What they have in common is that the tag exists, and
// that the same manifest is taken by its digest.
func (r *Repository) refusedManifest(ctx context.Context, ref string, m Manifest, a *wire.Answer) error {
	refused := r.refusal(opWriteManifest, ref, a)
	switch a.Status {
	case http.StatusUnauthorized, http.StatusRequestEntityTooLarge:
		return refused
	}
	if a.Status >= 500 || isDigest(ref) && a.Status == http.StatusForbidden {
		return refused
	}
	held, err := r.fetchManifest(ctx, ref)
	switch {
	case err == nil && held.Digest == m.Digest:
		return nil
	case err != nil || isDigest(ref):
		return refused
	case saysImmutable(refused) || !isUnseen(refused.Code) && r.acceptsByDigest(ctx, m):
		refused.immutable = true
		refused.Hint = ""
	}
	return refused
}

// saysImmutable reports whether an answer says so by its code.
func saysImmutable(e *Error) bool {
	return e.Status >= 400 && e.Status < 500 && (e.Code == string(transport.TagInvalidErrorCode) || e.Code == "TAG_IMMUTABLE")
}

// isUnseen reports whether a manifest was refused for what it names.
func isUnseen(code string) bool { return code == "MANIFEST_BLOB_UNKNOWN" || code == "BLOB_UNKNOWN" }

// acceptsByDigest writes a manifest by its digest, which needs the same rights as a tag and
// the same content, and nothing of the tag.
func (r *Repository) acceptsByDigest(ctx context.Context, m Manifest) bool {
	a, err := r.putManifest(ctx, m.Digest.String(), m)
	return err == nil && wasWritten(a)
}

// DeleteTag removes a tag, leaving what it names. Registries may refuse it
// (ErrUnsupported), or have no way to remove a tag alone.
func (r *Repository) DeleteTag(ctx context.Context, tag string) error {
	c := r.call(http.MethodDelete, "manifests/"+tag)
	c.need.Access = Delete // a right of its own, asked for only here
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
