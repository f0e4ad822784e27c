package promote_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// decorated has everything attached to everything: referrers and cosign's
// artifacts on the index, on a child, on each other, in several levels.
func decorated() *regtest.Image {
	i := regtest.Build(regtest.Spec{
		Seed: "decorated", Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 2, LayerSize: 300, Provenance: true, SBOM: true,
	})
	for n, subject := range []string{i.Root, i.Children()[0]} {
		bundle := i.Attach(subject, "application/vnd.dev.sigstore.bundle.v0.3+json", "bundle")
		counter := i.Attach(bundle, "application/vnd.example.countersignature+json", "counter")
		i.Sign(subject, ".sig", fmt.Sprint(n))
		i.Sign(subject, ".sbom", fmt.Sprint(n))
		i.Sign(counter, ".sig", "on an attachment")
		attestation := i.Sign(subject, ".att", fmt.Sprint(n))
		i.Attach(attestation, "application/vnd.example.note", "on a cosign artifact")
		i.Sign(attestation, ".sig", "on a cosign artifact")
	}
	for n := range 3 {
		i.Attach(i.Root, "application/vnd.example.more", fmt.Sprint(n))
	}
	i.Attach(i.Children()[3], "application/vnd.example", "on an attestation manifest")
	i.AttachIndex(i.Root, "application/vnd.example.tree", "an index")
	return i
}

// TestAttachments: from every kind of registry to every kind, everything arrives,
// is findable in the target's way, and a second run has nothing to do.
func TestAttachments(t *testing.T) {
	long(t)
	for _, test := range []struct {
		source, target bool
		page           int64
	}{{false, false, 0}, {false, true, 0}, {true, false, 0}, {true, true, 0}, {true, false, 900}, {true, true, 900}} {
		t.Run(fmt.Sprintf("API at source %v at target %v pages of %d", test.source, test.target, test.page), func(t *testing.T) {
			if test.source == test.target {
				long(t)
			}
			t.Parallel()
			source := regtest.Serve(t, regtest.Options{Referrers: test.source, ReferrersPage: test.page})
			target := regtest.Serve(t, regtest.Options{Referrers: test.target, ReferrersPage: test.page})
			i := decorated()
			push(t, i, source, "acme/app", "dev")
			r := request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")
			d := run(t, r)
			expect(t, d, document.Promoted)
			expectTag(t, d, ":production", document.TagMoved, "", i.Root)
			complete(t, source, "acme/app", "dev", target, "prod/app", "production")
			if n := attachmentsOf(i); len(d.Promotions[0].Attachments) != n {
				t.Errorf("%d attachments in the report, want %d", len(d.Promotions[0].Attachments), n)
			}
			if tree := read(t, target, "prod/app", "production"); tree.HasAPI != test.target {
				t.Error("the target's API is not as it was to be")
			}

			target.ResetRequests()
			d = run(t, r)
			expect(t, d, document.Unchanged)
			expectTag(t, d, ":production", document.TagUnchanged, i.Root, i.Root)
			untouched(t, target)
			untouched(t, source)
		})
	}
}

func attachmentsOf(i *regtest.Image) (n int) {
	for _, m := range i.Manifests {
		if m.Tag != "" || m.Subject != "" {
			n++
		}
	}
	return n
}

// TestAttachmentsReported: what is attached to what.
func TestAttachmentsReported(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm/v7"}, Provenance: true})
	referrer := i.Attach(i.Root, "application/vnd.example", "x")
	signature := i.Sign(i.Root, ".sig", "x")
	push(t, i, source, "acme/app", "dev")
	d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"))
	p := d.Promotions[0]
	for _, want := range []document.Attachment{
		{Digest: referrer, Subject: i.Root, ArtifactType: "application/vnd.example"},
		{Digest: signature, Subject: i.Root, Tag: digestTag(i.Root, ".sig"), ArtifactType: "application/vnd.oci.image.config.v1+json"},
	} {
		found := false
		for _, a := range p.Attachments {
			found = found || a == want
		}
		if !found {
			t.Errorf("no %+v in %+v", want, p.Attachments)
		}
	}
	if strings.Join(p.Platforms, " ") != "linux/amd64 linux/arm/v7" || p.Verified != "blobs" || p.Digest != i.Root || p.Source.Tag != "dev" {
		t.Errorf("promotion %+v", p)
	}
	if p.Content.Manifests != len(i.Manifests) || p.Content.Blobs != len(i.Blobs) || p.Content.Bytes != i.Size() {
		t.Errorf("content %+v, want %d manifests and %d blobs of %d bytes", p.Content, len(i.Manifests), len(i.Blobs), i.Size())
	}
}

func TestAttachmentsNone(t *testing.T) {
	long(t)
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := decorated()
	push(t, i, source, "acme/app", "dev")
	r := request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")
	r.Attachments = false
	d := run(t, r)
	expect(t, d, document.Promoted)
	if tree := read(t, target, "prod/app", "production").Without(inToto); len(tree.Nodes) != 5 || len(tree.DigestTags) != 0 {
		t.Errorf("%d manifests and tags %v at the target", len(tree.Nodes), tree.DigestTags)
	}
	// Later they come after.
	r.Attachments = true
	target.ResetRequests()
	d = run(t, r)
	expect(t, d, document.Promoted)
	expectTag(t, d, ":production", document.TagUnchanged, i.Root, i.Root)
	complete(t, source, "acme/app", "dev", target, "prod/app", "production")
}

