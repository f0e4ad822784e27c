package runner

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/artifact-promotion/promote/internal/report"
	"github.com/sethvargo/go-githubactions"
)

// maxSummary is the size above which the runner drops a step's summary whole
// (actions/runner, CreateStepSummaryCommand.AttachmentSizeLimit).
const maxSummary = 1 << 20

// SetOutputs writes the step's outputs: all of them, or none and an error.
// Outside of Actions there is nobody to read them, and without GITHUB_OUTPUT
// nothing is written.
func (r *Runner) SetOutputs(outputs []report.Output) error {
	if r.options.Getenv("GITHUB_OUTPUT") == "" && !r.inActions {
		return nil
	}
	blocks := make([]string, 0, len(outputs))
	for _, o := range outputs {
		block, err := outputBlock(o, r.delimiter())
		if err != nil {
			return err
		}
		blocks = append(blocks, block)
	}
	return r.appendTo("output", strings.Join(blocks, "\n"))
}

var outputName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// outputBlock is one value between delimiters that it cannot contain: with a
// known delimiter a value could end early and set outputs of its own
// (CVE-2022-35954).
func outputBlock(o report.Output, delimiter string) (string, error) {
	if !outputName.MatchString(o.Name) {
		return "", fmt.Errorf("write output %q: a name has only letters, digits, - and _", o.Name)
	}
	// The runner decodes the file as UTF-8; what is none would change under way.
	value := strings.ToValidUTF8(o.Value, "\uFFFD")
	if strings.Contains(o.Name, delimiter) || strings.Contains(value, delimiter) {
		return "", fmt.Errorf("write output %s: its value contains the delimiter", o.Name)
	}
	return o.Name + "<<" + delimiter + "\n" + value + "\n" + delimiter, nil
}

func randomDelimiter() string { return "promote_" + rand.Text() }

// WriteSummary adds markdown to the job's summary; from a shell it prints it.
func (r *Runner) WriteSummary(markdown string) error {
	if !r.inActions {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.print(r.options.Stdout, "", cleanLines(strings.TrimRight(markdown, "\n")))
		return nil
	}
	if size := len(markdown) + len("\n"); size > maxSummary {
		return fmt.Errorf("write the summary: it has %d bytes, and GitHub drops one of more than %d", size, maxSummary)
	}
	return r.appendTo("step-summary", markdown)
}

// appendTo adds text to one of the files by which a step talks to the runner.
// go-githubactions panics where that fails.
func (r *Runner) appendTo(command, text string) (err error) {
	variable := "GITHUB_" + strings.ToUpper(strings.ReplaceAll(command, "-", "_"))
	if r.options.Getenv(variable) == "" {
		return fmt.Errorf("write %s: the environment does not name its file in %s", command, variable)
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("write to the file in %s: %w", variable, asError(cause))
		}
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.action.IssueFileCommand(&githubactions.Command{Name: command, Message: text})
	return nil
}

func asError(cause any) error {
	if err, ok := cause.(error); ok {
		return err
	}
	return errors.New(fmt.Sprint(cause))
}
