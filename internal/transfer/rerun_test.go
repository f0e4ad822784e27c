package transfer_test

import (
	"context"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// TestRerunAfterVerification: what verification misses, with the hint to run again, another run copies.
func TestRerunAfterVerification(t *testing.T) {
	t.Parallel()
	plain, signed, other := newVerified(), newVerified(), newVerified()
	signed.Sign(signed.Root, ".sig", "x")
	other.Sign(other.Root, ".sig", "y")
	sig := signed.list + ".sig"
	for name, test := range map[string]struct {
		image, before verified // of the source, and what the target holds
		copies        bool     // the run that fails has copied
		lose          func(ctx context.Context, at regtest.Access, h *hurt) error
		says          string
	}{
		"a blob": {plain, plain, false, func(ctx context.Context, at regtest.Access, _ *hurt) error {
			return regtest.DeleteBlob(ctx, at, targetRepo, plain.layer)
		}, "the blob is not there"},
		"a referrer": {plain, plain, false, func(ctx context.Context, at regtest.Access, _ *hurt) error {
			return regtest.DeleteManifest(ctx, at, targetRepo, plain.list)
		}, "is stored but not listed"},
		"a tag of cosign's that was not copied": {signed, plain, false, func(context.Context, regtest.Access, *hurt) error { return nil }, "the attachment was not copied"},
		"a tag of cosign's that holds what it did": {signed, other, true, func(_ context.Context, _ regtest.Access, h *hurt) error {
			h.set(sig, bytesOf(string(other.Manifests[len(other.Manifests)-1].Bytes)))
			return nil
		}, "expected sha256:"},
		"a tag of cosign's that holds another": {signed, plain, true, func(_ context.Context, _ regtest.Access, h *hurt) error {
			h.set(sig, bytesOf(`{"layers":[]}`))
			return nil
		}, "in place of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				h := &hurt{}
				source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Delete: true, Wrap: h.wrap})
				push(t, test.image.Image, source, sourceRepo, "dev")
				push(t, test.before.Image, target, targetRepo)
				r := newRunAt(t, transfer.Blobs, target)
				from, to := r.source(source), r.target(target)
				g := r.walk(from, "dev")
				if test.copies {
					if _, err := r.Copy(t.Context(), g, from, to, nil); err != nil {
						t.Fatal(err)
					}
				}
				if err := test.lose(t.Context(), target.Access("", ""), h); err != nil {
					t.Fatal(err)
				}
				_, err := r.Verify(t.Context(), g, from, to)
				if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(registry.HintOf(err), "Run the promotion again") {
					t.Fatalf("error %v, hint %q; want %q, and to run again", err, registry.HintOf(err), test.says)
				}
				h.set(sig, nil)
				newRunAt(t, transfer.Blobs, target).proof(source, target, "dev")
				if !test.copies { // else the target's tag is merged with that of the source
					complete(t, source, "dev", target, targetRepo, test.image.Root)
				}
			})
		})
	}
}
