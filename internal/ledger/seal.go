package ledger

import (
	"encoding/hex"
	"fmt"
)

// seal stands for a set of records by their tags, in any order: so that a run need
// not read older parts only to see that none of their records is missing. It holds
// against accidents; against intent there is the chain.
type seal struct {
	count int
	sum   [hexID / 2]byte
}

// with is the seal with more record tags; one that is not known is counted alone.
func (s seal) with(tags []string) seal {
	for _, tag := range tags {
		s.count++
		if len(tag) < hexID {
			continue
		}
		id, _ := hex.DecodeString(tag[len(tag)-hexID:])
		for i := range id {
			s.sum[i] ^= id[i]
		}
	}
	return s
}

func (s seal) String() string { return fmt.Sprintf("%d-%x", s.count, s.sum) }

// readSeal reads a seal; what is none is the seal of nothing.
func readSeal(text string) seal {
	var s seal
	var sum []byte
	if _, err := fmt.Sscanf(text, "%d-%x", &s.count, &sum); err != nil || len(sum) != len(s.sum) {
		return seal{}
	}
	copy(s.sum[:], sum)
	return s
}

// recordTags are those that the part's lines name.
func (p *Page) recordTags() []string {
	var tags []string
	for _, e := range p.entries {
		tags = append(tags, e.RecordTag)
	}
	return tags
}
