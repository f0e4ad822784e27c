package regtest

import (
	"fmt"
	"strings"
)

// Spec describes an image to be made. The zero value is a single manifest of one small layer.
type Spec struct {
	// Seed makes images differ. The same Spec gives the same bytes, always.
	Seed string
	// Platforms are the children of an index ("linux/arm64", "linux/arm/v7"). With none the image is a single
	// manifest for linux/amd64 without an index.
	Platforms []string
	// Layers per platform and their size in bytes: 1 and 1,000 by default. A negative number is none.
	Layers    int
	LayerSize int64
	// Shared gives all platforms the same layers.
	Shared bool
	// The first BaseLayers of the layers are made from Base in place of Seed, the same for all platforms: images of
	// one Base share them.
	Base       string
	BaseLayers int
	// Docker uses the media types of Docker's schema 2.
	Docker bool
	// Nested puts the index of the platforms into another index.
	Nested bool
	// Provenance and SBOM give each platform an attestation manifest, as BuildKit does.
	Provenance, SBOM bool
	// Labels go into the configs, Annotations onto the root.
	Labels, Annotations map[string]string
	// Foreign is the number of further layers per platform that lie elsewhere.
	Foreign int
	// Artifact makes an artifact of this type instead of an image: Helm, or any other. Platforms do not count then.
	Artifact string
}

// Helm is the Artifact of a Helm chart; every other one gets an empty config and unknown media types.
const Helm = "application/vnd.cncf.helm.config.v1+json"

