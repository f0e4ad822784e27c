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
		shows:     "push manifest promotion-ledger-staging",
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
		scenarios: `history`,
		why:       "The history of a repository that does not exist is not told from one that may not be read: the name is to be checked.",
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
		vendor:    "no-subjects",
		scenarios: `attachments_fallback_merged`,
		why:       "The registry refuses attachments that name their subject: there is no list of them to merge.",
		shows:     "read manifest sha256-.*MANIFEST_UNKNOWN",
	},
}

// refusesRecords are scenarios that fail because the vendor refuses what the program keeps in a registry: records,
// ledgers, journals. The change of their form empties this list.
var refusesRecords = []failing{
	{
		vendor:    "acr-immutable",
		scenarios: `artifacts cross_registry docker_schema2 environment fixed_tag metadata_action_tags plan plan_several registry_auth release rollback rollback_release several_images several_registries templates`,
		why:       "A release's journal is one tag that is written twice, and the tag is immutable.",
		shows:     "registry could not be told",
	},
	{
		vendor:    "artifactory-immutable",
		scenarios: `artifacts cross_registry docker_schema2 environment fixed_tag metadata_action_tags plan plan_several registry_auth release rollback rollback_release several_images several_registries templates`,
		why:       "A release's journal is one tag that is written twice, and the tag is immutable.",
		shows:     "registry could not be told",
	},
	{
		vendor:    "dockerhub-immutable",
		scenarios: `artifacts cross_registry docker_schema2 environment fixed_tag metadata_action_tags plan plan_several registry_auth release rollback rollback_release several_images several_registries templates`,
		why:       "A release's journal is one tag that is written twice, and the tag is immutable.",
		shows:     "registry could not be told",
	},
	{
		vendor:    "ecr-immutable",
		scenarios: `artifacts cross_registry docker_schema2 environment fixed_tag metadata_action_tags plan plan_several registry_auth release rollback rollback_release several_images several_registries templates`,
		why:       "A release's journal is one tag that is written twice, and the tag is immutable.",
		shows:     "registry could not be told",
	},
	{
		vendor:    "gitea",
		scenarios: `cross_registry docker_schema2 environment fixed_tag metadata_action_tags plan plan_several registry_auth release rollback rollback_release several_images several_registries templates`,
		why:       "Gitea refuses the journal of a release: an index may list image manifests only.",
		shows:     "MANIFEST_INVALID",
	},
	{
		vendor:    "gitlab",
		scenarios: `attachments_cosign_merged attachments_fallback_merged attachments_none basic_auth buildkit_attestations command_line config_file cross_registry docker_login docker_schema2 drift environment fixed_tag foreign_layers going_back history large_layers metadata_action_tags mount nested_index one_platform other_repository plan plan_matrix plan_several private_ca registry_auth release rerun rollback rollback_release rollback_unrecorded several_images several_registries single_manifest soak tag_promotion target_env templates`,
		why:       "GitLab refuses the record: its artifact type is not on GitLab's list, and its subject may be no index.",
		shows:     "the record could not be written",
	},
	{
		vendor:    "harbor-immutable",
		scenarios: `artifacts cross_registry docker_schema2 environment fixed_tag metadata_action_tags plan plan_several registry_auth release rollback rollback_release several_images several_registries templates`,
		why:       "A release's journal is one tag that is written twice, and the tag is immutable.",
		shows:     "registry could not be told",
	},
	{
		vendor:    "nexus-immutable",
		scenarios: `artifacts cross_registry docker_schema2 environment fixed_tag metadata_action_tags plan plan_several registry_auth release rollback rollback_release several_images several_registries templates`,
		why:       "A release's journal is one tag that is written twice, and the tag is immutable.",
		shows:     "registry could not be told",
	},
	{
		vendor:    "no-subjects",
		scenarios: `artifacts attachments_cosign_merged attachments_none basic_auth buildkit_attestations command_line config_file cross_registry docker_login docker_schema2 drift environment fixed_tag foreign_layers going_back history large_layers metadata_action_tags mount nested_index one_platform other_repository plan plan_matrix plan_several private_ca registry_auth release rerun rollback rollback_release rollback_unrecorded several_images several_registries single_manifest soak tag_promotion target_env templates`,
		why:       "The record has a subject, which the registry refuses.",
		shows:     "the record could not be written|NOT_FOUND: not found",
	},
	{
		vendor:    "zot",
		scenarios: `artifacts attachments_none basic_auth buildkit_attestations cross_registry docker_login docker_schema2 drift environment foreign_layers history large_layers metadata_action_tags mount nested_index other_repository plan_matrix plan_several private_ca registry_auth release rerun rollback rollback_release several_images several_registries single_manifest`,
		why:       "The record is written before its subject, the image, is there.",
		shows:     "the record could not be written",
		sometimes: true, // it is written beside the copy
	},
	{
		vendor:    "zot",
		scenarios: `attachments_cosign_merged command_line config_file fixed_tag one_platform soak tag_promotion target_env templates`,
		why:       "The record is written before its subject, the image, is there.",
		shows:     "the record could not be written",
		sometimes: true,
	},
}

// productMustMend are scenarios that fail for another defect of the program: none is known.
var productMustMend = []failing{}
