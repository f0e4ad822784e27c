package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
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
}

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
	c := r.session.hosts.cache
	m, err := ask(ctx, c, &c.manifests, r.place(ref), r.uncached, func(ctx context.Context) (Manifest, error) {
		m, err := r.fetchManifest(ctx, ref)
		if err != nil {
			return Manifest{}, err
		}
		return c.keep(r, m), nil
	})
	return m, r.fail("read manifest", ref, err)
}

func (r *Repository) fetchManifest(ctx context.Context, ref string) (Manifest, error) {
	p := patience{host: r.session.at}
	for {
		m, named, err := r.readManifest(ctx, ref)
		if err != nil || named {
			return m, err
		}
		if _, _, err = r.readManifest(ctx, m.Digest.String()); err == nil {
			return m, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return Manifest{}, err
		}
		err = damaged(fmt.Errorf("%w: the registry sends bytes of the digest %s and has no such manifest", ErrMismatch, m.Digest))
		if err = p.after(ctx, err); err != nil {
			return Manifest{}, r.fail("read manifest", ref, err)
		}
	}
}

// readManifest asks for a manifest. It reports whether its digest is more than
// what was computed from bytes that nothing vouches for.
func (r *Repository) readManifest(ctx context.Context, ref string) (m Manifest, named bool, err error) {
	c := r.call(http.MethodGet, "manifests/"+ref)
	c.header = acceptable
	c.limit = MaxManifest
	c.check = func(a *answer) (err error) {
		m, err = readManifest(a, ref)
		return err
	}
	a, err := r.session.send(ctx, c)
	if err != nil {
		return Manifest{}, false, r.fail("read manifest", ref, err)
	}
	if a.status != http.StatusOK {
		return Manifest{}, false, r.refuse("read manifest", ref, a)
	}
	named = isDigest(ref) || vouches(a.header.Get("Docker-Content-Digest")) || types.MediaType(m.MediaType).IsSchema1()
	return m, named, nil
}

// maxMembers is the most members and entries that a manifest may have. In Go an
// entry takes many times the two bytes that "{}," or "0," take in a manifest made
// to exhaust the program. An index of ten thousand children has fewer.
const maxMembers = 100_000

func readManifest(a *answer, ref string) (m Manifest, err error) {
	if a.isPage() && !bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("{")) {
		return Manifest{}, damaged(errors.New("a web page (text/html) came in place of a manifest"))
	}
	if n := bytes.Count(a.body, []byte(",")); n > maxMembers {
		return Manifest{}, fmt.Errorf("%w: a manifest of %d members", ErrTooLarge, n)
	}
	m = Manifest{Digest: digestOf(a.body), MediaType: mediaType(a), Raw: bytes.Clone(a.body)}
	if isDigest(ref) {
		m.Digest, err = matches(a.body, ref)
		return m, err
	}
	return m, a.names(m)
}

// names fails if the registry names another digest than that of the manifest's
// bytes. The digest of schema 1 leaves its signatures out (distribution, "Image
// Manifest Version 2, Schema 1"): who reads on refuses it by its type.
func (a *answer) names(m Manifest) error {
	got, want := a.header.Get("Docker-Content-Digest"), digestOf(m.Raw).String()
	if !vouches(got) || got == want || types.MediaType(m.MediaType).IsSchema1() {
		return nil
	}
	if algorithm(got) != "sha256" {
		_, err := matches(m.Raw, got)
		return err
	}
	return fmt.Errorf("%w: the registry names %s, the bytes are %s", ErrMismatch, Cut(got, 80), want)
}

