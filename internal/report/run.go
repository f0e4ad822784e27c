package report

import (
	"regexp"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// runPage is the page of a workflow's run, as GitHub spells it.
var runPage = regexp.MustCompile(`^(https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?)/[A-Za-z0-9-]+/[A-Za-z0-9._-]+/actions/runs/([0-9]{1,20})(?:/attempts/[0-9]{1,6})?$`)

// run is the page of a run: a link if it is on the server that this run is on, or on
// GitHub's own. A record is a stranger's, and no reader should be led elsewhere.
func run(r document.Report, page string) string {
	parts := runPage.FindStringSubmatch(page)
	if parts == nil {
		return code(page)
	}
	server := "https://github.com"
	if own := runPage.FindStringSubmatch(r.Job.URL); own != nil {
		server = own[1]
	}
	if !strings.EqualFold(parts[1], server) {
		return code(page)
	}
	return "[" + code(parts[2]) + "](" + page + ")"
}
