package promote_test

import (
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// applying asks for exactly what a plan says, as it was read.
func applying(t testing.TB, plan document.Plan) promote.Request {
	t.Helper()
	read, err := document.ParsePlan(plan.Encode())
	if err != nil {
		t.Fatal(err)
	}
	var items []promote.Item
	for _, p := range read.Promotions {
		i := promote.Item{Image: p.Image, Source: promote.Source{Text: p.Source.Reference, Repository: repository(t, p.Source.Repository), Tag: p.Source.Tag, Digest: pinned(t, p.Digest)}}
		target := promote.Target{Repository: repository(t, p.Repository)}
		for _, tag := range p.Tags {
			parsed, err := template.Parse(tag.Name)
			if err != nil {
				t.Fatal(err)
			}
			target.Tags = append(target.Tags, promote.Tag{Template: parsed, Fixed: tag.Fixed, Pinned: true, Before: pinned(t, tag.Before)})
		}
		i.Targets = []promote.Target{target}
		items = append(items, i)
	}
	r := requestOf(items...)
	r.Mode, r.Plan = promote.Apply, &read
	r.Attachments, r.Verify = read.Attachments, transfer.Level(read.Verify)
	r.Settling = settle
	return r
}

func repository(t testing.TB, text string) name.Repository {
	t.Helper()
	r, err := name.NewRepository(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pinned(t testing.TB, digest string) v1.Hash {
	t.Helper()
	if digest == "" {
		return v1.Hash{}
	}
	h, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
