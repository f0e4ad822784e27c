package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const path = "prod/app"

func open(t *testing.T, o regtest.Options) (*regtest.Registry, *registry.Repository) {
	t.Helper()
	at, err := regtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.Close() })
	n, err := name.NewRepository(at.Host() + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := registry.New(registry.Options{}).Open(t.Context(), credential.Target, n, registry.Push)
	if err != nil {
		t.Fatal(err)
	}
	return at, repo
}

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// sample is a journal with every member.
func sample() Journal {
	return Journal{
		Release: digest(1), Head: Place{"ghcr.io/prod/app", "production"},
		Begun: time.Date(2026, 11, 22, 14, 30, 0, 1, time.UTC), Written: time.Date(2026, 11, 22, 14, 31, 0, 0, time.UTC),
		Run: "https://github.com/acme/app/actions/runs/1", RunID: "1",
		Moves: []Move{
			{Tag: "v1", Fixed: true, After: digest(2)},
			{Tag: "production", Before: digest(3), After: digest(2)},
		},
		Places: []Place{{"ghcr.io/prod/app", "production"}, {"ghcr.io/prod/worker", "production"}},
	}
}

// TestRoundTrip: what is written is read, whatever was there before; and what it keeps is named in it.
func TestRoundTrip(t *testing.T) {
	at, repo := open(t, regtest.Options{})
	image := regtest.Build(regtest.Spec{})
	if err := image.Push(t.Context(), at.Access("", ""), path); err != nil {
		t.Fatal(err)
	}
	kept := registry.NewManifest(image.Manifest(image.Root).MediaType, image.Manifest(image.Root).Bytes)
	if j, err := ReadJournal(t.Context(), repo, "production"); j != nil || err != nil {
		t.Fatalf("a journal %+v, error %v, before one was written", j, err)
	}
	done := Journal{Release: digest(4), Head: Place{"ghcr.io/prod/app", "production"}, Done: true}
	for _, want := range []Journal{sample(), done} {
		if err := WriteJournal(t.Context(), repo, "production", want, kept, kept); err != nil {
			t.Fatal(err)
		}
		got, err := ReadJournal(t.Context(), repo, "production")
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("read %+v, error %v; want %+v", got, err, want)
		}
	}
	mediaType, raw, err := regtest.GetManifest(t.Context(), at.Access("", ""), path, "promotion-journal-production")
	if err != nil {
		t.Fatal(err)
	}
	var written index
	if err := json.Unmarshal(raw, &written); err != nil {
		t.Fatal(err)
	}
	if mediaType != string(types.OCIImageIndex) || written.ArtifactType != JournalType || len(written.Manifests) != 1 ||
		written.Manifests[0].Digest.String() != image.Root || written.Manifests[0].Size != int64(len(kept.Raw)) {
		t.Errorf("written as %s: %s", mediaType, raw)
	}
}

// TestTagsHaveJournalsOfTheirOwn: one tag's is not another's.
func TestTagsHaveJournalsOfTheirOwn(t *testing.T) {
	_, repo := open(t, regtest.Options{})
	if err := WriteJournal(t.Context(), repo, "production", sample()); err != nil {
		t.Fatal(err)
	}
	if j, err := ReadJournal(t.Context(), repo, "canary"); j != nil || err != nil {
		t.Errorf("canary has the journal %+v, error %v", j, err)
	}
}

func TestTagFor(t *testing.T) {
	room := 128 - len(Prefix)
	seen := map[string]string{}
	for _, tag := range []string{"a", "production", "v1.4.2_x-y", strings.Repeat("a", room), strings.Repeat("a", room+1), strings.Repeat("a", 127) + "b", strings.Repeat("a", 128)} {
		got := TagFor(tag)
		if !template.ValidTag(got) || !strings.HasPrefix(got, Prefix) {
			t.Errorf("the journal of %s is kept under %q", tag, got)
		}
		if plain := got == Prefix+tag; plain != (len(tag) <= room) {
			t.Errorf("the journal of %s (%d bytes) is kept under %q", tag, len(tag), got)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s share the journal %s", tag, other, got)
		}
		seen[got] = tag
	}
}

// TestSomethingElse under the journal's name is an error that says what to do: it would be overwritten.
func TestSomethingElse(t *testing.T) {
	at, repo := open(t, regtest.Options{})
	image := regtest.Build(regtest.Spec{})
	if err := image.Push(t.Context(), at.Access("", ""), path, "promotion-journal-production"); err != nil {
		t.Fatal(err)
	}
	j, err := ReadJournal(t.Context(), repo, "production")
	if j != nil || err == nil || !strings.Contains(err.Error(), repo.Reference("promotion-journal-production")) || !strings.Contains(registry.HintOf(err), "rename it") {
		t.Errorf("journal %+v, error %v, hint %q", j, err, registry.HintOf(err))
	}
}

// TestTrouble of the registry is no absence.
func TestTrouble(t *testing.T) {
	_, repo := open(t, regtest.Options{Wrap: regtest.Answer(func(q *http.Request) bool { return strings.Contains(q.URL.Path, "/manifests/") }, http.StatusForbidden, "", nil)})
	if j, err := ReadJournal(t.Context(), repo, "production"); j != nil || !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("journal %+v, error %v", j, err)
	}
}

// TestImmutable: a journal is written twice, so that its tag must not be a fixed one.
func TestImmutable(t *testing.T) {
	_, repo := open(t, regtest.Options{Immutable: func(string, string) bool { return true }})
	if err := WriteJournal(t.Context(), repo, "production", sample()); err != nil {
		t.Fatal(err)
	}
	err := WriteJournal(t.Context(), repo, "production", Journal{})
	if !errors.Is(err, registry.ErrTagImmutable) || !strings.Contains(registry.HintOf(err), "promotion-journal-*") {
		t.Errorf("error %v, hint %q", err, registry.HintOf(err))
	}
}

