package input

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/github"
	"github.com/artifact-promotion/promote/internal/github/githubtest"
)

const smallConfig = "environments:\n  dev:\n    repository: ghcr.io/acme/app\n    tags: [dev]\n  staging:\n    from: dev\n    repository: ghcr.io/acme/app\n    tags: [staging]\n"

// The file itself, from the checkout to the request.
func TestConfigInTheCheckout(t *testing.T) {
	workspace := t.TempDir()
	t.Chdir(t.TempDir())
	write(t, filepath.Join(workspace, config.Default), smallConfig)
	write(t, filepath.Join(workspace, "large.yml"), strings.Repeat("#", maxConfig+1))
	write(t, filepath.Join(workspace, "bad.yml"), "environments: {dev: {}}\n")
	if err := os.Symlink("large.yml", filepath.Join(workspace, "link.yml")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(workspace, "pipe.yml"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(config string) env {
		return env{"target-env": "staging", "config": config, "GITHUB_WORKSPACE": workspace}
	}

	for _, path := range []string{"", config.Default, filepath.Join(workspace, config.Default)} {
		settings, err := ask(nil, in(path))
		if err != nil {
			t.Fatal(err)
		}
		want := "ghcr.io/acme/app:dev => ghcr.io/acme/app[staging] from dev ghcr.io/acme/app:dev"
		if got := detail(settings.Request.Items); got != want || settings.Request.Config.Digest != document.DigestOf([]byte(smallConfig)) {
			t.Errorf("items are %s, config %+v", got, settings.Request.Config)
		}
	}
	var broken *config.Error
	if _, err := ask(nil, in("bad.yml")); !errors.As(err, &broken) || broken.Path != "bad.yml" {
		t.Errorf("error is %v, want the config's own", err)
	}
	for path, want := range map[string]string{
		"large.yml": "it has more than 1048576 bytes", "link.yml": "a symbolic link", "pipe.yml": "a device, a pipe or a socket", ".github": "a directory",
	} {
		_, err := ask(nil, in(path))
		fault := expectOneFault(t, err)
		expectText(t, fault.Message(), "config: given", want, workspace)
	}
	_, err := ask(nil, in("missing.yml"))
	expectText(t, expectOneFault(t, err).Given, "no missing.yml in "+workspace)

	// The working directory, where the runner names no workspace.
	t.Chdir(workspace)
	if _, err := ask(nil, env{"target-env": "staging"}); err != nil {
		t.Error(err)
	}
	// A tag that an environment owns, although no input speaks of environments.
	_, err = ask(nil, env{"source": "ghcr.io/acme/app:1", "target": "staging"})
	expectText(t, expectOneFault(t, err).Message(), `environment "staging" owns`)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestJob(t *testing.T) {
	variables := env{
		"GITHUB_REPOSITORY": "acme/app", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_JOB": "promote", "GITHUB_WORKFLOW_REF": "acme/app/.github/workflows/x.yml@refs/heads/main",
		"GITHUB_SHA": "abc", "GITHUB_ACTOR": "ann", "GITHUB_TRIGGERING_ACTOR": "bob", "GITHUB_SERVER_URL": "https://github.example/", "GITHUB_API_URL": "https://github.example/api", "github-token": "ghs_x",
	}
	settings, err := Read(nil, good(variables).variables(), now)
	if err != nil {
		t.Fatal(err)
	}
	want := document.Job{
		Repository: "acme/app", RunID: "7", Attempt: "2", Name: "promote", Workflow: "acme/app/.github/workflows/x.yml@refs/heads/main",
		Commit: "abc", Actor: "ann", TriggeringActor: "bob", URL: "https://github.example/acme/app/actions/runs/7",
	}
	if settings.Request.Job != want {
		t.Errorf("job is %+v", settings.Request.Job)
	}
	if settings.GitHub != (github.Options{URL: "https://github.example/api", Token: "ghs_x"}) {
		t.Error("GitHub is not that of the variables")
	}
	settings, _ = Read(nil, good(env{"GITHUB_ACTOR": "ann", "GITHUB_SERVER_URL": "https://github.example"}).variables(), now)
	if settings.Request.Job != (document.Job{Actor: "ann", TriggeringActor: "ann"}) {
		t.Errorf("job is %+v", settings.Request.Job)
	}
}

func TestFilesThatAreMissing(t *testing.T) {
	settings, err := Read(nil, good(env{"GITHUB_WORKSPACE": t.TempDir()}).variables(), now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := settings.Files(nil)(context.Background(), "x.yml", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestConfigAtARef(t *testing.T) {
	server := githubtest.New("ghs_x")
	defer server.Close()
	server.SetFile("acme/app", "main", "ci/x.yml", []byte(smallConfig))
	server.Protect("acme/app", "main")
	server.SetFile("acme/app", "feature", "ci/x.yml", []byte(smallConfig))
	t.Chdir(t.TempDir()) // nothing is read there
	at := func(place, repository string) (*Settings, []string, error) {
		settings, err := Read(nil, env{"target-env": "staging", "config": place, "GITHUB_REPOSITORY": repository, "GITHUB_API_URL": server.URL(), "github-token": "ghs_x"}.variables(), now)
		if err != nil {
			t.Fatal(err)
		}
		client, err := github.New(settings.GitHub)
		if err != nil {
			t.Fatal(err)
		}
		notices, err := settings.Configure(context.Background(), settings.Files(client))
		return settings, notices, err
	}
	settings, notices, err := at("ci/x.yml@main", "acme/app")
	if err != nil || len(notices) > 0 || settings.Request.Config.Ref != "main" || len(settings.Request.Items) != 1 {
		t.Errorf("config is %+v, notices %q, error %v", settings.Request.Config, notices, err)
	}
	_, notices, err = at("ci/x.yml@feature", "acme/app")
	if want := "the config was read at feature, which is no protected branch: who can push there can change the gates"; err != nil || len(notices) != 1 || notices[0] != want {
		t.Errorf("notices are %q, error %v", notices, err)
	}
	for place, repository := range map[string]string{"ci/y.yml@main": "acme/app", "ci/x.yml@maim": "acme/app", "ci/x.yml@main ": "acme/other"} {
		_, _, err := at(place, repository)
		fault := expectOneFault(t, err)
		expectText(t, fault.Message(), "config: given", "404", "contents: read")
	}
	_, _, err = at("ci/x.yml@main", "")
	expectText(t, expectOneFault(t, err).Given, "GITHUB_REPOSITORY is not set")
	server.Close()
	if len(server.Requests()) == 0 {
		t.Error("GitHub was not asked")
	}
}
