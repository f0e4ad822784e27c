package credential

import "testing"

func TestScope(t *testing.T) {
	for _, test := range []struct {
		registry string
		shown    string
		covers   []string
		not      []string
	}{
		{"ghcr.io", "ghcr.io", []string{"ghcr.io/acme/app"}, []string{"acme/app", "ghcr.io:5000/acme/app", "xghcr.io/acme/app"}},
		{"GHCR.io", "ghcr.io", []string{"ghcr.io/acme/app"}, nil},
		{" https://ghcr.io/ ", "ghcr.io", []string{"ghcr.io/acme/app"}, nil},
		{"http://localhost:5000", "localhost:5000", []string{"localhost:5000/app"}, []string{"localhost/app", "localhost:5001/app"}},
		{"ghcr.io/acme", "ghcr.io/acme", []string{"ghcr.io/acme/app", "ghcr.io/acme/team/app", "ghcr.io/acme"}, []string{"ghcr.io/acme-labs/app", "ghcr.io/other/acme"}},
		{"ghcr.io/acme/app/", "ghcr.io/acme/app", []string{"ghcr.io/acme/app", "ghcr.io/acme/app/sub"}, []string{"ghcr.io/acme/application", "ghcr.io/acme"}},
		{"https://quay.io/v2/", "quay.io", []string{"quay.io/acme/app"}, nil},
		{"quay.io/v2", "quay.io/v2", []string{"quay.io/v2/app"}, []string{"quay.io/acme/app"}},
		{"docker.io", "docker.io", []string{"app", "acme/app", "docker.io/acme/app", "index.docker.io/acme/app", "registry-1.docker.io/acme/app"}, []string{"ghcr.io/acme/app"}},
		{"index.docker.io", "docker.io", []string{"acme/app"}, nil},
		{"index.docker.io/v1/", "docker.io", []string{"acme/app"}, nil},
		{"registry-1.docker.io", "docker.io", []string{"acme/app"}, nil},
		{"https://index.docker.io/v1/", "docker.io", []string{"acme/app"}, nil},
		{"docker.io/acme", "docker.io/acme", []string{"acme/app"}, []string{"acme2/app"}},
		{"", "", nil, []string{"ghcr.io/acme/app", "acme/app"}},
	} {
		t.Run(test.registry, func(t *testing.T) {
			s := scopeOf(test.registry)
			if s.String() != test.shown {
				t.Errorf("shown as %q, want %q", s, test.shown)
			}
			for _, repo := range test.covers {
				if !s.covers(repository(t, repo)) {
					t.Errorf("does not cover %s", repo)
				}
			}
			for _, repo := range test.not {
				if s.covers(repository(t, repo)) {
					t.Errorf("covers %s", repo)
				}
			}
		})
	}
}
