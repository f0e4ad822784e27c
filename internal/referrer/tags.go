package referrer

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
)

// tagList is the repository's list of tags as it was once given.
type tagList struct {
	turn queue.Turn
	done bool
	tags map[string]bool
	all  bool // they are every tag of the repository
	err  error
}

// ask asks once. What it finds may be looked at after that, even if the context
// ended meanwhile: nothing is known then. Nor is it after an error: a token may allow
// pulling and not listing, and every tag is then asked for.
func (l *tagList) ask(ctx context.Context, list func(context.Context) ([]string, bool, error)) (tags map[string]bool, all bool, err error) {
	if err := l.turn.Take(ctx); err != nil {
		return nil, false, err
	}
	defer l.turn.Give()
	if l.done {
		return l.tags, l.all, l.err
	}
	l.done = true
	found, all, err := list(ctx)
	if l.err = err; err != nil {
		return nil, false, err
	}
	l.all = all
	l.tags = make(map[string]bool, len(found))
	for _, t := range found {
		l.tags[t] = true
	}
	return l.tags, l.all, nil
}

// Tags are those of the repository, in order, as they were when it was first asked for
// them, and whether they are all. Only where one answer did not give them all, or did
// not come within seconds, are they asked for again, page by page and with patience.
func (f *Finder) Tags(ctx context.Context) (tags []string, all bool, err error) {
	found, all, err := f.lists[0].ask(ctx, f.repo.FirstTags)
	if ctx.Err() == nil && (err != nil && !registry.IsRefusal(err) || err == nil && !all) {
		found, all, err = f.paged.ask(ctx, f.repo.Tags)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	tags = slices.AppendSeq(slices.Collect(maps.Keys(found)), maps.Keys(f.added))
	slices.Sort(tags)
	return slices.Compact(tags), all, err
}

// SlowList is why the list of tags was done without, if it failed for trouble that may
// pass: nil also where the registry has none, or does not let it be read.
func (f *Finder) SlowList(ctx context.Context) error {
	if !f.prepared.Load() {
		return nil
	}
	if _, _, err := f.lists[0].ask(ctx, f.repo.FirstTags); err != nil && !registry.IsRefusal(err) {
		return err
	}
	return nil
}

// Wrote notes a tag that Tags is to show, as it may have been written since.
func (f *Finder) Wrote(tag string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.added[tag] = true
}

// Prepare lists the tags before the first question that needs to know them.
func (f *Finder) Prepare(ctx context.Context) {
	if f.prepared.Load() {
		return
	}
	var work sync.WaitGroup
	for n := range f.lists {
		work.Go(func() { _, _, _ = f.lists[n].ask(ctx, f.repo.FirstTags) })
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
		if tags, all, _ := f.lists[n].ask(ctx, f.repo.FirstTags); !all || tags[tag] {
			return true
		}
	}
	return false
}

// Empty reports whether the repository is known to have had no tag when it was
// first asked. No damage makes a list of tags an empty one, so one is enough.
func (f *Finder) Empty(ctx context.Context) bool {
	tags, all, _ := f.lists[0].ask(ctx, f.repo.FirstTags)
	return all && len(tags) == 0
}
