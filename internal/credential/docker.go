package credential

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// dockerFile is the part of docker's config.json that is about logins.
// See https://docs.docker.com/reference/cli/docker/login/#credential-stores.
type dockerFile struct {
	path        string
	Auths       map[string]dockerAuth `json:"auths"`
	CredsStore  string                `json:"credsStore"`
	CredHelpers map[string]string     `json:"credHelpers"`
}

type dockerAuth struct {
	Auth          string `json:"auth"` // base64 of username:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// maxDockerFile bounds what is read: a config of hundreds of logins is a few
// dozen KiB.
const maxDockerFile = 1 << 20

func (c *Chain) docker(ctx context.Context, _ Side, repo name.Repository) (Credential, error) {
	path, named := c.dockerPath()
	if path == "" {
		return Credential{}, nil
	}
	c.config.once.Do(func() { c.config.file, c.config.err = readDockerFile(path) })
	switch {
	case errors.Is(c.config.err, fs.ErrNotExist) && named:
		return Credential{Notice: "DOCKER_CONFIG names a directory without a config.json: " + path +
			" does not exist; a container action sees only what lies below ${{ runner.temp }} and the workspace"}, nil
	case errors.Is(c.config.err, fs.ErrNotExist):
		return Credential{}, nil
	case c.config.err != nil:
		return Credential{}, c.config.err
	}
	return c.fromDocker(ctx, c.config.file, repo)
}

// dockerPath is the config's path, and whether DOCKER_CONFIG names it. As in
// docker, $HOME is not looked at where DOCKER_CONFIG is set.
func (c *Chain) dockerPath() (string, bool) {
	if dir := c.env("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json"), true
	}
	if home := c.env("HOME"); home != "" {
		return filepath.Join(home, ".docker", "config.json"), false
	}
	return "", false
}

func readDockerFile(path string) (*dockerFile, error) {
	data, err := readBounded(path, maxDockerFile)
	if err != nil {
		return nil, fmt.Errorf("read docker config: %w", err)
	}
	file := &dockerFile{path: path}
	if len(bytes.TrimSpace(data)) == 0 {
		return file, nil // docker takes an empty file for an empty config
	}
	if err := json.Unmarshal(data, file); err != nil {
		// The decoder's own words may quote the file.
		return nil, fmt.Errorf("read docker config: %s is not the JSON that docker login writes: repair or remove it", path)
	}
	return file, nil
}

// readBounded reads a small file. Its error names the path.
func readBounded(path string, limit int64) (data []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err = io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, err
}

// fromDocker asks the host's credential helper first, then the file's own
// auths. docker would ignore these where a helper is configured; a login there
// that another tool wrote is still better than none.
func (c *Chain) fromDocker(ctx context.Context, file *dockerFile, repo name.Repository) (Credential, error) {
	server := serverOf(repo.RegistryStr())
	asked, err := c.fromHelper(ctx, file, server)
	if err != nil || asked.Origin != "" {
		return asked, err
	}
	auth, err := file.auth(repo, server)
	if err != nil || auth == (authn.AuthConfig{}) {
		return asked, err
	}
	return Credential{Auth: auth, Origin: "docker config " + file.path, Notice: asked.Notice}, nil
}

// serverOf is the name under which docker keeps a host's login. Docker Hub's is
// historical: https://github.com/moby/moby/blob/master/registry/config.go (IndexServer).
func serverOf(host string) string {
	if hostOf(host) == dockerHubHost {
		return authn.DefaultAuthKey
	}
	return hostOf(host)
}

// helper is the name of the credential helper for a host, or empty. An entry in
// credHelpers beats credsStore, an empty one too.
func (f *dockerFile) helper(server string) string {
	for _, key := range sortedKeys(f.CredHelpers, server) {
		if scopeOf(key) == scopeOf(server) {
			return f.CredHelpers[key]
		}
	}
	return f.CredsStore
}

// auth is the login of the longest key that covers the repository. Docker's
// keys are hosts; Podman's may go on with a path.
func (f *dockerFile) auth(repo name.Repository, server string) (authn.AuthConfig, error) {
	var found authn.AuthConfig
	length := -1
	for _, key := range sortedKeys(f.Auths, server) {
		s := scopeOf(key)
		if len(s.path) <= length || !s.covers(repo) {
			continue
		}
		auth, err := f.Auths[key].decode()
		if err != nil {
			return authn.AuthConfig{}, fmt.Errorf("read docker config %s: the login of %s: %w", f.path, s, err)
		}
		// docker leaves an empty login behind where a helper keeps the real one.
		if auth != (authn.AuthConfig{}) {
			found, length = auth, len(s.path)
		}
	}
	return found, nil
}

// sortedKeys puts the key that docker itself would use first, so that among
// several spellings of one host the choice is docker's, and always the same.
func sortedKeys[V any](m map[string]V, first string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		switch first {
		case a:
			return -1
		case b:
			return 1
		}
		return strings.Compare(a, b)
	})
	return keys
}

var errNotBasic = errors.New("auth is not the base64 of username:password: log in again")

func (a dockerAuth) decode() (authn.AuthConfig, error) {
	config := authn.AuthConfig{
		Username:      a.Username,
		Password:      a.Password,
		IdentityToken: a.IdentityToken,
		RegistryToken: a.RegistryToken,
	}
	if a.Auth != "" {
		// Some tools write it without padding.
		text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(a.Auth), "="))
		if err != nil {
			return authn.AuthConfig{}, errNotBasic
		}
		user, password, ok := strings.Cut(string(text), ":")
		if !ok {
			return authn.AuthConfig{}, errNotBasic
		}
		config.Username, config.Password = user, strings.TrimRight(password, "\x00")
	}
	if config.Password == "" && config.IdentityToken == "" && config.RegistryToken == "" {
		return authn.AuthConfig{}, nil
	}
	return config, nil
}