type imageConfig struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
	Created      string `json:"created,omitempty"`
	Config       struct {
		Labels map[string]string `json:"Labels,omitempty"`
	} `json:"config"`
	RootFS  rootFS    `json:"rootfs"`
	History []history `json:"history,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created string `json:"created"`
}

type manifestBody struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type indexBody struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// types are the media types that an image is made of.
type types struct{ index, manifest, config, layer, foreign string }

func (s Spec) types() types {
	if s.Docker {
		return types{dockerList, dockerManifest, dockerConfig, dockerLayer, dockerForeign}
	}
	return types{ociIndex, ociManifest, ociConfig, ociLayer, ociForeign}
}

// Build makes the image that a Spec describes.
func Build(spec Spec) *Image {
	i := &Image{known: map[string]bool{}}
	if spec.Layers == 0 {
		spec.Layers = 1
	}
	if spec.LayerSize == 0 {
		spec.LayerSize = 1000
	}
	switch {
	case spec.Artifact != "":
		i.Root = i.buildArtifact(spec).Digest
	case len(spec.Platforms) == 0:
		i.Root = i.buildPlatform(spec, "linux/amd64", spec.Annotations).Digest
	case spec.Nested:
		inner := i.buildIndex(spec, i.buildPlatforms(spec), nil)
		i.Root = i.buildIndex(spec, []Descriptor{inner}, spec.Annotations).Digest
	default:
		i.Root = i.buildIndex(spec, i.buildPlatforms(spec), spec.Annotations).Digest
	}
	return i
}

func (i *Image) buildIndex(spec Spec, children []Descriptor, annotations map[string]string) Descriptor {
	mediaType := spec.types().index
	return i.index(indexBody{2, mediaType, "", children, nil, annotations})
}

func (i *Image) index(body indexBody) Descriptor {
	text := marshal(body)
	m := &Manifest{
		Digest: digestOf(text), MediaType: body.MediaType, Bytes: text,
		artifactType: body.ArtifactType, annotations: body.Annotations,
	}
	if body.Subject != nil {
		m.Subject = body.Subject.Digest
	}
	return i.addManifest(m)
}

// manifest adds an image manifest; tag is cosign's name for it, or empty.
func (i *Image) manifest(body manifestBody, tag string) Descriptor {
	if body.Layers == nil {
		body.Layers = []Descriptor{}
	}
	text := marshal(body)
	m := &Manifest{
		Digest: digestOf(text), MediaType: body.MediaType, Bytes: text, Tag: tag,
		artifactType: body.ArtifactType, annotations: body.Annotations,
	}
	if m.artifactType == "" {
		m.artifactType = body.Config.MediaType // distribution specification, "Pushing Manifests with Subject"
	}
	if body.Subject != nil {
		m.Subject = body.Subject.Digest
	}
	return i.addManifest(m)
}

// buildPlatforms makes the children of an index: the platforms first and their attestations after them, as BuildKit
// orders them.
func (i *Image) buildPlatforms(spec Spec) []Descriptor {
	var children []Descriptor
	for _, name := range spec.Platforms {
		d := i.buildPlatform(spec, name, nil)
		d.Platform = parsePlatform(name)
		children = append(children, d)
	}
	if spec.Provenance || spec.SBOM {
		for _, d := range children {
			children = append(children, i.buildAttestation(spec, d))
		}
	}
	return children
}

func parsePlatform(name string) *Platform {
	parts := strings.SplitN(name+"//", "/", 4)
	return &Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

func (i *Image) buildPlatform(spec Spec, platform string, annotations map[string]string) Descriptor {
	t, p := spec.types(), parsePlatform(platform)
	layers := i.buildLayers(spec, platform)
	config := imageConfig{Architecture: p.Architecture, OS: p.OS, Variant: p.Variant, Created: "2026-01-01T00:00:00Z"}
	config.Config.Labels = spec.Labels
	config.RootFS = rootFS{"layers", digestsOf(layers)}
	return i.manifest(manifestBody{
		SchemaVersion: 2, MediaType: t.manifest, Annotations: annotations, Layers: layers,
		Config: i.addBlob(textBlob(t.config, marshal(config))),
	}, "")
}

func digestsOf(list []Descriptor) []string {
	digests := []string{}
	for _, d := range list {
		digests = append(digests, d.Digest)
	}
	return digests
}

func (i *Image) buildLayers(spec Spec, platform string) []Descriptor {
	owner := platform
	if spec.Shared {
		owner = "all"
	}
	var layers []Descriptor
	for n := range max(spec.Layers, 0) {
		name := fmt.Sprintf("%s %s layer %d", spec.Seed, owner, n)
		if n < spec.BaseLayers {
			name = fmt.Sprintf("%s base layer %d", spec.Base, n)
		}
		layers = append(layers, i.addBlob(noise(spec.types().layer, spec.LayerSize, name)))
	}
	for n := range spec.Foreign {
		b := noise(spec.types().foreign, spec.LayerSize, fmt.Sprintf("%s %s foreign %d", spec.Seed, owner, n))
		b.Foreign = true
		d := i.addBlob(b)
		d.URLs = []string{"https://foreign.example/" + b.Digest}
		layers = append(layers, d)
	}
	return layers
}

// buildArtifact makes an artifact as the specification's guidelines have it: an empty config and a type, or, as Helm
// does it, a config of its own.
func (i *Image) buildArtifact(spec Spec) Descriptor {
	body := manifestBody{SchemaVersion: 2, MediaType: ociManifest, Annotations: spec.Annotations}
	layer := "application/vnd.example.unknown"
	if spec.Artifact == Helm {
		layer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
		chart := map[string]string{"name": "chart", "version": "0.1.0", "apiVersion": "v2", "description": spec.Seed}
		body.Config = i.addBlob(textBlob(Helm, marshal(chart)))
	} else {
		body.ArtifactType = spec.Artifact
		body.Config = i.addBlob(emptyBlob())
	}
	for n := range max(spec.Layers, 0) {
		body.Layers = append(body.Layers, i.addBlob(noise(layer, spec.LayerSize, fmt.Sprintf("%s artifact %d", spec.Seed, n))))
	}
	return i.manifest(body, "")
}

func emptyBlob() *Blob { return textBlob(ociEmpty, []byte("{}")) }
