package promote

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/artifact-promotion/promote/internal/template"
)

// labelNames are the labels that templates use, by expression
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
var labelNames = map[string]string{
	"revision": "org.opencontainers.image.revision",
	"version":  "org.opencontainers.image.version",
}

// labels are an image's labels that its tags are named by, by expression.
type labels map[string]string

func (r *run) needLabels() bool {
	for _, i := range r.images {
		if len(r.expressions(i)) > 0 {
			return true
		}
	}
	return false
}

// expressions are those in an image's tags that stand for a label.
func (r *run) expressions(i *image) []string {
	used := map[string]bool{}
	for _, p := range r.promotions {
		for _, t := range p.tags {
			if p.image == i {
				for _, expression := range labelsIn(t.template) {
					used[expression] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// labelsIn are a template's expressions that stand for a label.
func labelsIn(t template.Template) (all []string) {
	for expression := range labelNames {
		if t.Uses(expression) {
			all = append(all, expression)
		}
	}
	return all
}

// readLabels finds the labels that tags are named by.
func (r *run) readLabels(ctx context.Context) error {
	if err := r.readVariants(ctx); err != nil {
		return err
	}
	for _, i := range r.images {
		if err := i.nameLabels(r.expressions(i)); err != nil {
			return err
		}
	}
	return nil
}

// nameLabels takes each label from the index's annotations, else from every
// platform, which must agree: a tag can name one version only.
func (i *image) nameLabels(expressions []string) error {
	i.labels = labels{}
	for _, e := range expressions {
		for _, v := range i.variants {
			if err := i.agree(e, v.Labels[labelNames[e]]); err != nil {
				return err
			}
		}
	}
	return nil
}

// agree takes one platform's value, which may be empty.
func (i *image) agree(expression, found string) error {
	have := i.labels[expression]
	switch found {
	case "", have:
		return nil
	}
	if have != "" {
		return &invalidError{
			message: fmt.Sprintf("the platforms of %s disagree on the label %s: %q and %q", i.item.Source.Text, labelNames[expression], have, found),
			hint:    "A tag can name one of them only. Build all platforms from one commit, or use a tag without {{" + expression + "}}.",
		}
	}
	i.labels[expression] = found
	return nil
}
