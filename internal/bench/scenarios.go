package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// scenario is what is asked of the tools. The targets of two runs differ, so that
// each starts from the same state; again and tag come after the run of cross.
type scenario struct {
	name, title string
	at          place
	mode        string    // of ours; empty: promote
	env         []string  // of ours, besides; not nil: not as users run it
	holds       []holding // at the source
	tools       []string  // who takes part; empty: all
	once        []string  // who of them runs once only, because it takes long
	pairs       func(s site, attempt string) []pair
}

// place is a pair of registries.
type place string

const (
	far   place = "far"   // behind the network, with TLS
	near  place = "near"  // without a network, and hollow: for the large layer; with TLS
	plain place = "plain" // behind the network, without TLS; the same content as far
)

// holding is a number of images, each in a repository of its own.
type holding struct {
	count      int
	repository func(n int) string
	image      func(n int) *regtest.Image
}

// one is a scenario of one image that everybody copies.
func one(name, title string, holds []holding, pairs func(s site, attempt string) pair) scenario {
	return scenario{name: name, title: title, at: far, holds: holds, pairs: func(s site, attempt string) []pair {
		return []pair{pairs(s, attempt)}
	}}
}

func referenceAt(repository string) []holding {
	return []holding{{1, func(int) string { return repository }, func(int) *regtest.Image { return regtest.ReferenceImage() }}}
}

var reference = referenceAt("acme/app")

func app(s site) string { return s.source.host + "/acme/app:dev" }

var oneImage = []scenario{
	one("cross", "cross-registry", reference, func(s site, attempt string) pair {
		return pair{app(s), s.target.host + "/" + attempt + ":prod"}
	}),
	one("again", "again, nothing to do", reference, func(s site, attempt string) pair {
		return pair{app(s), s.target.host + "/" + attempt + ":prod"}
	}),
	one("tag", "all there, a new tag", reference, func(s site, attempt string) pair {
		return pair{app(s), s.target.host + "/" + attempt + ":next"}
	}),
	// In a repository of its own: each of our runs attaches a record to the image, which the other cases would carry.
	one("retag", "retag in one repository", referenceAt("acme/tagged"), func(s site, attempt string) pair {
		return pair{s.source.host + "/acme/tagged:dev", s.source.host + "/acme/tagged:" + tagOf(attempt)}
	}),
	one("mount", "other repository, same registry", reference, func(s site, attempt string) pair {
		return pair{app(s), s.source.host + "/" + attempt + ":prod"}
	}),
}

var scenarios = slices.Concat(oneImage, []scenario{
	{
		name: "many", title: "40 images", at: far, holds: services(40), pairs: toOwn("many", 40, service, "prod"),
		tools: []string{us, crane, regctlEverything},
		once:  []string{regctlEverything},
	},
	{name: "plan", title: "a plan of 40 images", at: far, mode: "plan", holds: services(40), pairs: toOwn("plan", 40, service, "prod"), tools: []string{us}},
	{name: "plan-again", title: "a plan of 40 images that are there", at: far, mode: "plan", holds: services(40), pairs: toOwn("many", 40, service, "prod"), tools: []string{us}},
	{name: "crowd", title: "200 images", at: far, holds: services(200), pairs: toOwn("crowd", 200, service, "prod"), tools: []string{us}, once: []string{us}},
	{
		name: "crowd-free", title: "200 images, without the limit of memory", at: far, env: []string{"GOMEMLIMIT=1TiB"},
		holds: services(200), pairs: toOwn("crowd-free", 200, service, "prod"), tools: []string{us}, once: []string{us},
	},
	{
		name: "layer", title: "one large layer", at: near,
		tools: []string{us, crane, "skopeo copy --all", "oras cp", "regctl image copy"},
		pairs: func(s site, attempt string) []pair {
			return []pair{{s.source.host + "/acme/large:dev", s.target.host + "/" + attempt + ":prod"}}
		},
	},
	shared(1), shared(10), shared(100),
}, overPlainHTTP(oneImage))

// overPlainHTTP are cases again, without TLS, for those whom the bars speak of.
func overPlainHTTP(cases []scenario) []scenario {
	again := slices.Clone(cases)
	for i := range again {
		again[i].name, again[i].at = plainName(again[i].name), plain
		again[i].tools = []string{us, crane, regctl, regctlEverything}
	}
	return again
}

func plainName(name string) string { return "plain-" + name }

func caseNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// services are what a release of many services looks like: each has a repository,
// two platforms of five layers of 256 KiB, all its own, and every attachment of
// the reference image.
func services(count int) []holding {
	return []holding{{count, service, func(n int) *regtest.Image {
		return regtest.BuildAttested(regtest.Spec{
			Seed: service(n), Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 5, LayerSize: 256 << 10, Provenance: true,
		})
	}}}
}

func service(n int) string { return fmt.Sprintf("acme/service-%03d", n) }

// toOwn gives each image a target repository of its own, with the tags.
func toOwn(name string, count int, repository func(int) string, tags ...string) func(s site, attempt string) []pair {
	return func(s site, attempt string) (all []pair) {
		for n := range count {
			for _, tag := range tags {
				all = append(all, pair{s.source.host + "/" + repository(n) + ":dev", fmt.Sprintf("%s/%s/%s/%03d:%s", s.target.host, name, attempt, n, tag)})
			}
		}
		return all
	}
}

// sharing are the numbers of images of which the cost by unique blobs is shown.
var sharing = []int{1, 10, 100}

// shared is a number of images on one base: four layers that all platforms
// of all images have, and one for each platform of each, all of 1 MiB. Each
// goes to a repository of its own, under two tags.
func shared(count int) scenario {
	name := sharedName(count)
	return scenario{
		name: name, title: fmt.Sprintf("%d on one base", count), at: far, tools: []string{us}, once: []string{us},
		holds: []holding{{count, onBase, imageOnBase}}, pairs: toOwn(name, count, onBase, "prod", "stable"),
	}
}

func sharedName(count int) string { return fmt.Sprintf("shared-%d", count) }

func onBase(n int) string { return fmt.Sprintf("acme/shared-%03d", n) }

func imageOnBase(n int) *regtest.Image {
	return regtest.Build(regtest.Spec{
		Seed: onBase(n), Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 5, LayerSize: 1 << 20,
		Base: "acme/base", BaseLayers: 4,
	})
}

func tagOf(attempt string) string { return "prod-" + strings.ReplaceAll(attempt, "/", "-") }