// TestStaleEntries: what a list names and is gone is told and left out; what does
// not name the image is not attached to it.
func TestStaleEntries(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{Delete: true}), regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Seed: "stale"})
	gone := i.Attach(i.Root, "application/vnd.example", "gone")
	kept := i.Attach(i.Root, "application/vnd.example", "kept")
	push(t, i, source, "acme/app", "dev")
	if err := regtest.DeleteManifest(t.Context(), source.Access("", ""), "acme/app", gone); err != nil {
		t.Fatal(err)
	}
	d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"))
	expect(t, d, document.Promoted)
	if len(d.Notices) != 1 || !strings.Contains(d.Notices[0], gone) || !strings.Contains(d.Notices[0], "is gone") {
		t.Errorf("notices %q", d.Notices)
	}
	tree := read(t, target, "prod/app", "production").Without(inToto)
	if got := tree.Referrers(i.Root); len(got) != 1 || got[0] != kept {
		t.Errorf("attached at the target: %v, want %s", got, kept)
	}
}

// TestImageUnderItsOwnFallbackTag, as "cosign copy" leaves it and GitLab answers:
// its children are no attachments, at the source and at the target.
func TestImageUnderItsOwnFallbackTag(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}})
	attached := i.Attach(i.Children()[0], "application/vnd.example", "x")
	push(t, i, source, "acme/app", "dev", digestTag(i.Root, ""))
	push(t, regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}}), target, "prod/app", digestTag(i.Root, ""))
	child := digestTag(i.Children()[0], "")
	if err := regtest.PutTag(t.Context(), target.Access("", ""), "prod/app", child, i.Children()[0]); err != nil {
		t.Fatal(err)
	}
	d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"))
	expect(t, d, document.Promoted)
	if len(d.Notices) > 0 || len(d.Promotions[0].Attachments) != 1 {
		t.Errorf("notices %q, attachments %v", d.Notices, d.Promotions[0].Attachments)
	}
	complete(t, source, "acme/app", "dev", target, "prod/app", "production")
	if got := read(t, target, "prod/app", "production").Fallback[i.Children()[0]]; len(got) != 1 || got[0] != attached {
		t.Errorf("listed %v", got)
	}
}

// TestFallbackTagThatIsTaken: the tag is not overwritten, and no tag moves.
func TestFallbackTagThatIsTaken(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{})
	i.Attach(i.Root, "application/vnd.example", "x")
	other := regtest.Build(regtest.Spec{Seed: "other"})
	push(t, i, source, "acme/app", "dev")
	push(t, other, target, "prod/app", digestTag(i.Root, ""), "production")
	d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"))
	faulted(t, d, document.Failed, digestTag(i.Root, ""), "something other than a list", "reserved")
	expectTag(t, d, ":production", document.TagPending, other.Root, other.Root)
	for _, tag := range []string{"production", digestTag(i.Root, "")} {
		if got := holds(t, target, "prod/app", tag); got != other.Root {
			t.Errorf("%s holds %s", tag, got)
		}
	}
}

// TestFallbackTagIsMerged: lines of others at the target stay.
func TestFallbackTagIsMerged(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	ours, theirs := regtest.Build(regtest.Spec{}), regtest.Build(regtest.Spec{})
	a := ours.Attach(ours.Root, "application/vnd.example", "ours")
	b := theirs.Attach(theirs.Root, "application/vnd.example", "theirs")
	push(t, ours, source, "acme/app", "dev")
	push(t, theirs, target, "prod/app", "old")
	expect(t, run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")), document.Promoted)
	got := read(t, target, "prod/app", "production").Without(inToto).Fallback[ours.Root]
	if len(got) != 2 || !strings.Contains(strings.Join(got, " "), a) || !strings.Contains(strings.Join(got, " "), b) {
		t.Errorf("listed %v, want %s and %s", got, a, b)
	}
}

// TestAnotherSBOM is refused before anything is written but an empty ledger.
func TestAnotherSBOM(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	ours, theirs := regtest.Build(regtest.Spec{}), regtest.Build(regtest.Spec{})
	ours.Sign(ours.Root, ".sbom", "ours")
	theirs.Sign(theirs.Root, ".sbom", "theirs")
	push(t, ours, source, "acme/app", "dev")
	push(t, theirs, target, "prod/app", "old")
	d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"))
	faulted(t, d, document.Failed, digestTag(ours.Root, ".sbom"), "another SBOM", "neither is overwritten")
	if len(d.Faults) != 1 {
		t.Errorf("faults %+v", d.Faults)
	}
	if w := reservedWrites(target); slices.ContainsFunc(w, func(w string) bool { return w != "ledger" }) {
		t.Errorf("written %q", w)
	}
	if all := rows(t, target, "prod/app", "production"); len(all) > 0 {
		t.Errorf("entries %v", all)
	}
}

// TestSignaturesAreMerged end to end, with the tag moved last.
func TestSignaturesAreMerged(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	ours, theirs := regtest.Build(regtest.Spec{}), regtest.Build(regtest.Spec{})
	ours.Sign(ours.Root, ".sig", "ours")
	theirs.Sign(theirs.Root, ".sig", "theirs")
	push(t, ours, source, "acme/app", "dev")
	push(t, theirs, target, "prod/app", "old")
	r := request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")
	d := run(t, r)
	expect(t, d, document.Promoted)
	tree := read(t, target, "prod/app", "production")
	merged := tree.Nodes[tree.DigestTags[digestTag(ours.Root, ".sig")]]
	if merged == nil || len(merged.Blobs) != 3 { // configuration and two layers
		t.Fatalf("merged %+v", merged)
	}
	target.ResetRequests()
	expect(t, run(t, r), document.Unchanged)
	untouched(t, target)
}
