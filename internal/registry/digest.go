package registry

import (
	"crypto/sha256"
	_ "crypto/sha512" // v1.Hasher looks it up
	"encoding/hex"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// digestOf is the sha256 digest of bytes.
func digestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// matches computes the digest of bytes with the algorithm of a wanted digest, and fails if
// the two differ.
func matches(b []byte, want string) (v1.Hash, error) {
	digest, err := v1.NewHash(want)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("read digest: %w", err)
	}
	hash, err := v1.Hasher(digest.Algorithm)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("read digest: %w", err)
	}
	hash.Write(b)
	got := v1.Hash{Algorithm: digest.Algorithm, Hex: hex.EncodeToString(hash.Sum(nil))}
	if got != digest {
		return v1.Hash{}, fmt.Errorf("%w: the bytes have %s, expected %s", ErrMismatch, got, digest)
	}
	return got, nil
}

// NewManifest is the manifest of bytes, with their digest.
func NewManifest(mediaType string, raw []byte) Manifest {
	return Manifest{Digest: digestOf(raw), MediaType: mediaType, Raw: raw}
}

// isDigest reports whether a reference is a digest: a tag has no colon.
func isDigest(ref string) bool { return strings.Contains(ref, ":") }

// isComputable reports whether a text is a digest whose algorithm is known here.
func isComputable(digest string) bool {
	_, err := v1.Hasher(algorithm(digest))
	return isDigest(digest) && err == nil
}

// algorithm is the algorithm of a digest.
func algorithm(digest string) string {
	name, _, _ := strings.Cut(digest, ":")
	return name
}
