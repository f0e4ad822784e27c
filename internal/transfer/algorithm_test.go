package transfer_test

import (
	"bytes"
	"crypto/sha512"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestLayerBySHA512: a layer with a sha512 digest is copied, and read back by it.
func TestLayerBySHA512(t *testing.T) {
	layer := []byte("a layer")
	long := fmt.Sprintf("sha512:%x", sha512.Sum512(layer))
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	pushAs(t, source, sourceRepo, long, layer)
	config, err := regtest.PutBlob(t.Context(), source.Access("", ""), sourceRepo, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		types.OCIManifestSchema1, types.OCIConfigJSON, config, types.OCIUncompressedLayer, long, len(layer))
	if err := regtest.PutManifest(t.Context(), source.Access("", ""), sourceRepo, "dev", string(types.OCIManifestSchema1), []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := newRun(t, transfer.Content, 0).copyAndVerify(source, target, "dev"); err != nil {
		t.Error(err)
	}
	if got := fetched(t, target, targetRepo, long); !bytes.Equal(got, layer) {
		t.Errorf("the target serves %q", got)
	}
}

// pushAs uploads a blob under a digest of any algorithm.
func pushAs(t *testing.T, r *regtest.Registry, repository, digest string, content []byte) {
	t.Helper()
	resp, err := http.Post("http://"+r.Host()+"/v2/"+repository+"/blobs/uploads/?digest="+digest, "application/octet-stream", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("push %s: %s", digest, resp.Status)
	}
}

func fetched(t *testing.T, r *regtest.Registry, repository, digest string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + r.Host() + "/v2/" + repository + "/blobs/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
