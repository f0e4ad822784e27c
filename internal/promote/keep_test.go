package promote_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// kept are the names of the images that tags of the program's own keep, by slot.
func (s *works) kept() (names []string) {
	s.Helper()
	for slot := range 5 {
		names = append(names, s.named(s.holds("promotion-keep.production."+string(rune('1'+slot)))))
	}
	return names
}

// keeping promotes with a number of images to keep.
func (s *works) keeping(keep int, name string, tags ...string) document.Report {
	s.Helper()
	r := s.bring(name, tags...)
	r.Keep = keep
	d := run(s, r)
	expect(s, d, document.Promoted)
	return d
}

// TestKeep: the images that were replaced last have tags of the program's own, whose slots are used in turn; a rollback
// writes none, and goes to each of them.
func TestKeep(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.keeping(3, "a")
	if got := s.kept(); strings.Join(got, "") != "" {
		t.Errorf("with the first image %q are kept", got)
	}
	for _, name := range []string{"b", "c", "d", "e"} {
		s.keeping(3, name)
	}
	if got, want := s.kept(), []string{"d", "b", "c", "", ""}; !slices.Equal(got, want) {
		t.Errorf("%q are kept, want %q", got, want)
	}
	for _, name := range []string{"d", "c", "b"} {
		back := s.back("")
		back.Keep = 3
		expect(t, run(t, back), document.RolledBack)
		s.expectHolds("production", name)
	}
	if got, want := s.kept(), []string{"d", "b", "c", "", ""}; !slices.Equal(got, want) {
		t.Errorf("after the rollbacks %q are kept, want %q", got, want)
	}
	s.keeping(3, "f") // b, which it replaces, has a slot
	if got, want := s.kept(), []string{"d", "b", "c", "", ""}; !slices.Equal(got, want) {
		t.Errorf("at last %q are kept, want %q", got, want)
	}
}

// TestKeep_NotNeeded: nothing is kept where the config says so, where a fixed tag has the image, without an environment, and
// without a record.
func TestKeep_NotNeeded(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*promote.Request){
		"none is to be kept": func(r *promote.Request) { r.Keep = 0 },
		"no environment":     func(r *promote.Request) { r.TargetEnv = "" },
		"no record":          func(r *promote.Request) { r.Record = promote.RecordNone },
		"a fixed tag":        func(*promote.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, regtest.Options{})
			for n, image := range []string{"a", "b"} {
				tags := []string{"production"}
				if name == "a fixed tag" {
					tags = append(tags, fixed+"v"+image)
				}
				r := s.bring(image, tags...)
				r.Keep = 3
				change(&r)
				if d := run(t, r); d.Result != document.Promoted {
					t.Fatalf("promotion %d is %s: %v", n, d.Result, d.Faults)
				}
			}
			if got := s.kept(); strings.Join(got, "") != "" {
				t.Errorf("%q are kept", got)
			}
		})
	}
}

// TestKeep_Refused: an image that cannot be kept is a notice.
func TestKeep_Refused(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.keeping(3, "a")
	s.refuse(http.StatusForbidden, func(q *http.Request) bool {
		return q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-keep.")
	})
	if d := s.keeping(3, "b"); !told(d, "could not be kept for a rollback") {
		t.Errorf("notices %q", d.Notices)
	}
}
