package promote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/template"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// labelNames are the labels that templates use, by expression
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
var labelNames = map[string]string{
	"revision": "org.opencontainers.image.revision",
	"version":  "org.opencontainers.image.version",
}

// labels are an image's labels that its tags are named by, by expression.
type labels map[string]string

// maxConfig is the largest image configuration that is read for its labels, in bytes.
const maxConfig = 4 << 20

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
	g, ctx := group(ctx)
	for _, i := range r.images {
		g.Go(func() error { return i.readLabels(ctx, r.expressions(i)) })
	}
	return g.Wait()
}

// readLabels takes each label from the index's annotations, else from every
// platform's manifest or configuration, which must agree: a tag can name one
// version only.
func (i *image) readLabels(ctx context.Context, expressions []string) error {
	i.labels = labels{}
	var open []string
	for _, e := range expressions {
		if i.labels[e] = i.graph.Node(i.root.Digest).Annotations[labelNames[e]]; i.labels[e] == "" {
			open = append(open, e)
		}
	}
	if len(open) == 0 {
		return nil
	}
	for _, n := range i.graph.Images() {
		found, err := i.labelsOf(ctx, n)
		if err != nil {
			return err
		}
		for _, e := range open {
			if err := i.agree(e, found[labelNames[e]]); err != nil {
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

// labelsOf are one manifest's annotations, and below them its configuration's labels.
func (i *image) labelsOf(ctx context.Context, n *graph.Node) (map[string]string, error) {
	found := map[string]string{}
	if n.Config != nil && n.Config.MediaType.IsConfig() && n.Config.Size <= maxConfig {
		body := i.source.OpenBlob(ctx, *n.Config)
		defer body.Close() //nolint:errcheck // it was only read
		raw, err := io.ReadAll(io.LimitReader(body, maxConfig+1))
		if err != nil {
			return nil, err
		}
		var config v1.ConfigFile
		if json.Unmarshal(raw, &config) == nil { // an artifact may call anything its configuration
			maps.Copy(found, config.Config.Labels)
		}
	}
	for name, value := range n.Annotations {
		if value != "" {
			found[name] = value
		}
	}
	return found, nil
}
