package ledger

import "slices"

// maxSlots is the most rollback targets that tags of their own keep.
const maxSlots = 100

// Keep chooses the slot for an image that is about to be replaced, which then is a rollback target.
// Slots are used in turn. It is not needed where a fixed tag of the ledger or a slot has the image
// already.
func Keep(entries []Entry, digest string, slots int) (k Kept, needed bool) {
	if digest == "" || slots <= 0 {
		return Kept{}, false
	}
	used := map[int]string{}
	last := 0
	for _, e := range entries {
		if e.Fault != "" {
			continue
		}
		if e.Kept.Slot > 0 {
			used[e.Kept.Slot], last = e.Kept.Digest, e.Kept.Slot
		}
		fixed := slices.ContainsFunc(e.Tags, func(t Tag) bool { return t.Fixed && t.After == digest })
		if fixed && e.State().Good() {
			return Kept{}, false
		}
	}
	for slot, kept := range used {
		if kept == digest && slot <= slots {
			return Kept{}, false
		}
	}
	return Kept{Slot: last%slots + 1, Digest: digest}, true
}