// mediaType is the type that the manifest itself states, else the one the
// registry sends with it, else what its shape tells (image-spec, "mediaType").
func mediaType(a *answer) string {
	var stated struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"` // unread: a list of nothings would be large
		Schema    int             `json:"schemaVersion"`
	}
	_ = json.Unmarshal(a.body, &stated) // what cannot be read is refused by who needs it
	sent, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	sent = strings.TrimSpace(sent)
	switch {
	case stated.MediaType != "":
		return stated.MediaType
	case strings.Contains(sent, "manifest") || strings.Contains(sent, "index"):
		return sent
	case bytes.HasPrefix(stated.Manifests, []byte("[")):
		return string(types.OCIImageIndex)
	case stated.Schema == 1:
		return string(types.DockerManifestSchema1)
	default:
		return string(types.OCIManifestSchema1)
	}
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
	case a.status == http.StatusOK:
		return true, nil
	case a.status == http.StatusNotFound:
		return false, nil
	default:
		return false, r.refuse(op, ref, a)
	}
}

// PutManifest writes the manifest's bytes as they are, under a tag or its
// digest. It reports whether the registry says that it has indexed the
// manifest's subject (distribution-spec, "Pushing Manifests with Subject").
func (r *Repository) PutManifest(ctx context.Context, ref string, m Manifest) (indexed bool, err error) {
	c := r.call(http.MethodPut, "manifests/"+ref)
	c.header = http.Header{"Content-Type": {m.MediaType}}
	c.body = m.Raw
	// Some registries digest their own rendering of the manifest.
	c.check = func(a *answer) error { return a.names(m) }
	c.judge = judgeManifest
	defer r.session.listsOf(r).write(subjectOf(m))()
	r.session.hosts.cache.wroteManifest(r, ref)
	defer r.session.hosts.cache.wroteManifest(r, ref)
	a, err := r.session.send(ctx, c)
	if err != nil {
		return false, r.fail("write manifest", ref, err)
	}
	switch a.status {
	case http.StatusCreated, http.StatusOK, http.StatusAccepted:
		if indexed = a.header.Get("OCI-Subject") != ""; indexed {
			r.session.listsOf(r).learn(yes)
		}
		return indexed, nil
	}
	err = r.refuse("write manifest", ref, a)
	if errors.Is(err, ErrTagImmutable) && r.holds(ctx, ref, m.Digest) {
		return false, nil
	}
	return false, err
}

// judgeManifest tells a refusal that may not stay: of bytes that were hashed here,
// so that they must have been damaged on their way; or because the registry does
// not see yet what was stored there a moment ago.
func judgeManifest(a *answer) error {
	if a.status < 400 || a.status >= 500 {
		return nil
	}
	code, _ := diagnose(a)
	switch code {
	case "DIGEST_INVALID", "SIZE_INVALID", "MANIFEST_INVALID":
		return errAgain{error: fmt.Errorf("the registry answered %s", a), answer: a, reason: wasRefused}
	case "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN":
		return errAgain{error: fmt.Errorf("the registry answered %s", a), answer: a, reason: isLagging}
	}
	return nil
}

// holds reports whether a tag is what it was to become: a tag that cannot be
// changed is also refused when it holds the same digest (ECR), as it does after a
// write whose answer was lost.
func (r *Repository) holds(ctx context.Context, tag string, digest v1.Hash) bool {
	m, err := r.fetchManifest(ctx, tag)
	return err == nil && m.Digest == digest
}

// DeleteTag removes a tag, leaving what it names. Registries may refuse it
// (ErrUnsupported), or have no way to remove a tag alone.
func (r *Repository) DeleteTag(ctx context.Context, tag string) error {
	c := r.call(http.MethodDelete, "manifests/"+tag)
	c.need.access = Delete // a right of its own, asked for only here
	r.session.hosts.cache.wroteManifest(r, tag)
	defer r.session.hosts.cache.wroteManifest(r, tag)
	a, err := r.session.send(ctx, c)
	if err != nil {
		return r.fail("delete tag", tag, err)
	}
	if a.status != http.StatusAccepted && a.status != http.StatusOK && a.status != http.StatusNoContent &&
		a.status != http.StatusNotFound {
		return r.refuse("delete tag", tag, a)
	}
	return nil
}
