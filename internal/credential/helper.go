package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// helperPrefix begins the name of every credential helper program.
// See https://github.com/docker/docker-credential-helpers#development.
const helperPrefix = "docker-credential-"

// notFound is what a helper prints when it has no login for the server.
const notFound = "credentials not found in native keychain"

// maxHelperOutput bounds what is read of a helper: its answer is a small JSON
// object.
const maxHelperOutput = 64 << 10

// fromHelper asks the credential helper that docker's config names for the
// server, if it names one. Whatever is wrong with the helper is a notice: the
// places that follow may have a login.
func (c *Chain) fromHelper(ctx context.Context, file *dockerFile, server string) (Credential, error) {
	helper := file.helper(server)
	if helper == "" {
		return Credential{}, nil
	}
	program, err := findHelper(helper)
	if err != nil {
		return Credential{Notice: fmt.Sprintf("docker config %s keeps logins with the credential helper %q: %v", file.path, helper, err)}, nil
	}
	auth, err := c.logins.once(ctx, "helper "+server, func(ctx context.Context) (authn.AuthConfig, error) {
		return askHelper(ctx, program, server)
	})
	switch {
	case ctx.Err() != nil:
		return Credential{}, context.Cause(ctx)
	case err != nil:
		return Credential{Notice: fmt.Sprintf("docker config %s: %s%s has no answer for %s: %v", file.path, helperPrefix, helper, server, err)}, nil
	case auth == authn.AuthConfig{}:
		return Credential{}, nil
	}
	return Credential{Auth: auth, Origin: fmt.Sprintf("docker config %s (credential helper %s%s)", file.path, helperPrefix, helper)}, nil
}

func findHelper(helper string) (string, error) {
	if strings.ContainsAny(helper, `/\`) {
		return "", errors.New("that is a path; expected a name, such as pass")
	}
	program, err := exec.LookPath(helperPrefix + helper)
	if err != nil {
		return "", fmt.Errorf("the program %s%s is not here; log in with a DOCKER_CONFIG directory of its own, whose config has no credsStore or credHelpers, or use the inputs", helperPrefix, helper)
	}
	return program, nil
}

// askHelper runs the helper's get: the server's name on its input, JSON on its
// output. Nothing that it prints gets into an error: it may hold the secret.
func askHelper(ctx context.Context, program, server string) (authn.AuthConfig, error) {
	var out output
	command := exec.CommandContext(ctx, program, "get")
	command.Stdin = strings.NewReader(server)
	command.Stdout = &out
	// A grandchild may hold the pipe open after the helper was killed.
	command.WaitDelay = time.Second
	err := command.Run()
	switch {
	case out.full:
		return authn.AuthConfig{}, errors.New("it prints too much")
	case strings.TrimSpace(out.buffer.String()) == notFound:
		return authn.AuthConfig{}, nil
	case ctx.Err() != nil:
		return authn.AuthConfig{}, context.Cause(ctx)
	case err != nil:
		return authn.AuthConfig{}, err
	}
	return parseHelper(out.buffer.Bytes())
}

// parseHelper reads a helper's answer. The user name <token> marks an identity
// token: https://docs.docker.com/reference/cli/docker/login/#credential-helper-protocol.
func parseHelper(text []byte) (authn.AuthConfig, error) {
	var login struct{ Username, Secret string }
	if err := json.Unmarshal(text, &login); err != nil {
		return authn.AuthConfig{}, errors.New("its answer is not the JSON of the helper protocol")
	}
	switch {
	case login.Secret == "":
		return authn.AuthConfig{}, nil
	case login.Username == "<token>":
		return authn.AuthConfig{IdentityToken: login.Secret}, nil
	}
	return authn.AuthConfig{Username: login.Username, Password: login.Secret}, nil
}

// output is a buffer that refuses to grow past maxHelperOutput. The buffer is
// not embedded: io.Copy would find its ReadFrom and pass by Write.
type output struct {
	buffer bytes.Buffer
	full   bool
}

func (o *output) Write(p []byte) (int, error) {
	if o.buffer.Len()+len(p) > maxHelperOutput {
		o.full = true
		return 0, io.ErrShortWrite
	}
	return o.buffer.Write(p)
}
