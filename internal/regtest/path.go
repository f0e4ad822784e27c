package regtest

import (
	"net/http"
	"regexp"
	"strings"
)

// target is what the path of a request names: /v2/<repository>/<kind>/<name>.
type target struct{ repository, kind, name string }

var registryPath = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|referrers|tags)/(.*)$`)

func parsePath(path string) (target, bool) {
	m := registryPath.FindStringSubmatch(path)
	if m == nil {
		return target{}, false
	}
	return target{repository: m[1], kind: m[2], name: m[3]}, true
}

func (t target) isTag() bool { return t.kind == "manifests" && !strings.Contains(t.name, ":") }

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"errors":[{"code":"` + code + `","message":"` + message + `"}]}` + "\n"))
}
