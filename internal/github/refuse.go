package github

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/proxy"
)

// fail is the error of a question that has no answer.
func (c *Client) fail(q question, err error) error {
	return &Error{Op: q.op, Repository: q.repository, Err: err, Hint: proxy.Hint(c.base.Host, err), secret: c.token}
}

// refuse is the error of an answer that is not what was asked for.
func (c *Client) refuse(q question, a *answer, now time.Time) error {
	e := &Error{Op: q.op, Repository: q.repository, Status: a.status, Message: cut(messageOf(a), 1000), secret: c.token}
	if reset, ok := limited(a, now); ok {
		e.Reset = reset
		e.Hint = fmt.Sprintf("The rate limit resets at %s UTC: run the job again then.", reset.UTC().Format(time.DateTime))
	} else {
		c.advise(e, q, a)
	}
	if c.token == "" && a.status >= 400 && a.status < 500 {
		e.Hint = strings.TrimSpace(e.Hint + "\nNo github-token was given: GitHub was asked as a stranger.")
	}
	return e
}

// advise adds what to do about a status.
func (c *Client) advise(e *Error, q question, a *answer) {
	switch {
	case a.status == http.StatusUnauthorized && c.token != "":
		e.Hint = "Check github-token: GitHub does not take it. It may have expired, or be meant for another server."
	case a.status == http.StatusForbidden && isUnpermitted(a):
		e.Permissions = q.permissions
		e.Hint = permit(q, a)
	case a.status == http.StatusNotFound:
		e.Hint = q.absent + " GitHub also answers so where a token may not see it: the job needs " + strings.Join(q.permissions, ", ") +
			" in its permissions, and another private repository a github-token that can read it."
		e.Permissions = q.permissions
	case a.status == http.StatusUnprocessableEntity:
		e.Hint = q.absent
	case a.status >= 500:
		e.Hint = "See https://www.githubstatus.com, and run the job again."
	}
}

// permit is how to give the permission that is missing. It names all that such a
// gate needs, so that the next run does not stop at the next one.
func permit(q question, a *answer) string {
	if strings.Contains(messageOf(a), "personal access token") {
		return fmt.Sprintf("Give the personal access token in github-token read access to the repository (%s).", strings.Join(q.permissions, ", "))
	}
	text := "Add to the job, beside the permissions it has"
	if p := accepted(a); p != "" {
		text += " (GitHub asks for " + p + ")"
	}
	return text + ":\n  permissions:\n    " + strings.Join(q.permissions, "\n    ")
}

var acceptedPattern = regexp.MustCompile(`^[a-z_]+=[a-z]+([,;] ?[a-z_]+=[a-z]+)*$`)

// accepted is what GitHub says a token needs.
// https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
func accepted(a *answer) string {
	p := a.header.Get("X-Accepted-GitHub-Permissions")
	if len(p) > 200 || !acceptedPattern.MatchString(p) {
		return ""
	}
	return p
}

// isUnpermitted tells a missing permission from the other reasons for a 403. GitHub
// gives it no code, only these words, "by integration" or "by personal access
// token" after them.
func isUnpermitted(a *answer) bool {
	return strings.Contains(messageOf(a), "Resource not accessible by")
}

// messageOf is what GitHub says in the body of an error, empty if it says nothing
// that can be read.
func messageOf(a *answer) string {
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(a.body, &said) != nil {
		return ""
	}
	return said.Message
}
