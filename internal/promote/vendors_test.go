package promote_test

import (
	"flag"

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

// traitsOf are the ways of a vendor; none has none.
func traitsOf(vendor string) []regtest.Trait {
	v, ok := regtest.FindVendor(vendor)
	if !ok && vendor != "" {
		panic("no vendor is called " + vendor)
	}
	return v.Traits
}

// atVendors is the settings at the vendors that their targets may be, each under a name of its own.
func atVendors(settings []setting) (all []setting) {
	for n, s := range settings {
		for _, vendor := range vendorsFor(s.atTarget(), n) {
			s := s
			s.name, s.vendor = s.name+" at "+vendor, vendor
			all = append(all, s)
		}
	}
	return all
}

// atTarget says whether the target has the referrers API.
func (s setting) atTarget() bool { return s.inside && s.sourceAPI || !s.inside && s.targetAPI }
