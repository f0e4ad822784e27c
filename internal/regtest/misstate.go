package regtest

import (
	"encoding/json"
	"fmt"
)

// Misstate adds a copy of an image manifest in which the first layer has another size than its bytes, and returns its
// digest. Registries take it: they check digests. The image's root is the copy, if it was the manifest.
func (i *Image) Misstate(digest string, size int64) string {
	var m manifestBody
	if err := json.Unmarshal(i.Manifest(digest).Bytes, &m); err != nil || len(m.Layers) == 0 {
		panic(fmt.Sprintf("misstate %s: no image manifest with layers", digest))
	}
	m.Layers[0].Size = size
	wrong := i.manifest(m, "").Digest
	if i.Root == digest {
		i.Root = wrong
	}
	return wrong
}
