package credential

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// scope is what a registry name in a configuration stands for: a host, and
// maybe the first segments of a repository's path.
type scope struct{ host, path string }

// scopeOf reads a registry as people and docker login write it: with a scheme
// or without, and with the API version that old clients put behind the host.
func scopeOf(registry string) scope {
	rest, hasScheme := strings.TrimSpace(registry), false
	for _, scheme := range []string{"https://", "http://"} {
		if after, ok := strings.CutPrefix(rest, scheme); ok {
			rest, hasScheme = after, true
		}
	}
	host, path, _ := strings.Cut(rest, "/")
	host, path = hostOf(host), strings.Trim(path, "/")
	if (hasScheme || host == dockerHubHost) && (path == "v1" || path == "v2") {
		path = ""
	}
	return scope{host, path}
}

// covers says whether the repository lies within the scope. A prefix ends at a
// segment: acme covers acme/app, not acme-labs/app.
func (s scope) covers(repo name.Repository) bool {
	if s.host != hostOf(repo.RegistryStr()) {
		return false
	}
	path := repo.RepositoryStr()
	return s.path == "" || s.path == path || strings.HasPrefix(path, s.path+"/")
}

// String is the scope as a user would write it.
func (s scope) String() string {
	host := shown(s.host)
	if s.path == "" {
		return host
	}
	return host + "/" + s.path
}

const dockerHubHost = name.DefaultRegistry

// hostOf is the host's one name among its aliases.
func hostOf(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "docker.io", "registry-1.docker.io":
		return dockerHubHost
	}
	return host
}

// shown is the host's name as users know it.
func shown(host string) string {
	if hostOf(host) == dockerHubHost {
		return "docker.io"
	}
	return host
}
