package input

import (
	"errors"
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
)

// wish is one thing that an input asks for: a tag, a repository, or a tag in a
// repository.
type wish struct {
	input      string           // that it stands in
	text       string           // as it was written
	repository *name.Repository // nil: those of the other wishes, else the source's
	tag        *template.Template
	fixed      bool
}

// in says whether the wish's tag goes to the repository.
func (w wish) in(repository name.Repository) bool {
	return w.tag != nil && (w.repository == nil || w.repository.Name() == repository.Name())
}

// parseWish reads an item of target: a bare tag has neither slash nor colon
// outside of its templates.
func parseWish(text string) (wish, *Fault) {
	w := wish{input: "target", text: text}
	if f := checkShape(text); f != nil {
		return w, f
	}
	outline := template.Blank(text)
	if strings.Contains(outline, "@") {
		return w, &Fault{Given: quote(text) + ", which has a digest", Expected: "a tag to move; the digest belongs to source"}
	}
	if !strings.ContainsAny(outline, "/:") {
		return w, w.parseTag(text)
	}
	repository, tag, hasTag := cutTag(text)
	if repository == "" {
		return w, &Fault{Given: quote(text) + " without a repository", Expected: "a bare tag: " + quote(tag) + ", or registry/path:tag"}
	}
	if strings.Contains(repository, "{{") {
		return w, &Fault{Given: quote(text) + ", which has a template in the repository", Expected: "templates in the tag only", Example: "target: registry.acme.example/prod/app:{{source-tag}}"}
	}
	parsed, f := parseRepository(repository)
	if f != nil {
		return w, f
	}
	w.repository = &parsed
	if hasTag && tag == "" {
		return w, invalidTag(text, tag)
	}
	if hasTag {
		f = w.parseTag(tag)
	}
	return w, f
}

func (w *wish) parseTag(text string) *Fault {
	tag, err := template.Parse(text)
	if err != nil {
		return templateFault(w.input, err)
	}
	w.tag = &tag
	return nil
}

// templateFault is a template's error as a fault in the named input.
func templateFault(input string, err error) *Fault {
	var e *template.Error
	if !errors.As(err, &e) {
		return &Fault{Given: err.Error(), Expected: "a tag"}
	}
	given := quote(e.Text)
	if e.Position > 0 {
		given += fmt.Sprintf(", at character %d", e.Position)
	}
	f := &Fault{Given: given + ": " + e.Found, Expected: e.Expected}
	if e.Example != "" {
		f.Example = input + ": " + yamlText(e.Example)
	}
	return f
}

// readFixed reads fixed-tags, which has bare tags only: a repository is named
// in target.
func (r *reader) readFixed() []wish {
	var wishes []wish
	for _, i := range r.list("fixed-tags") {
		if strings.ContainsAny(template.Blank(i.text), "/:@") {
			r.refuse("fixed-tags", quote(i.text)+", which names a repository", "tags alone; they go to the repositories that target names",
				"target: registry.acme.example/prod/app\n"+exampleOf("fixed-tags"))
			continue
		}
		w := wish{input: "fixed-tags", text: i.text, fixed: true}
		if !r.add("fixed-tags", w.parseTag(i.text)) {
			wishes = append(wishes, w)
		}
	}
	return wishes
}

// yamlText quotes a value that YAML would not take for text: one that begins with
// an expression's braces.
func yamlText(value string) string {
	if !strings.HasPrefix(value, "{") {
		return value
	}
	return `"` + value + `"`
}
