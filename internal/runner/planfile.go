package runner

import (
	"fmt"
	"os"
	"path/filepath"
)

// PlanFile begins the name of the file that a plan is written to.
const PlanFile = "promotion-plan-"

// NeedsFile reports whether text that is too much for an output, or that nobody
// could read as one, goes into a file: from a shell there are no outputs.
func (r *Runner) NeedsFile(tooLarge bool) bool {
	return tooLarge || !r.inActions && r.options.Getenv("GITHUB_OUTPUT") == ""
}

// WriteFile writes a file into the workspace, from a shell into the working
// directory, whole or not at all. The name is also its path for later steps, which
// see the workspace elsewhere.
func (r *Runner) WriteFile(name string, content []byte) error {
	folder := r.options.Getenv("GITHUB_WORKSPACE")
	if folder == "" {
		folder = "."
	}
	temporary, err := os.CreateTemp(folder, ".promote-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(temporary.Name()) //nolint:errcheck // gone once it was renamed
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Chmod(0o644) // later steps are not root
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(folder, name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
