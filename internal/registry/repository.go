package registry

import (
	"fmt"
	"io"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/name"
)

// Repository is one repository as one side of a promotion sees it.
type Repository struct {
	name       name.Repository
	side       credential.Side
	session    *session
	credential credential.Credential
	uncached   bool

	mayBeMissing bool // see AllowMissing
}

// Uncached is the same repository with reads that ignore the cache.
func (r *Repository) Uncached() *Repository {
	uncached := *r
	uncached.uncached = true
	return &uncached
}

// Name is the full name, registry/path.
func (r *Repository) Name() string { return r.name.Name() }

// Format prints the name alone, because the repository contains a credential.
func (r *Repository) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, r.Name()) }

// Credential says in words which credential is used, never its value.
func (r *Repository) Credential() string { return r.credential.String() }

// CredentialNotice says why an expected credential was not found; empty if none was
// expected.
func (r *Repository) CredentialNotice() string { return r.credential.Notice }

// Side is the side that the repository was opened for.
func (r *Repository) Side() credential.Side { return r.side }

// Same reports whether both are one repository.
func (r *Repository) Same(o *Repository) bool { return r.name.Name() == o.name.Name() }

// CanMountFrom reports whether blobs of o may be mounted into r: o is another repository
// of the same registry, opened with the same credential, and the registry has not refused a
// mount from it. A mount from a repository that the token does not cover would cost a
// refused token and a POST for each blob, so it is never tried.
func (r *Repository) CanMountFrom(o *Repository) bool {
	return r.session == o.session && !r.Same(o) &&
		r.session.mayMount(auth.Need{Repository: r.name.RepositoryStr(), From: o.name.RepositoryStr()})
}

// SupportsSelfMount reports whether one request, a mount from the repository itself, finds
// out whether a blob exists and otherwise starts its upload. It is true only after the host
// has mounted a blob: hosts without mounts answer as if no blob existed.
func (r *Repository) SupportsSelfMount() bool { return r.session.supports.supportsMount() }

// Reference is the full reference of a tag or digest in the repository.
func (r *Repository) Reference(tagOrDigest string) string {
	if isDigest(tagOrDigest) {
		return r.Name() + "@" + tagOrDigest
	}
	return r.Name() + ":" + tagOrDigest
}

// path is the URL path /v2/<name>/<parts…> on the session's host.
func (r *Repository) path(parts string) string { return "/v2/" + r.name.RepositoryStr() + "/" + parts }

func (r *Repository) need() auth.Need { return auth.Need{Repository: r.name.RepositoryStr()} }

// call is a small request about the repository.
func (r *Repository) call(method, parts string) call {
	return call{method: method, path: r.path(parts), need: r.need(), limit: wire.MaxErrorBody}
}
