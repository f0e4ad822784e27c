package promote_test

import (
	"flag"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

var allVendors = flag.Bool("all-vendors", false, "cut, kill and race at every vendor of these tests, not only at one in rotation")

// vendorsCut are the vendors at which promotions are cut, killed and raced: two without the referrers API and two with
// it, which take all that the program keeps in a registry.
var vendorsCut = map[bool][]string{
	false: {"ghcr-new", "late"},
	true:  {"quay", "acr"},
}

// vendorsFor are those with the referrers API or without it for the n-th case of a test: one of them, or all.
func vendorsFor(api bool, n int) []string {
	if *allVendors {
		return vendorsCut[api]
	}
	return vendorsCut[api][n%len(vendorsCut[api]):][:1]
}

// lateAsOutside are the vendors where tags are seen as late as was seen outside: for tests in bubbles, whose time costs
// nothing.
var lateAsOutside = []string{"late", "late by 5s", "late by 15s"}

// vendorsInBubble are vendorsFor, with tags that are seen late by as much as outside.
func vendorsInBubble(api bool, n int) (all []string) {
	for _, vendor := range vendorsFor(api, n) {
		switch {
		case vendor != "late":
			all = append(all, vendor)
		case *allVendors:
			all = append(all, lateAsOutside...)
		default:
			all = append(all, lateAsOutside[n/2%len(lateAsOutside)])
		}
	}
	return all
}

// traitsOf are the ways of a vendor; none has none. Tags are seen late by as much as is seen outside too.
func traitsOf(vendor string) []regtest.Trait {
	if by, ok := strings.CutPrefix(vendor, "late by "); ok {
		after, err := time.ParseDuration(by)
		if err != nil {
			panic(err)
		}
		return []regtest.Trait{regtest.TagsLate(after)}
	}
	v, ok := regtest.FindVendor(vendor)
	if !ok && vendor != "" {
		panic("no vendor is called " + vendor)
	}
	return v.Traits
}

// atVendors is the settings at the vendors that their targets may be, each under a name of its own.
func atVendors(settings []setting, vendors func(api bool, n int) []string) (all []setting) {
	for n, s := range settings {
		for _, vendor := range vendors(s.atTarget(), n) {
			s := s
			s.name, s.vendor = s.name+" at "+vendor, vendor
			all = append(all, s)
		}
	}
	return all
}

// atTarget says whether the target has the referrers API.
func (s setting) atTarget() bool { return s.inside && s.sourceAPI || !s.inside && s.targetAPI }