// written is a journal's manifest after a change to its text.
func written(change func(*Journal)) []byte {
	j := sample()
	change(&j)
	return j.manifest(nil).Raw
}

func TestHostile(t *testing.T) {
	if _, err := parse(written(func(*Journal) {})); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 5000)
	for name, test := range map[string]struct {
		raw  []byte
		says string
	}{
		"nothing":                 {nil, "no index"},
		"no JSON":                 {[]byte("journal"), "no index"},
		"another kind":            {[]byte(`{"artifactType":"` + long + `"}`), "and no journal"},
		"no artifact type":        {[]byte(`{"annotations":{"` + annotation + `":"{}"}}`), "and no journal"},
		"no annotation":           {[]byte(`{"artifactType":"` + JournalType + `"}`), "cannot be read"},
		"a text that is no JSON":  {[]byte(`{"artifactType":"` + JournalType + `","annotations":{"` + annotation + `":"x"}}`), "cannot be read"},
		"an empty text":           {[]byte(`{"artifactType":"` + JournalType + `","annotations":{"` + annotation + `":"{}"}}`), "names no release"},
		"a null":                  {[]byte(`{"artifactType":"` + JournalType + `","annotations":{"` + annotation + `":"null"}}`), "names no release"},
		"another type of moves":   {[]byte(`{"artifactType":"` + JournalType + `","annotations":{"` + annotation + `":"{\"moves\":7}"}}`), "cannot be read"},
		"no release":              {written(func(j *Journal) { j.Release = "" }), "names no release"},
		"a release with no form":  {written(func(j *Journal) { j.Release = "sha256:" + long }), "names no release"},
		"no head":                 {written(func(j *Journal) { j.Head.Repository = "" }), "names no release"},
		"a head with no tag":      {written(func(j *Journal) { j.Head.Tag = "" }), "names no release"},
		"a head's tag as a path":  {written(func(j *Journal) { j.Head.Tag = "../../v2/evil" }), "names no release"},
		"a tag as a path":         {written(func(j *Journal) { j.Moves[0].Tag = "../blobs" }), "is none"},
		"a digest as a tag":       {written(func(j *Journal) { j.Moves[0].Tag = digest(1) }), "is none"},
		"an empty tag":            {written(func(j *Journal) { j.Moves[0].Tag = "" }), "is none"},
		"a long tag":              {written(func(j *Journal) { j.Moves[0].Tag = long }), "is none"},
		"nothing to move to":      {written(func(j *Journal) { j.Moves[0].After = "" }), "is none"},
		"no digest to move to":    {written(func(j *Journal) { j.Moves[0].After = "latest" }), "is none"},
		"no digest to go back to": {written(func(j *Journal) { j.Moves[0].Before = "../" + long }), "is none"},
		"a short digest":          {written(func(j *Journal) { j.Moves[0].Before = "sha256:abc" }), "is none"},
		"a tag twice":             {written(func(j *Journal) { j.Moves[0].Tag = j.Moves[1].Tag }), "twice"},
		"a repository twice":      {written(func(j *Journal) { j.Places[1].Repository = j.Places[0].Repository }), "twice"},
		"a place without a name":  {written(func(j *Journal) { j.Places[1].Repository = "" }), "place that is none"},
		"a place's tag as a path": {written(func(j *Journal) { j.Places[1].Tag = "a/b" }), "place that is none"},
		"too many tags": {written(func(j *Journal) {
			for n := range 10_001 {
				j.Moves = append(j.Moves, Move{Tag: fmt.Sprint("t", n), After: digest(n)})
			}
		}), "more than"},
		"too many places": {written(func(j *Journal) {
			for n := range 10_001 {
				j.Places = append(j.Places, Place{fmt.Sprint("r/", n), "t"})
			}
		}), "more than"},
	} {
		j, err := parse(test.raw)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, test.says)
		}
		if j != nil && err == nil {
			t.Errorf("%s: journal %+v", name, j)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
	}
}

// What is taken says only what may be asked of a registry, and is read again as it was.
func FuzzParse(f *testing.F) {
	for _, change := range []func(*Journal){
		func(*Journal) {},
		func(j *Journal) { j.Done, j.Moves, j.Places = true, nil, nil },
		func(j *Journal) { j.Release = "x" },
		func(j *Journal) { j.Moves[0].Tag = "a/b" },
		func(j *Journal) { j.Head = Place{} },
		func(j *Journal) { j.Places[0].Repository = "\x00" },
	} {
		j := sample()
		change(&j)
		f.Add(encode(j))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		raw := encode(index{ArtifactType: JournalType, Annotations: map[string]string{annotation: string(text)}})
		j, err := parse(raw)
		if err != nil {
			return
		}
		for _, m := range j.Moves {
			if _, err := name.NewTag("host/path:" + m.Tag); err != nil {
				t.Errorf("%q is taken for a tag", m.Tag)
			}
			for _, d := range []string{m.After, m.Before} {
				if _, err := name.NewDigest("host/path@" + d); err != nil && d != "" && strings.HasPrefix(d, "sha256:") {
					t.Errorf("%q is taken for a digest", d)
				}
			}
			if m.After == "" {
				t.Error("a move to nothing is taken")
			}
		}
		for _, p := range append(j.Places, j.Head) {
			if _, err := name.NewTag("host/path:" + p.Tag); err != nil || p.Repository == "" {
				t.Errorf("%+v is taken for a place", p)
			}
		}
		again, err := parse(j.manifest(nil).Raw)
		if err != nil || !reflect.DeepEqual(encode(again), encode(j)) {
			t.Errorf("%+v is read again as %+v, error %v", j, again, err)
		}
	})
}
