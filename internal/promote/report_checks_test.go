package promote_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

const manifestOCI = "application/vnd.oci.image.manifest.v1+json"

func layerOf(i *regtest.Image) string {
	for _, b := range i.Blobs {
		if strings.Contains(b.MediaType, "layer") {
			return b.Digest
		}
	}
	return ""
}

// attached is the digest of what hangs on an image: under cosign's tag, or, without a suffix, by its subject.
func attached(i *regtest.Image, suffix string) string {
	for _, m := range i.Manifests {
		if suffix != "" && strings.HasSuffix(m.Tag, suffix) || suffix == "" && m.Subject == i.Root {
			return m.Digest
		}
	}
	return ""
}

// tells expects findings of these kinds, which together say all of that, each with a hint.
func tells(t testing.TB, d document.Report, want string, says ...string) {
	t.Helper()
	result := document.Clean
	for kind := range strings.SplitSeq(want, ", ") {
		if kind != "" {
			result = document.Findings
		}
	}
	expect(t, d, result)
	if got := kinds(d); got != want {
		t.Errorf("found %q, want %q: %+v", got, want, d.Findings)
	}
	var all strings.Builder
	for _, f := range d.Findings {
		fmt.Fprintln(&all, f.Message)
		if f.Hint == "" || f.Environment == "" || f.Reference == "" || f.Message == "" {
			t.Errorf("it lacks something: %+v", f)
		}
	}
	for _, s := range says {
		if !strings.Contains(all.String(), s) {
			t.Errorf("no finding says %q:\n%s", s, all.String())
		}
	}
}

// kinds are those of an audit's findings, in order.
func kinds(d document.Report) string {
	var all []string
	for _, f := range d.Findings {
		kind := string(f.Kind)
		all = append(all, kind)
	}
	return strings.Join(all, ", ")
}

func expectUnrecorded(t testing.TB, d document.Report) {
	t.Helper()
	if d.Result != document.Unrecorded || len(d.Faults) == 0 {
		t.Errorf("result %s, want unrecorded: %+v", d.Result, d.Faults)
	}
}

func encoded(t testing.TB, value any) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// wideArea is the simulated network.
var wideArea = regtest.Network{RTT: 40 * time.Millisecond, BytesPerSecond: 25 << 20}
