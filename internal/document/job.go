package document

// Job is what runs the program: a job of a GitHub workflow, or nothing at all.
type Job struct {
	Repository      string `json:"repository,omitempty"` // owner/name of the workflow's repository
	RunID           string `json:"runId,omitempty"`
	Attempt         string `json:"attempt,omitempty"`
	Name            string `json:"job,omitempty"`      // its key in the workflow
	URL             string `json:"url,omitempty"`      // of the run's page
	Workflow        string `json:"workflow,omitempty"` // owner/name/path@ref
	Commit          string `json:"commit,omitempty"`   // that the workflow runs on
	Actor           string `json:"actor,omitempty"`
	TriggeringActor string `json:"triggeringActor,omitempty"` // who ran it again, else Actor
}
