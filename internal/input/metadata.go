package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/artifact-promotion/promote/internal/promote"
)

// The keys of BuildKit's metadata that say what was pushed, and where to.
const (
	metadataDigest = "containerimage.digest"
	metadataName   = "image.name"
)

const (
	metadataForms = "the output metadata of docker/build-push-action or of docker/bake-action, or the path of a file that holds it"

	// maxMetadataFile is how large a file of it may be, in bytes. By default BuildKit
	// adds the provenance of each build (Docker's docs, BUILDX_METADATA_PROVENANCE).
	maxMetadataFile = 16 << 20

	// maxBuilds is how many builds one metadata has at most.
	maxBuilds = 1000
)

// readMetadata reads what docker's actions built: one source for each image.
func (r *reader) readMetadata() []promote.Source {
	for _, other := range []string{"source", "digest"} {
		if r.text(other) != "" {
			r.refuse(other, quote(r.text(other))+" together with metadata", "one of them: metadata names the images and their digests", "")
		}
	}
	text := r.text("metadata")
	if strings.HasPrefix(text, "{") {
		sources, f := parseMetadata([]byte(text))
		r.add("metadata", f)
		return sources
	}
	raw, f := r.metadataFile(text)
	if r.add("metadata", f) {
		return nil
	}
	sources, f := parseMetadata(raw)
	if f != nil {
		f.Given = "file " + quote(text) + ": " + f.Given
	}
	r.add("metadata", f)
	return sources
}

// metadataFile reads the file that the input names, as BuildKit writes one
// (docker buildx build --metadata-file).
func (r *reader) metadataFile(path string) ([]byte, *Fault) {
	if len(path) > maxConfigPath || strings.ContainsAny(path, "\r\n\x00{[") {
		return nil, &Fault{Given: quote(path) + ", which is neither JSON that begins with { nor a path", Expected: metadataForms}
	}
	raw, err := readBounded(locate(r.workspace, path), maxMetadataFile)
	switch {
	case os.IsNotExist(err):
		return nil, &Fault{Given: quote(path) + ", a file that is not in " + directory(r.workspace),
			Expected: metadataForms + "; actions/download-artifact must come first where another job made the file"}
	case err != nil:
		return nil, &Fault{Given: "file " + quote(path) + ": " + cause(err), Expected: "a regular file that can be read"}
	}
	return raw, nil
}

func parseMetadata(raw []byte) ([]promote.Source, *Fault) {
	whole, f := parseObject(raw, "metadata")
	if f != nil {
		return nil, f
	}
	builds, f := buildsIn(whole)
	if f != nil {
		return nil, f
	}
	if len(builds) == 0 {
		return nil, nothingPushed("no image")
	}
	var sources []promote.Source
	seen := map[string]bool{}
	for _, b := range builds {
		source, f := b.source()
		if f != nil {
			return nil, f
		}
		if !seen[key(source)] {
			seen[key(source)] = true
			sources = append(sources, source)
		}
	}
	return sources, nil
}

// member is a key of a JSON object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// build is what the metadata says of one build.
type build struct {
	name    string // for faults: metadata, or bake's target
	members []member
}

// buildsIn tells build-push-action's metadata, which is one build, from
// bake-action's, which is an object of builds by their targets.
func buildsIn(whole []member) ([]build, *Fault) {
	var builds []build
	for _, m := range whole {
		switch {
		case m.key == metadataName || strings.HasPrefix(m.key, "containerimage."):
			return []build{{"metadata", whole}}, nil
		case strings.HasPrefix(m.key, "buildx."): // of the builder, such as its warnings
			continue
		case len(builds) == maxBuilds:
			return nil, &Fault{Given: fmt.Sprintf("metadata of more than %d builds", maxBuilds), Expected: "fewer; promote the rest in another step"}
		}
		members, f := parseObject(m.value, "target "+quote(m.key))
		if f != nil {
			return nil, f
		}
		builds = append(builds, build{"target " + quote(m.key), members})
	}
	return builds, nil
}

// source is what was pushed, by its digest, in the first repository that it was
// pushed to.
func (b build) source() (promote.Source, *Fault) {
	digest, f := b.text(metadataDigest)
	if f != nil {
		return promote.Source{}, f
	}
	names, f := b.text(metadataName)
	switch {
	case f != nil:
		return promote.Source{}, f
	case digest == "":
		return promote.Source{}, nothingPushed(b.name + " without " + metadataDigest)
	case names == "":
		return promote.Source{}, nothingPushed(b.name + " without " + metadataName)
	}
	first, _, _ := strings.Cut(names, ",")
	source, f := parseSource(strings.TrimSpace(first))
	if f == nil {
		source.Tag = "" // it may have moved since
		source.Digest, f = parseDigest(digest, plain(source.Repository.Name()))
	}
	if f != nil {
		return promote.Source{}, &Fault{Given: b.name + ", whose " + f.Given, Expected: metadataForms + ", unchanged"}
	}
	source.Text = source.Repository.Name() + "@" + digest
	return source, nil
}

// text is a member that must be text; empty if it is not there.
func (b build) text(key string) (string, *Fault) {
	for _, m := range b.members {
		if m.key != key {
			continue
		}
		var text *string
		if err := json.Unmarshal(m.value, &text); err != nil || text == nil {
			return "", &Fault{Given: b.name + ", whose " + key + " is no text", Expected: metadataForms + ", unchanged"}
		}
		return *text, nil
	}
	return "", nil
}

func nothingPushed(given string) *Fault {
	return &Fault{Given: given, Expected: "the metadata of images that were pushed; without `push: true` (or an output of the type registry) nothing is"}
}

// parseObject reads a JSON object in its order. A key that stands twice would
// mean two things.
func parseObject(raw []byte, what string) ([]member, *Fault) {
	d := json.NewDecoder(bytes.NewReader(raw))
	members, err := decodeObject(d)
	if err != nil {
		return nil, &Fault{Given: what + " that is no JSON object of a build: " + err.Error(), Expected: metadataForms + ", unchanged"}
	}
	return members, nil
}

func decodeObject(d *json.Decoder) ([]member, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it does not begin with {")
	}
	var members []member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		key, isText := t.(string)
		if err != nil || !isText {
			return nil, errors.New("it is damaged or cut off")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errors.New("it is damaged or cut off")
		}
		if seen[key] {
			return nil, errors.New(quote(key) + " stands in it twice")
		}
		seen[key] = true
		members = append(members, member{key, value})
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("it is damaged or cut off")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands after its end")
	}
	return members, nil
}
