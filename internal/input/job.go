package input

import (
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/github"
)

// readJob notes what runs the program, as the runner's variables say.
func (r *reader) readJob(getenv func(string) string) {
	variable := func(name string) string { return strings.TrimSpace(getenv("GITHUB_" + name)) }
	job := document.Job{
		Repository:      variable("REPOSITORY"),
		RunID:           variable("RUN_ID"),
		Attempt:         variable("RUN_ATTEMPT"),
		Name:            variable("JOB"),
		Workflow:        variable("WORKFLOW_REF"),
		Commit:          variable("SHA"),
		Actor:           variable("ACTOR"),
		TriggeringActor: variable("TRIGGERING_ACTOR"),
	}
	if job.TriggeringActor == "" {
		job.TriggeringActor = job.Actor
	}
	if server := variable("SERVER_URL"); server != "" && job.Repository != "" && job.RunID != "" {
		job.URL = strings.TrimSuffix(server, "/") + "/" + job.Repository + "/actions/runs/" + job.RunID
	}
	r.settings.Request.Job = job
	r.settings.GitHub = github.Options{URL: variable("API_URL"), Token: r.text("github-token")}
	r.workspace = variable("WORKSPACE")
}
