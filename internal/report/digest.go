package report

import (
	"regexp"
	"strings"
)

var fullDigest = regexp.MustCompile(`^[a-z0-9+._-]+:[0-9a-f]{32,}$`)

// short is a digest with the first 12 digits of its hash; what is not a digest
// is clipped.
func short(digest string) string {
	if !fullDigest.MatchString(digest) {
		return clip(digest, 20)
	}
	algorithm, hash, _ := strings.Cut(digest, ":")
	return algorithm + ":" + hash[:12]
}
