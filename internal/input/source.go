package input

import (
	"fmt"

	"github.com/artifact-promotion/promote/internal/promote"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// order is one source and what is wished for it.
type order struct {
	image  string // its name in the config
	source promote.Source
	from   *promote.From
	wishes []wish
}

func sourcesOf(orders []order) []*promote.Source {
	sources := make([]*promote.Source, len(orders))
	for i := range orders {
		sources[i] = &orders[i].source
	}
	return sources
}

// key tells sources apart however they were written.
func key(s promote.Source) string {
	k := s.Repository.Name() + ":" + s.Tag
	if s.Digest != (v1.Hash{}) {
		k += "@" + s.Digest.String()
	}
	return k
}

// sourceInput is the input that names the sources.
func (r *reader) sourceInput() string {
	if r.text("metadata") != "" {
		return "metadata"
	}
	return "source"
}

// readSources reads the inputs metadata or source.
func (r *reader) readSources() []promote.Source {
	if r.text("metadata") != "" {
		return r.readMetadata()
	}
	items := r.list("source")
	if r.text("source") == "" {
		r.refuse("source", "nothing", "an image: "+sourceForms+", or metadata", "")
	}
	seen := map[string]bool{}
	var sources []promote.Source
	for _, i := range items {
		source, f := parseSource(i.text)
		if r.add("source", f) {
			continue
		}
		if seen[key(source)] {
			r.refuse("source", quote(i.text)+" twice", "each image once", "")
			continue
		}
		seen[key(source)] = true
		sources = append(sources, source)
	}
	return sources
}

// applyDigest gives the input digest to the one source, and refuses a source
// that then still names no image: "latest" is nobody's wish. The sources stand in
// the named input.
func (r *reader) applyDigest(input string, sources []*promote.Source) {
	text := r.text("digest")
	if text == "" {
		r.refuseUnnamed(input, sources)
		return
	}
	digest, f := parseDigest(text, "")
	if r.add("digest", f) || len(sources) == 0 {
		return
	}
	if len(sources) > 1 {
		r.refuse("digest", fmt.Sprintf("one digest for %d sources", len(sources)), "each source with its own, as repo@sha256:…", "source: |\n  ghcr.io/acme/app@sha256:…\n  ghcr.io/acme/worker@sha256:…")
		return
	}
	source := sources[0]
	if source.Digest != (v1.Hash{}) && source.Digest != digest {
		r.refuse("digest", digest.String()+", but source has "+source.Digest.String(), "the same digest in both, or in one of them only", "")
	}
	source.Digest = digest
}

// refuseUnnamed also covers a digest that was meant and came out empty. The
// runner hands over an input that was not given as an empty one, so the two
// cannot be told apart; as a flag they can.
func (r *reader) refuseUnnamed(input string, sources []*promote.Source) {
	if r.flags["digest"] {
		_, f := parseDigest("", "")
		r.add("digest", f)
		return
	}
	for _, s := range sources {
		if s.Tag != "" || s.Digest != (v1.Hash{}) {
			continue
		}
		r.refuse(input, quote(s.Text)+" without a tag or a digest, and the input digest is empty",
			sourceForms+"; if digest was meant to be set: the output digest of docker/build-push-action is empty when it pushed nothing (push: true is missing)",
			"source: "+plain(s.Text)+"\n"+exampleOf("digest"))
	}
}
