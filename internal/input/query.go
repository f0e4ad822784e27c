package input

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/promote"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const sinceForms = "a time such as 2026-11-01T08:00:00Z, a date such as 2026-11-01 (UTC), or how long ago, such as 30d, 12h or 1h30m"

// readQuery reads which records a history lists.
func (r *reader) readQuery() {
	since, f := parseSince(r.text("since"), r.settings.Request.Started)
	r.add("since", f)
	find, f := parseFind(r.text("find"))
	r.add("find", f)
	r.settings.Request.Query = promote.Query{Since: since, Limit: r.limit(), Find: find}
}

// parseSince reads a moment that has been; no text is none.
func parseSince(text string, now time.Time) (time.Time, *Fault) {
	if text == "" {
		return time.Time{}, nil
	}
	since, ok := moment(text, now)
	switch {
	case !ok:
		return time.Time{}, &Fault{Given: quote(text), Expected: sinceForms}
	case since.After(now):
		return time.Time{}, &Fault{Given: quote(text) + ", which is still to come: it is " + instant(now), Expected: sinceForms}
	}
	return since.UTC(), nil
}

func moment(text string, now time.Time) (time.Time, bool) {
	if ago, ok := config.Duration(text); ok {
		return now.Add(-ago), true
	}
	if date, err := time.Parse(time.DateOnly, text); err == nil {
		return date, true
	}
	if !timeShape.MatchString(text) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}

// timeShape is RFC 3339's (section 5.6) for times; time.Parse takes more than that.
var timeShape = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`)

// parseFind reads the digest of an image, which may stand after its repository; no
// text is none.
func parseFind(text string) (v1.Hash, *Fault) {
	reference, digest, found := strings.Cut(text, "@")
	switch {
	case text == "":
		return v1.Hash{}, nil
	case !found && !algorithm.MatchString(text):
		return v1.Hash{}, &Fault{Given: quote(text) + ", which is no digest", Expected: "sha256: and 64 lower-case hexadecimal digits: a tag has named other images too"}
	case !found:
		return parseWhole(text)
	}
	if _, f := parseSource(reference); f != nil {
		f.Example = ""
		return v1.Hash{}, f
	}
	return parseWhole(digest)
}

func (r *reader) limit() int {
	text := r.text("limit")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		r.refuse("limit", quote(text), "a whole number; 0 lists everything", fmt.Sprintf("limit: %d", defaultLimit))
		return defaultLimit
	}
	return n
}
