package registry_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/google/go-containerregistry/pkg/name"
)

// A login from a file is passed to Secret, to be masked, when its repository is opened.
func TestFoundSecretsAreMasked(t *testing.T) {
	home := t.TempDir()
	config := `{"auths":{"registry.acme.example":{"username":"bob","password":"hunter2"},"other.example":{"identitytoken":"refresh-me"}}}`
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	client := registry.New(registry.Options{
		Secret:      func(s string) { told = append(told, s) },
		Credentials: &credential.Chain{Getenv: func(key string) string { return map[string]string{"DOCKER_CONFIG": home}[key] }},
	})
	for _, host := range []string{"registry.acme.example", "other.example", "third.example"} {
		repo, err := name.NewRepository(host + "/app")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Open(context.Background(), credential.Source, repo, registry.Pull); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(told, []string{"hunter2", "refresh-me"}) {
		t.Errorf("told %q", told)
	}
	if shown := fmt.Sprintf("%v %+v", client, client); shown != "(registry client) (registry client)" {
		t.Errorf("the client prints %s", shown)
	}
}
