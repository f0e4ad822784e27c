package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// judgeDeny asks that neither the image nor anything that belongs to it is denied.
func (p Policy) judgeDeny(e Evidence) []document.Verdict {
	if len(p.Deny) == 0 {
		return nil
	}
	var denied []string
	for _, d := range p.Deny {
		if what := e.Image.holds(d.Digest); what != "" {
			denied = append(denied, fmt.Sprintf("%s (%s) is denied%s", what, plain(d.Digest), because(d.Reason)))
		}
	}
	switch {
	case len(denied) > 0:
		return fail(Deny, strings.Join(firstFew(denied), "; ")+"; promote an image without it")
	case len(e.Image.Digests) == 0:
		return unknown(Deny, "what belongs to the image is not known, so that it cannot be compared with what is denied")
	}
	return pass(Deny, fmt.Sprintf("nothing of it is denied (%s, %s)", count(len(e.Image.Digests), "digest"), count(len(p.Deny), "denial")))
}

// holds says what of the image has a digest; empty: nothing has.
func (i Image) holds(digest string) string {
	if strings.EqualFold(digest, i.Digest) {
		return "the image"
	}
	for _, v := range i.Variants {
		if strings.EqualFold(digest, v.Digest) {
			return "the image" + v.where()
		}
	}
	if slices.ContainsFunc(i.Digests, func(d string) bool { return strings.EqualFold(d, digest) }) {
		return "a part of the image: a layer, a configuration or an attachment"
	}
	return ""
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + plain(reason)
}
