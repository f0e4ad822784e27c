package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/regtest"
)

const (
	repository = "acme/app"
	revision   = "8f3c2d1e5b7a9046c1d2e3f4a5b6c7d8e9f00112"
)

// stage is what the story happens on.
type stage struct {
	build, production *regtest.Registry
	image             *regtest.Image
}

// Accounts of the two registries. They exist on loopback for the demo's seconds.
var (
	builder  = account{"build", "build-password-of-the-demo"}
	releaser = account{"release", "release-password-of-the-demo"}
)

type account struct{ user, password string }

func (a account) auth() *regtest.Auth {
	return &regtest.Auth{Users: map[string]regtest.User{a.user: {
		Password: a.password,
		Grants:   []regtest.Grant{{Repository: "*", Actions: []string{"pull", "push", "delete"}}},
	}}}
}

func (a account) access(r *regtest.Registry) regtest.Access {
	return regtest.Access{Host: r.Host(), User: a.user, Password: a.password}
}

// newStage starts the registries and pushes the image as a build would.
func newStage(ctx context.Context) (*stage, error) {
	s := &stage{image: newImage("2.4.0")}
	var err error
	if s.build, err = regtest.Start(regtest.Options{Auth: builder.auth()}); err != nil {
		return nil, fmt.Errorf("start the first registry: %w", err)
	}
	if s.production, err = regtest.Start(regtest.Options{Referrers: true, Auth: releaser.auth()}); err != nil {
		s.close()
		return nil, fmt.Errorf("start the second registry: %w", err)
	}
	if err := s.fill(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// fill pushes the image that the build has left, and the release before it,
// which staging and production hold.
func (s *stage) fill(ctx context.Context) error {
	before := newImage("2.3.0")
	for _, push := range []struct {
		image *regtest.Image
		to    regtest.Access
		repo  string
		tag   string
	}{
		{before, builder.access(s.build), repository, "staging"},
		{before, releaser.access(s.production), "prod/app", "production"},
		{s.image, builder.access(s.build), repository, "dev"},
	} {
		if err := push.image.Push(ctx, push.to, push.repo, push.tag); err != nil {
			return fmt.Errorf("push an image: %w", err)
		}
	}
	return nil
}

// newImage is an image as docker/build-push-action and cosign leave it.
func newImage(version string) *regtest.Image {
	image := regtest.Build(regtest.Spec{
		Seed:      version,
		Platforms: []string{"linux/amd64", "linux/arm64"},
		Layers:    4, LayerSize: 3 << 20,
		Provenance: true, SBOM: true,
		Labels: map[string]string{
			"org.opencontainers.image.revision": revision,
			"org.opencontainers.image.version":  version,
		},
	})
	image.Sign(image.Root, ".sig", "release")
	image.Attach(image.Root, "application/vnd.dev.sigstore.bundle.v0.3+json", "attestation")
	image.Attach(image.Root, "application/spdx+json", "sbom")
	return image
}

func (s *stage) close() {
	for _, r := range []*regtest.Registry{s.build, s.production} {
		if r != nil {
			_ = r.Close()
		}
	}
}

func (s *stage) app() string    { return s.build.Host() + "/" + repository }
func (s *stage) prod() string   { return s.production.Host() + "/prod/app" }
func (s *stage) digest() string { return s.image.Root }

// toStaging, toProduction and tested are the steps' inputs, as under "with:".
func (s *stage) toStaging() inputs {
	return inputs{
		{"source", s.app() + ":dev"},
		{"digest", s.digest()},
		{"target", "staging"},
		{"registry-auth", fmt.Sprintf("- registry: %s\n  username: %s\n  password: %s", s.build.Host(), builder.user, builder.password)},
	}
}

func (s *stage) toProduction() inputs {
	return inputs{
		{"source", s.app() + ":staging"},
		{"digest", s.digest()},
		{"target", s.prod() + ":production"},
		{"fixed-tags", "v{{version}}-{{revision}}"},
		{"reason", "CHG-1042"},
		{"source-username", builder.user},
		{"source-password", builder.password},
		{"target-username", releaser.user},
		{"target-password", releaser.password},
	}
}

func (s *stage) tested() inputs {
	return inputs{
		{"source", s.app() + ":dev"},
		{"digest", s.digest()},
		{"target", "staging"},
		{"source-username", builder.user},
		{"source-password", builder.password},
		{"target-username", builder.user},
		{"target-password", builder.password},
	}
}

// badRelease, rollback and ask are the inputs of the story's second part.
func (s *stage) badRelease() inputs {
	return inputs{
		{"source", s.app() + ":dev"},
		{"target", s.prod() + ":production"},
		{"reason", "CHG-1043"},
		{"source-username", builder.user},
		{"source-password", builder.password},
		{"target-username", releaser.user},
		{"target-password", releaser.password},
	}
}

func (s *stage) rollback() inputs {
	return append(s.ask("rollback"), input{"reason", "INC-1234, checkout fails"})
}

func (s *stage) ask(mode string) inputs {
	return inputs{
		{"mode", mode},
		{"target", s.prod() + ":production"},
		{"target-username", releaser.user},
		{"target-password", releaser.password},
	}
}

// drift pushes another image to dev.
func (s *stage) drift(ctx context.Context) error {
	if err := newImage("2.4.1-rc1").Push(ctx, builder.access(s.build), repository, "dev"); err != nil {
		return fmt.Errorf("push another image: %w", err)
	}
	return nil
}

// check reads both registries with code that shares nothing with the engine.
func (s *stage) check(ctx context.Context) error {
	source, err := regtest.Read(ctx, builder.access(s.build), repository, "staging")
	if err != nil {
		return fmt.Errorf("read the image at the source: %w", err)
	}
	target, err := regtest.Read(ctx, releaser.access(s.production), "prod/app", "production")
	if err != nil {
		return fmt.Errorf("read the image at the target: %w", err)
	}
	if missing := regtest.Diff(source, target); len(missing) > 0 {
		return errors.New("production lacks:\n" + strings.Join(missing, "\n"))
	}
	return nil
}
