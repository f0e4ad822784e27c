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

// Uncached is the same repository for reads that must be made now, whatever the run
// has read before.
func (r *Repository) Uncached() *Repository {
	now := *r
	now.uncached = true
	return &now
}

// Name is the full name, registry/path.
func (r *Repository) Name() string { return r.name.Name() }

// Format prints the name alone: the repository holds a credential.
func (r *Repository) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, r.Name()) }

// Credential says in words which credential is used, never its value.
func (r *Repository) Credential() string { return r.credential.String() }

// CredentialNotice says why a place where a credential was expected had none;
// empty if there is nothing to say.
func (r *Repository) CredentialNotice() string { return r.credential.Notice }

// Side is the side that the repository was opened for.
func (r *Repository) Side() credential.Side { return r.side }

// Same reports whether both are one repository.
func (r *Repository) Same(o *Repository) bool { return r.name.Name() == o.name.Name() }

// CanMountFrom reports whether blobs of o may be mounted into r: another
// repository of the same registry, seen with the same credential, unless the
// registry has refused it. Naming a repository that the token does not cover
// costs a refused token and a POST for each blob, so it is never tried.
func (r *Repository) CanMountFrom(o *Repository) bool {
	return r.session == o.session && !r.Same(o) &&
		r.session.mayMount(auth.Need{Repository: r.name.RepositoryStr(), From: o.name.RepositoryStr()})
}

// SupportsSelfMount reports whether a mount from the repository itself answers in one
// request whether a blob is there, and else starts its upload: only where the host
// has shown that it takes mounts. Some never do, and answer as if nothing were
// there.
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

// call is a request to the session's host about the repository.
func (r *Repository) call(method, parts string) call {
	return call{method: method, path: r.path(parts), need: r.need(), limit: wire.MaxErrorBody}
}
