package github

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What an Error can be, matched with errors.Is.
var (
	ErrNotFound    = errors.New("not found")   // or hidden from the token
	ErrNotAllowed  = errors.New("not allowed") // the token is refused, or lacks a permission
	ErrRateLimited = errors.New("rate limit exceeded")
)

// Error says what was asked of GitHub, what it answered, and what to do.
type Error struct {
	Op          string    // "read the check runs of a commit"
	Repository  string    // owner/name
	Status      int       // of GitHub's answer; 0: there was none that counts
	Message     string    // GitHub's own words, cut short: a stranger's text
	Permissions []string  // the job may lack these: "checks: read"
	Reset       time.Time // when a rate limit ends; zero: it is none
	Hint        string    // what to do; may have several lines
	Err         error     // the cause where there was no answer

	secret string // stands in no text
}

// Error is one line, the hint included.
func (e *Error) Error() string {
	text := e.Op + " of " + e.Repository + ": " + e.reason()
	if e.Hint != "" {
		text += ". " + oneLine.Replace(e.Hint)
	}
	return text
}

func (e *Error) reason() string {
	if e.Err != nil {
		return line(e.hide(e.Err.Error()), 600)
	}
	text := described(e.Status)
	if e.Message != "" {
		text += ", " + quote(e.hide(e.Message), 300)
	}
	return text
}

// described is an answer in words.
func described(status int) string {
	text := fmt.Sprintf("GitHub answered %d", status)
	if words := http.StatusText(status); words != "" {
		text += " " + words
	}
	return text
}

// oneLine makes one line of a hint, its YAML included.
var oneLine = strings.NewReplacer(":\n  permissions:\n    ", ": ", "\n    ", ", ", "\n", " ")

// hide takes the token out of a text: a server or a proxy may repeat what it was
// sent.
func (e *Error) hide(text string) string {
	if e.secret == "" {
		return text
	}
	return strings.ReplaceAll(text, e.secret, "***")
}

func (e *Error) Unwrap() error { return e.Err }

// Is matches the sentinels of this package.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrRateLimited:
		return !e.Reset.IsZero()
	case ErrNotAllowed:
		return e.Reset.IsZero() && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
	}
	return false
}

// MessageOf is err's text without the hint of the first Error in its chain.
func MessageOf(err error) string {
	hint := HintOf(err)
	if hint == "" {
		return err.Error()
	}
	return strings.Replace(err.Error(), ". "+oneLine.Replace(hint), "", 1)
}

// HintOf is the hint of the first Error in err's chain, empty if it has none. It
// may have several lines, and is in the error's text on one.
func HintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
