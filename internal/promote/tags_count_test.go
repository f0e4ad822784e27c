package promote_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestTagsOfOurs_AreFew: a promotion leaves no tag of its own. After many of three environments in one repository there are
// the heads, the kept images, and a segment for every 64 entries; every promotion is in the history, and an audit finds nothing.
func TestTagsOfOurs_AreFew(t *testing.T) {
	long(t)
	t.Parallel()
	const rounds = 90
	environments := []string{"dev", "staging", "production"}
	promotions := map[string]int{"dev": rounds, "staging": 10, "production": rounds}
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		registry := regtest.Serve(t, regtest.Options{Memory: m})
		images := []*regtest.Image{plain("a"), plain("b"), plain("c"), plain("d"), plain("e")}
		for n, i := range images {
			push(t, i, registry, "acme/app", fmt.Sprint("build-", n))
		}
		repo := registry.Host() + "/acme/app"
		for n := range rounds {
			time.Sleep(time.Minute)
			for _, env := range environments {
				if n >= promotions[env] {
					continue
				}
				r := request(t, fmt.Sprint(repo, ":build-", n%len(images)), repo+":"+env)
				r.TargetEnv, r.Keep, r.Started = env, 3, time.Now().UTC()
				expect(t, runWith(t, t.Context(), at(registry), r, &watcher{}), document.Promoted)
			}
		}
		var want []string
		for _, env := range environments {
			for slot := 1; slot <= 3; slot++ {
				want = append(want, fmt.Sprintf("promotion-keep.%s.%d", env, slot))
			}
			want = append(want, "promotion-ledger.env."+env+".a", "promotion-ledger.env."+env+".b")
			if promotions[env] > 80 {
				want = append(want, "promotion-ledger.env."+env+".1")
			}
		}
		slices.Sort(want)
		got := ourTags(t, registry, "acme/app")
		if slices.Sort(got); !slices.Equal(got, want) || len(got) > 30 {
			t.Errorf("%d tags: %q, want %q", len(got), got, want)
		}
		tags, err := regtest.Tags(t.Context(), registry.Access("", ""), "acme/app")
		if err != nil || len(tags) != len(got)+len(images)+len(environments) {
			t.Errorf("tags %q, %v", tags, err)
		}
		repository, _ := split(t, repo)
		for _, env := range environments { // one by one: who waits for another one's list of tags stops this clock
			stage := promote.Stage{Environment: env, From: "dev", Repository: repository, Ledger: env, Tags: []string{env}, Asked: true}
			d := runWith(t, t.Context(), at(registry), promote.Request{Mode: promote.History, Stages: []promote.Stage{stage}}, &watcher{})
			if expect(t, d, document.Listed); len(d.Histories) != 1 || len(d.Histories[0].Lines) != promotions[env] {
				t.Errorf("%s: the history is %+v", env, d.Histories)
			}
			d = runWith(t, t.Context(), at(registry), promote.Request{Mode: promote.Audit, Stages: []promote.Stage{stage}}, &watcher{})
			if expect(t, d, document.Clean); len(d.Findings) > 0 {
				t.Errorf("%s: found %+v", env, d.Findings)
			}
		}
	})
}

// TestKeep_OverwrittenImagesAreDropped: where an image goes as soon as no tag names it, the kept ones are there to go back to.
func TestKeep_OverwrittenImagesAreDropped(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		names := []string{"a", "b", "c", "d", "e"}
		drop := func() {
			tags, err := regtest.Tags(t.Context(), s.target.Access("", ""), s.repo)
			if err != nil {
				t.Fatal(err)
			}
			held := map[string]bool{}
			for _, tag := range tags {
				held[s.holds(tag)] = true
			}
			for _, name := range names {
				if root := s.image(name).Root; !held[root] && s.holds(root) != "" {
					s.delete(root)
				}
			}
		}
		for _, name := range names {
			s.keeping(3, name)
			drop()
		}
		if s.holds(s.image("a").Root) != "" {
			t.Error("an image is there that nothing keeps")
		}
		for _, name := range []string{"d", "c", "b"} {
			back := s.back("")
			back.Keep = 3
			expect(t, run(t, back), document.RolledBack)
			s.expectHolds("production", name)
			drop()
		}
		d := run(t, s.back(""))
		if d.Result != document.Failed || !strings.Contains(d.Faults[0].Message, s.image("a").Root) {
			t.Errorf("back to what is gone: %s, %+v", d.Result, d.Faults)
		}
		s.expectHolds("production", "b")
	})
}
