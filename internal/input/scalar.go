package input

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/transfer"
)

const (
	maxConcurrency = 64
	maxTimeout     = 24 * time.Hour
)

func (r *reader) readScalars(getenv func(string) string, now time.Time) {
	r.settings.Timeout = r.duration("timeout")
	r.settings.Summary = r.boolean("summary")
	r.settings.Transfers = r.concurrency()
	r.settings.Request = promote.Request{
		Mode:        promote.Mode(r.choice("mode", modes...)),
		DryRun:      r.boolean("dry-run"),
		Attachments: r.choice("attachments", "all", "none") == "all",
		Verify:      transfer.Level(r.choice("verify", string(transfer.Manifests), string(transfer.Blobs), string(transfer.Content))),
		Reason:      r.text("reason"),
		TargetEnv:   r.text("target-env"),
		NoGates:     r.place.none,
		RunNumber:   strings.TrimSpace(getenv("GITHUB_RUN_NUMBER")),
		Started:     now,
		ValidFor:    config.DefaultValidFor,
		Record:      r.recording(),
	}
}

// recording is what to do where the ledger cannot be written. An environment has another default,
// see [stage.gate]: a plan may be what names it.
func (r *reader) recording() promote.Recording {
	if !r.given("record") {
		return promote.RecordOptional
	}
	return promote.Recording(r.choice("record", string(promote.RecordRequired), string(promote.RecordOptional), string(promote.RecordNone)))
}

// boolean reads YAML 1.2's core schema, as getBooleanInput of @actions/core
// does: "yes" or "1" may mean anything.
func (r *reader) boolean(name string) bool {
	switch text := r.text(name); text {
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	default:
		r.refuse(name, quote(text), "true or false (true, True, TRUE, false, False, FALSE)", "")
		in, _, _ := lookup(name)
		return in.Default == "true"
	}
}

func (r *reader) choice(name string, known ...string) string {
	text := r.text(name)
	if slices.Contains(known, text) {
		return text
	}
	expected := "one of " + oneOf(known)
	if near := closest(text, known); near != "" {
		expected += "; the closest is " + near
	}
	r.refuse(name, quote(text), expected, "")
	in, _, _ := lookup(name)
	return in.Default
}

func oneOf(known []string) string { return strings.Join(known, ", ") }

func (r *reader) concurrency() int {
	text := r.text("concurrency")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxConcurrency {
		r.refuse("concurrency", quote(text), fmt.Sprintf("a whole number from 1 to %d", maxConcurrency), "")
		return 0
	}
	return n
}

func (r *reader) duration(name string) time.Duration {
	text := r.text(name)
	d, err := time.ParseDuration(text)
	if err == nil && d > 0 && d <= maxTimeout {
		return d
	}
	expected := "a duration of more than 0 and at most 24h, such as 90s, 30m or 1h30m"
	example := ""
	if _, err := strconv.ParseUint(text, 10, 32); err == nil && text != "0" {
		expected = "a duration with its unit: " + text + "m for minutes, " + text + "s for seconds"
		example = name + ": " + text + "m"
	}
	r.refuse(name, quote(text), expected, example)
	in, _, _ := lookup(name)
	d, _ = time.ParseDuration(in.Default) // the table's test parses it
	return d
}
