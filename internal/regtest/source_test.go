package regtest

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// address is where a report can be read: a page, an issue or a pull request, or a section of an RFC. A note may follow.
var address = regexp.MustCompile(`^(https://[a-z0-9.-]+/\S+|[A-Za-z0-9-]+/[A-Za-z0-9._-]+#[0-9]+|RFC [0-9]+, section [0-9]+(\.[0-9]+)*)( \([^();]+\))?$`)

// TestSources: each trait says where it was reported, in addresses that a reader can follow and nothing else.
func TestSources(t *testing.T) {
	all := Others()
	for _, v := range Vendors {
		all = append(all, v.Traits...)
	}
	for _, trait := range all {
		for part := range strings.SplitSeq(trait.Source, "; ") {
			if !address.MatchString(part) {
				t.Errorf("%s: %q is no address", trait.Name, part)
			}
		}
	}
}

// TestSourcesAreTheVendors holds that what is said of one vendor is not vouched for by another's page.
func TestSourcesAreTheVendors(t *testing.T) {
	of := map[string]string{} // a source's vendor
	for _, v := range Vendors {
		vendor, _, _ := strings.Cut(v.Name, "-")
		if slices.Contains([]string{"proxy", "cdn", "no", "late", "racy"}, vendor) { // no vendors
			continue
		}
		for _, trait := range v.Traits {
			if !slices.Contains([]string{"referrers API", "no referrers API", "Basic"}, trait.Name) {
				continue
			}
			if of[trait.Source] != "" && of[trait.Source] != vendor {
				t.Errorf("%s and %s have one source for %q: %s", of[trait.Source], vendor, trait.Name, trait.Source)
			}
			of[trait.Source] = vendor
		}
	}
	if len(of) < 14 {
		t.Errorf("found %d sources", len(of))
	}
}

func TestAddress(t *testing.T) {
	for text, good := range map[string]bool{
		"goharbor/harbor#17332":              true,
		"docker/hub-feedback#2307 (404)":     true,
		"https://oras.land/docs/x":           true,
		"RFC 9110, section 9.2.2":            true,
		"https://gitlab.com/a/b (seen once)": true,
		"":                                   false,
		"#15885":                             false,
		"RFC 9110":                           false,
		"reports on Harbor":                  false,
		"Harbor: goharbor/harbor#17332":      false,
		"goharbor/harbor#17332 and others":   false,
		"http://oras.land/docs":              false,
		"https://oras.land":                  false,
	} {
		if address.MatchString(text) != good {
			t.Errorf("%q: %v, want %v", text, !good, good)
		}
	}
}
