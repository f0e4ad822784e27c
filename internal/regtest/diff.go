package regtest

import (
	"fmt"
	"maps"
	"slices"
)

// Diff says what is in a and is missing or different in b, one sentence each: none when b has all of a. A referrer
// must be found in b by the API where b's registry has it, and by the fallback tag otherwise.
func Diff(a, b *Tree) []string {
	var lines []string
	say := func(format string, values ...any) { lines = append(lines, fmt.Sprintf(format, values...)) }
	if a.Root != b.Root {
		say("root is %s, was %s", b.Root, a.Root)
	}
	for _, digest := range slices.Sorted(maps.Keys(a.Nodes)) {
		diffNode(a.Nodes[digest], b.Nodes[digest], say)
	}
	for _, digest := range slices.Sorted(maps.Keys(a.Blobs)) {
		if _, ok := b.Blobs[digest]; !ok {
			say("blob %s is missing", digest)
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(a.Nodes)) {
		for _, digest := range a.Referrers(subject) {
			if !slices.Contains(b.findable(subject), digest) {
				say("referrer %s of %s is not listed", digest, subject)
			}
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(a.DigestTags)) {
		if got := b.DigestTags[tag]; got != a.DigestTags[tag] {
			say("tag %s is %q, was %s", tag, got, a.DigestTags[tag])
		}
	}
	return lines
}

func diffNode(a, b *Node, say func(string, ...any)) {
	switch {
	case b == nil:
		say("manifest %s (%s) is missing", a.Digest, a.MediaType)
	case a.MediaType != b.MediaType:
		say("manifest %s is of type %s, was %s", a.Digest, b.MediaType, a.MediaType)
	}
}

// findable lists the referrers that a client of this registry would see.
func (t *Tree) findable(subject string) []string {
	if t.HasAPI {
		return t.Listed[subject]
	}
	return t.Fallback[subject]
}
