package referrer

import (
	"context"
	"sync"
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

// freshTime is how long a list is taken to be what it was, so that it is not read before
// it is written. A reading before a write is as old as that.
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

// ReadAhead begins to read a subject's list, for an [Finder.Attach] that follows at
// once, where the registry has no referrers API. Where there seems to be a list, it does
// not wait to hear whether there is an API. The channel is closed when it is done.
func (f *Finder) ReadAhead(ctx context.Context, subject v1.Hash) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var g sync.WaitGroup
		if f.support() == unknown && f.seemsListed(ctx, subject) {
			g.Go(func() { f.readAhead(ctx, subject) })
		}
		api, err := f.HasAPI(ctx, subject)
		g.Wait()
		if !api && err == nil {
			f.readAhead(ctx, subject)
		}
	}()
	return done
}

// seemsListed reports whether the repository's list of tags shows a fallback tag.
func (f *Finder) seemsListed(ctx context.Context, subject v1.Hash) bool {
	tags, _, _ := f.lists[0].ask(ctx, f.repo.FirstTags)
	return tags[FallbackTag(subject)]
}

// readAhead reads a list that has not just been read, and keeps it for who writes it.
func (f *Finder) readAhead(ctx context.Context, subject v1.Hash) {
	f.mu.Lock()
	written, known := f.written[subject], f.ahead[subject].isFresh()
	f.mu.Unlock()
	if known {
		return
	}
	l := &list{at: time.Now()}
	if written || !f.Empty(ctx) {
		l.referrers, l.manifest, l.err = f.fallback(ctx, f.repo.Uncached(), subject)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.err == nil {
		f.ahead[subject] = l
	}
}

// takeAhead is what was just read of a subject's list; nil if nothing was.
func (f *Finder) takeAhead(subject v1.Hash) *list {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.ahead[subject]
	delete(f.ahead, subject)
	if !l.isFresh() {
		return nil
	}
	return l
}
