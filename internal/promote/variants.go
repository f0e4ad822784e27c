package promote

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"strings"

	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxConfig is the largest image configuration that is read for its labels, in bytes.
const maxConfig = 4 << 20

// readVariants reads what every image is for each of its platforms, once.
func (r *run) readVariants(ctx context.Context) error {
	g, ctx := group(ctx)
	g.SetLimit(atOnce)
	for _, i := range r.images {
		if i.variants == nil {
			g.Go(func() (err error) {
				i.variants, err = variantsOf(ctx, i.source, i.graph)
				return err
			})
		}
	}
	return g.Wait()
}

// variantsOf are a root's single images as gates see them.
func variantsOf(ctx context.Context, repo *registry.Repository, g *graph.Graph) ([]gate.Variant, error) {
	nodes := g.Images()
	variants := make([]gate.Variant, len(nodes))
	shared := g.Node(g.Root).Annotations()
	group, ctx := group(ctx)
	for at, n := range nodes {
		group.Go(func() (err error) {
			variants[at], err = variantOf(ctx, repo, n)
			if p := g.Platform(n.Digest); p != "" {
				variants[at].Platform = p
			}
			overlay(variants[at].Labels, shared)
			return err
		})
	}
	return variants, group.Wait()
}

// variantOf is one manifest: its configuration's labels, under its annotations.
func variantOf(ctx context.Context, repo *registry.Repository, n *graph.Node) (gate.Variant, error) {
	v := gate.Variant{Digest: n.Digest.String(), Labels: map[string]string{}}
	if d := n.Config(); d != nil && d.MediaType.IsConfig() && d.Size <= maxConfig {
		config, err := readConfig(ctx, repo, *d)
		if err != nil {
			return v, err
		}
		maps.Copy(v.Labels, config.Config.Labels)
		v.Created = config.Created.UTC()
		if config.OS != "" && config.Architecture != "" {
			v.Platform = strings.TrimSuffix(config.OS+"/"+config.Architecture+"/"+config.Variant, "/")
		}
	}
	overlay(v.Labels, n.Annotations())
	return v, nil
}

func readConfig(ctx context.Context, repo *registry.Repository, d v1.Descriptor) (config v1.ConfigFile, err error) {
	body := repo.OpenBlob(ctx, d)
	defer body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(body, maxConfig+1))
	if err != nil {
		return config, err
	}
	if json.Unmarshal(raw, &config) != nil { // an artifact may call anything its configuration
		return v1.ConfigFile{}, nil
	}
	return config, nil
}

// overlay lays annotations over labels; an empty one hides nothing.
func overlay(labels, annotations map[string]string) {
	for name, value := range annotations {
		if value != "" {
			labels[name] = value
		}
	}
}
