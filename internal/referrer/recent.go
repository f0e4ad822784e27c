package referrer

import (
	"context"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// list is what a fallback tag held.
type list struct {
	referrers []v1.Descriptor
	manifest  *registry.Manifest
	err       error
	at        time.Time // when it was written, or its reading began
	wrote     bool      // by this run, which is yet to read it again
}

// freshTime is how long a list is taken to be what it was, so that it is not read before it is
// written.
const freshTime = time.Second

func (l *list) isFresh() bool { return l != nil && time.Since(l.at) < freshTime }

// Listed is what the referrers API lists for a subject. Where there seems to be a
// fallback list, there is no API, which is not waited for: nothing is then listed. Nobody
// keeps such a list free of what is gone, as a registry does its own.
func (f *Finder) Listed(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	if f.support() != yes && f.seemsListed(ctx, subject) {
		return nil, nil
	}
	return f.listed(ctx, subject)
}

// SupportsAPI reports whether the registry has the referrers API. Where a fallback list of the subject
// seems to be there, it has none, which costs no request.
func (f *Finder) SupportsAPI(ctx context.Context, subject v1.Hash) (bool, error) {
	if f.support() == unknown && f.seemsListed(ctx, subject) {
		return false, nil
	}
	return f.HasAPI(ctx, subject)
}

// ListTags lists the tags, for [Finder.Tagged] and [Finder.Listed], which then need not wait for that.
func (f *Finder) ListTags(ctx context.Context) { _, _, _ = f.lists[0].ask(ctx, f.repo.FirstTags) }

// Tagged are the tags of cosign's scheme that the repository's list shows for digests.
func (f *Finder) Tagged(ctx context.Context, digests ...v1.Hash) (names []string) {
	tags, _, _ := f.lists[0].ask(ctx, f.repo.FirstTags)
	for _, digest := range digests {
		for _, suffix := range Suffixes {
			if name := FallbackTag(digest) + suffix; tags[name] {
				names = append(names, name)
			}
		}
	}
	return names
}

// seemsListed reports whether the repository's list of tags shows a fallback tag.
func (f *Finder) seemsListed(ctx context.Context, subject v1.Hash) bool {
	tags, _, _ := f.lists[0].ask(ctx, f.repo.FirstTags)
	return tags[FallbackTag(subject)]
}
