package report

import (
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

func TestVerdict(t *testing.T) {
	twoTags := unchangedRun()
	twoTags.Promotions[0].Tags = append(twoTags.Promotions[0].Tags, document.Tag{Reference: "ghcr.io/acme/app:stable", State: document.TagUnchanged})
	dryUnchanged := unchangedRun()
	dryUnchanged.DryRun = true
	severalUnchanged := several(4)
	severalUnchanged.Result = document.Unchanged
	newTag := retag()
	newTag.Promotions[0].Tags[0].Before = ""
	oneToTwo := crossRegistry()
	oneToTwo.Promotions = append(oneToTwo.Promotions, retag().Promotions...)
	severalDenied := several(2)
	severalDenied.Result = document.Denied

	for name, test := range map[string]struct {
		report document.Report
		want   string
	}{
		"two tags":          {twoTags, "Unchanged: production, stable hold ghcr.io/acme/app@sha256:1a2b3c4d5e6f already"},
		"dry, unchanged":    {dryUnchanged, "Dry run, nothing to do: production holds ghcr.io/acme/app@sha256:1a2b3c4d5e6f already"},
		"several unchanged": {severalUnchanged, "and 1 more) are where they should be already"},
		"new tag":           {newTag, "Promoted ghcr.io/acme/app@sha256:1a2b3c4d5e6f to production (a new tag)"},
		"one to two":        {oneToTwo, "Promoted ghcr.io/acme/app@sha256:1a2b3c4d5e6f to registry.acme.example/prod/app:production, release-20261122-143000, production"},
		"several denied":    {severalDenied, "were not promoted to production (4 tags moved)"},
		"nothing known":     {report(document.Failed), "Failed"},
		"denied, no image":  {report(document.Denied), "Denied"},
	} {
		if got := verdict(test.report); !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q in it", name, got, test.want)
		}
	}
}

// The contract of issue and design: a failure's message says what state the
// target is in.
func TestFailureTellsTheStateOfTheTarget(t *testing.T) {
	for state, want := range map[document.TagState]string{
		document.TagPending:   "no tag was moved",
		document.TagUnchanged: "no tag was moved",
		document.TagMoved:     "1 tag moved",
		document.TagPutBack:   "1 tag put back",
		document.TagLeft:      "1 tag left at the new digest",
		document.TagTaken:     "1 tag moved by someone else",
		document.TagUnknown:   "1 tag unknown",
	} {
		r := cancelled()
		r.Promotions[0].Tags[0].State = state
		if got := Message(r); !strings.Contains(got, "("+want+")") {
			t.Errorf("%s: message %q does not say %q", state, got, want)
		}
	}
}
