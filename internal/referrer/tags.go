package referrer

import (
	"context"
	"sync"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
)

// tagList is the repository's list of tags as one answer gave it.
type tagList struct {
	turn queue.Turn
	done bool
	tags map[string]bool
	all  bool // they are every tag of the repository
}

// ask asks once. What it finds may be looked at after that, even if the context
// ended meanwhile: nothing is known then.
func (l *tagList) ask(ctx context.Context, repo *registry.Repository) (tags map[string]bool, all bool) {
	if l.turn.Take(ctx) != nil {
		return nil, false
	}
	defer l.turn.Give()
	if l.done {
		return l.tags, l.all
	}
	l.done = true
	list, all, err := repo.Tags(ctx)
	if err != nil {
		return nil, false // a token may allow pulling and not listing: every tag is then asked for
	}
	l.all = all
	l.tags = make(map[string]bool, len(list))
	for _, t := range list {
		l.tags[t] = true
	}
	return l.tags, l.all
}

// Prepare lists the tags before the first question that needs to know them.
func (f *Finder) Prepare(ctx context.Context) {
	if f.prepared.Load() {
		return
	}
	var work sync.WaitGroup
	for n := range f.lists {
		work.Go(func() { f.lists[n].ask(ctx, f.repo) })
	}
	work.Wait()
	f.prepared.Store(ctx.Err() == nil)
}

// mayExist is false only for a tag that neither of two complete lists shows. No
// digest protects a list: one that was damaged on the way, or comes from a copy
// of the registry that lags behind, would hide an attachment.
func (f *Finder) mayExist(ctx context.Context, tag string) bool {
	f.Prepare(ctx)
	for n := range f.lists {
		if tags, all := f.lists[n].ask(ctx, f.repo); !all || tags[tag] {
			return true
		}
	}
	return false
}

// Empty reports whether the repository is known to have had no tag when it was
// first asked. No damage makes a list of tags an empty one, so one is enough.
func (f *Finder) Empty(ctx context.Context) bool {
	tags, all := f.lists[0].ask(ctx, f.repo)
	return all && len(tags) == 0
}
