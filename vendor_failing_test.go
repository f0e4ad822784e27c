package main

import (
	"slices"
	"strings"
)

// unfit are scenarios that the vendor itself makes impossible: what it refuses to hold, or forgets, cannot be promoted.
var unfit = slices.Concat(unfitAtOne, onEach(
	`acr acr-immutable artifactory artifactory-immutable ecr ecr-immutable gar harbor harbor-immutable harbor-replicas quay racy zot`, failing{
		scenarios: `attachments_fallback_merged`,
		why:       "The registry has the referrers API: the scenario is about the list that stands in for it.",
		shows:     "read manifest sha256-.*MANIFEST_UNKNOWN",
	},
), onEach(
	`acr-immutable artifactory-immutable dockerhub-immutable ecr-immutable harbor-immutable nexus-immutable`, failing{
		scenarios: `soak`,
		why:       "The scenario dates a ledger back, which means to write its tag again, and the tag is immutable.",
		shows:     "push manifest promotion-ledger.env.staging",
	},
), onEach(
	`acr-immutable artifactory-immutable dockerhub-immutable ecr-immutable harbor-immutable nexus-immutable`, failing{
		scenarios: `kept_images`,
		why:       "The scenario has the tags of kept images written in turn, and each can be written once. Nothing is overwritten there that would have to be kept.",
		shows:     `promotion-keep.production.1 holds`,
	},
))

// onEach is one row for each of the vendors.
func onEach(vendors string, row failing) (rows []failing) {
	for vendor := range strings.FieldsSeq(vendors) {
		row.vendor = vendor
		rows = append(rows, row)
	}
	return rows
}

// unfitAtOne are those that one vendor has.
var unfitAtOne = []failing{
	{
		vendor:    "ghcr-new",
		scenarios: `audit_of_nothing history`,
		why:       "The history, or the audit, of a repository that does not exist is not told from one that may not be read: the name is to be checked.",
		shows:     "403 Forbidden: DENIED",
	},
	{
		vendor:    "gitea",
		scenarios: `nested_index`,
		why:       "Gitea takes no such image: nothing can be promoted from or to there that cannot be there.",
		shows:     "holds no such image",
	},
	{
		vendor:    "gitlab",
		scenarios: `artifacts`,
		why:       "GitLab takes no such image: nothing can be promoted from or to there that cannot be there.",
		shows:     "holds no such image",
	},
	{
		vendor:    "zot",
		scenarios: `going_back plan rollback_unrecorded`,
		why:       "zot forgets an image whose last tag was overwritten: there is nothing to go back to, and a plan of it is void.",
		shows:     "is gone|MANIFEST_UNKNOWN",
	},
	{
		vendor:    "zot",
		scenarios: `rollback_release`,
		why:       "zot forgets an image whose last tag was overwritten, also one that was rolled back from: there is no way forward to it again.",
		shows:     "MANIFEST_UNKNOWN",
	},
	{
		vendor:    "gitlab",
		scenarios: `attachments_fallback_merged`,
		why:       "GitLab resolves a tag sha256-<hex> to the image of that digest: there is no fallback list to merge.",
		shows:     "test/build-report",
	},
	{
		vendor:    "no-subjects",
		scenarios: `attachments_fallback_merged`,
		why:       "The registry refuses attachments that name their subject: there is no list of them to merge.",
		shows:     "read manifest sha256-.*MANIFEST_UNKNOWN",
	},
}

// refusesRecords are scenarios that fail because the vendor refuses what the program keeps in a registry. There are none.
var refusesRecords = []failing{}

// productMustMend are scenarios that fail for another defect of the program: none is known.
var productMustMend = []failing{}
