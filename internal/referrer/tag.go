package referrer

import (
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Suffixes are those of cosign's tag scheme
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
var Suffixes = []string{".sig", ".att", ".sbom"}

// FallbackTag is the tag whose index lists a digest's referrers where the
// registry has no API for it (distribution-spec, "Referrers Tag Schema").
func FallbackTag(subject v1.Hash) string { return subject.Algorithm + "-" + subject.Hex }

// Suffix is what a tag of cosign's scheme ends in; empty for any other tag.
func Suffix(tag string) string {
	for _, s := range Suffixes {
		if strings.HasSuffix(tag, s) {
			return s
		}
	}
	return ""
}
