package gate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// Platform is os/arch[/variant].
type Platform struct{ os, arch, variant string }

var platformShape = regexp.MustCompile(`^[a-z0-9]{1,32}(/[a-z0-9]{1,32}){1,2}$`)

// ParsePlatform reads os/arch[/variant]; the error is an [*Error].
func ParsePlatform(text string) (Platform, error) {
	if !platformShape.MatchString(text) {
		return Platform{}, &Error{
			Given:    quote(text) + " is no platform",
			Expected: "os/arch or os/arch/variant in lower-case letters and digits, such as linux/amd64, linux/arm64 or linux/arm/v7",
		}
	}
	parts := append(strings.Split(text, "/"), "")
	return Platform{parts[0], parts[1], parts[2]}, nil
}

func (p Platform) String() string {
	if p.variant == "" {
		return p.os + "/" + p.arch
	}
	return p.os + "/" + p.arch + "/" + p.variant
}

// plainVariant is the variant that an architecture means without one
// (https://github.com/containerd/platforms#normalization). For arm that differs
// between tools, so that there any is meant.
var plainVariant = map[string]string{"amd64": "v1", "arm64": "v8"}

func (p Platform) normal() Platform {
	if p.variant == "" {
		p.variant = plainVariant[p.arch]
	}
	return p
}

// accepts reports whether an image for a platform is one for p.
func (p Platform) accepts(other Platform) bool {
	p, other = p.normal(), other.normal()
	if p.variant == "" {
		other.variant = ""
	}
	return p == other
}

// judgePlatforms asks that the image is built for every platform.
func (p Policy) judgePlatforms(e Evidence) []document.Verdict {
	if len(p.Platforms) == 0 {
		return nil
	}
	if len(e.Image.Variants) == 0 {
		return fail(Platforms, "this is no image with platforms, and it must be one for "+list(platformNames(p.Platforms)))
	}
	missing := slices.DeleteFunc(slices.Clone(p.Platforms), e.Image.isFor)
	if len(missing) == 0 {
		return pass(Platforms, "it is built for "+list(platformNames(p.Platforms)))
	}
	return fail(Platforms, fmt.Sprintf("it is not built for %s, only for %s; build it for %s too (the input platforms of docker/build-push-action)",
		list(platformNames(missing)), list(e.Image.platforms()), list(platformNames(missing))))
}

func (i Image) isFor(p Platform) bool {
	return slices.ContainsFunc(i.Variants, func(v Variant) bool {
		has, err := ParsePlatform(v.Platform)
		return err == nil && p.accepts(has)
	})
}

func platformNames(platforms []Platform) []string {
	var names []string
	for _, p := range platforms {
		names = append(names, p.String())
	}
	return names
}
