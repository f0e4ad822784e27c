package referrer

import (
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxNotices is how many notices are kept.
const maxNotices = 20

// Notices are what was left out of lists, and what the registry cannot do, in order.
func (f *Finder) Notices() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.notices))
}

func (f *Finder) notice(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.notices) < maxNotices {
		f.notices[text] = true
	}
}

// leaveOut notices the entries of a list that cannot be read.
func (f *Finder) leaveOut(subject v1.Hash, odd []string) {
	for _, name := range odd {
		f.notice(fmt.Sprintf("An entry of what is attached to %s in %s cannot be read (%q): it is left out.", subject, f.repo.Name(), name))
	}
}

// listNothing notes that the registry keeps no list of what is attached to an image.
// GitLab takes the tag of such a list for the image of that digest: a write to it is
// answered with 201 and changes nothing, or with 400 DIGEST_INVALID (oras-go#1396,
// oras#2148).
func (f *Finder) listNothing() {
	f.mu.Lock()
	f.unlisting = true
	f.mu.Unlock()
	f.notice(fmt.Sprintf("%s cannot list what is attached to an image: attachments are stored there by their digests, and tools find only those with a tag (cosign's).", f.repo.Name()))
}

func (f *Finder) cannotList() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unlisting
}
