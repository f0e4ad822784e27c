package runner

import "strings"

// shortestMask is the shortest text worth masking, in bytes. The runner replaces
// a masked text wherever it stands and drops every job output that contains it:
// three hex digits would take one digest in seventy with them, and the lines of
// a JSON key that hold only a brace would take everything. What is so short is
// guessed at once and is no secret.
const shortestMask = 4

// Mask tells the runner to hide a secret from here on: it comes before anything
// else is printed. The runner hides within lines, so each line of a secret is
// masked by itself. Outside of Actions nobody would act on it and the secret
// would only be shown, so nothing is printed.
func (r *Runner) Mask(secret string) {
	if !r.inActions {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range strings.Split(lineEnds.Replace(secret), "\n") {
		if line = strings.TrimSpace(line); len(line) >= shortestMask {
			r.action.AddMask(line)
		}
	}
}
