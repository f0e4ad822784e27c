package referrer_test

import (
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestForget: what this run has listed in a repository that had no tag is added to all the same, whether its list was
// forgotten or not.
func TestForget(t *testing.T) {
	for name, keep := range map[string]bool{"forgotten": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			r := regtest.Serve(t, regtest.Options{})
			image := regtest.Build(regtest.Spec{})
			if err := image.Push(t.Context(), r.Access("", ""), repo); err != nil {
				t.Fatal(err)
			}
			s := parse(t, image.Root)
			f := finder(t, r)
			if !f.Empty(t.Context()) {
				t.Fatal("a repository without tags does not pass for empty")
			}
			var all []v1.Descriptor
			for _, seed := range []string{"one", "two"} {
				other := regtest.Build(regtest.Spec{Seed: seed})
				if err := other.Push(t.Context(), r.Access("", ""), repo); err != nil {
					t.Fatal(err)
				}
				m := other.Manifest(other.Root)
				all = append(all, describe(t, m.MediaType, m.Bytes))
				if wrote, err := f.Attach(t.Context(), s, all[len(all)-1:]); err != nil || !wrote {
					t.Fatal(wrote, err)
				}
				if keep {
					f.Forget(s)
				} else {
					f.Forget()
				}
			}
			if missing, err := finder(t, r).Missing(t.Context(), s, all); err != nil || len(missing) > 0 {
				t.Errorf("missing %v, error %v", missing, err)
			}
		})
	}
}
