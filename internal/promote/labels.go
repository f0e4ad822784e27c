package promote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/artifact-promotion/promote/internal/graph"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The labels that templates use
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
const (
	revisionLabel = "org.opencontainers.image.revision"
	versionLabel  = "org.opencontainers.image.version"
)

// labels are an image's labels that templates use.
type labels struct{ revision, version string }

// maxConfig is the largest image configuration that is read for its labels, in bytes.
const maxConfig = 4 << 20

func (r *run) needLabels() bool {
	for _, p := range r.promotions {
		for _, t := range p.tags {
			if t.template.Uses("revision") || t.template.Uses("version") {
				return true
			}
		}
	}
	return false
}

// readLabels finds the labels that tags are named by.
func (r *run) readLabels(ctx context.Context) error {
	g, ctx := group(ctx)
	for _, i := range r.images {
		g.Go(func() error { return i.readLabels(ctx) })
	}
	return g.Wait()
}

// readLabels takes each label from the index's annotations, else from every
// platform's manifest or configuration, which must agree: a tag can name one
// version only.
func (i *image) readLabels(ctx context.Context) error {
	root := i.graph.Node(i.root.Digest)
	i.labels = labelsOf(root.Annotations)
	for _, n := range i.graph.Images() {
		if i.labels.revision != "" && i.labels.version != "" {
			break
		}
		found, err := i.labelsOf(ctx, n)
		if err != nil {
			return err
		}
		if err := i.labels.join(found, labelsOf(root.Annotations), i.item.Source.Text); err != nil {
			return err
		}
	}
	return nil
}

func (l *labels) join(found, stated labels, source string) error {
	for _, x := range []struct {
		have          *string
		found, stated string
		label         string
	}{{&l.revision, found.revision, stated.revision, revisionLabel}, {&l.version, found.version, stated.version, versionLabel}} {
		switch {
		case x.stated != "" || x.found == "":
		case *x.have == "":
			*x.have = x.found
		case *x.have != x.found:
			return &invalidError{
				message: fmt.Sprintf("the platforms of %s disagree on the label %s: %q and %q", source, x.label, *x.have, x.found),
				hint:    "A tag can name one of them only. Build all platforms from one commit, or use a tag without {{revision}} and {{version}}.",
			}
		}
	}
	return nil
}

func labelsOf(m map[string]string) labels {
	return labels{revision: m[revisionLabel], version: m[versionLabel]}
}

func (i *image) labelsOf(ctx context.Context, n *graph.Node) (labels, error) {
	found := labelsOf(n.Annotations)
	if n.Config == nil || !n.Config.MediaType.IsConfig() || n.Config.Size > maxConfig {
		return found, nil
	}
	body := i.source.OpenBlob(ctx, *n.Config)
	defer body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(body, maxConfig+1))
	if err != nil {
		return labels{}, err
	}
	var config v1.ConfigFile
	if err := json.Unmarshal(raw, &config); err != nil {
		return found, nil //nolint:nilerr // an artifact may call anything its configuration
	}
	inside := labelsOf(config.Config.Labels)
	if found.revision == "" {
		found.revision = inside.revision
	}
	if found.version == "" {
		found.version = inside.version
	}
	return found, nil
}
