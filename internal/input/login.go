package input

import (
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/credential"
)

func (r *reader) readCredentials(getenv func(string) string) {
	entries, faults := parseRegistryAuth(r.text("registry-auth"))
	for _, f := range faults {
		r.add("registry-auth", &f)
	}
	r.settings.Credentials = &credential.Chain{
		Source:      r.login("source"),
		Target:      r.login("target"),
		Entries:     entries,
		GitHubToken: r.text("github-token"),
		GitHubActor: strings.TrimSpace(getenv("GITHUB_ACTOR")),
		Getenv:      getenv,
	}
}

// login reads one side's user name and password, which only work together.
func (r *reader) login(side string) credential.Login {
	l := credential.Login{Username: r.text(side + "-username"), Password: r.text(side + "-password")}
	if l.Username != "" && l.Password == "" {
		r.refuse(side+"-password", "nothing, but "+side+"-username is given",
			"both or neither; a secret that does not exist, or that this event may not read (a fork's pull request), is empty", "")
	}
	if l.Username == "" && l.Password != "" {
		r.refuse(side+"-username", "nothing, but "+side+"-password is given",
			"both or neither; for a token, the user name that its registry asks for", "")
	}
	return l
}

// keepSecret notes what is to be masked: a secret as a whole, and line by line,
// because the runner masks within lines.
func (r *reader) keepSecret(in Input, value string) {
	if !in.Secret {
		return
	}
	secrets := []string{value}
	if in.Kind == YAML {
		secrets = registryAuthSecrets(value)
	}
	for _, secret := range secrets {
		r.mask(secret)
		for line := range strings.Lines(secret) {
			r.mask(strings.TrimSpace(line))
		}
	}
}

func (r *reader) mask(secret string) {
	if secret != "" && !slices.Contains(r.settings.Secrets, secret) {
		r.settings.Secrets = append(r.settings.Secrets, secret)
	}
}
