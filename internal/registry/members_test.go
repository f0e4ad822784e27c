package registry

import (
	"errors"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// TestManifestOfTooManyMembers is refused before anybody reads its entries: each would
// take a hundred times its bytes.
func TestManifestOfTooManyMembers(t *testing.T) {
	for _, nothing := range []string{"{},", "null,", "0,"} {
		body := `{"schemaVersion":2,"layers":[` + strings.Repeat(nothing, maxMembers+1) + `0]}`
		if len(body) > MaxManifest {
			t.Fatalf("%d bytes would be refused for their size", len(body))
		}
		_, err := readManifest(&wire.Answer{Body: []byte(body)}, "latest")
		if !errors.Is(err, ErrTooLarge) || retry.IsTemporary(err) {
			t.Errorf("%s: error %v", nothing, err)
		}
	}
	large := `{"schemaVersion":2,"manifests":[` + strings.Repeat(`{"mediaType":"m","digest":"d","size":1,"platform":{"os":"linux","architecture":"amd64"}},`, 10_000) + `{}]}`
	if _, err := readManifest(&wire.Answer{Body: []byte(large)}, "latest"); err != nil {
		t.Errorf("an index of ten thousand children: %v", err)
	}
}
