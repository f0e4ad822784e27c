package input

import (
	"encoding/hex"
	"os"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

const (
	// packedPlan is how every packed plan begins: gzip's first bytes in base64.
	packedPlan = "H4sI"

	maxPlanFile = 16 << 20 // bytes

	planForms = "the output plan of a step with mode: plan, or the path of a file that holds it, as it is or with @ and its plan-digest after it"
)

// readPlan reads the plan of mode apply, in its form.
func (r *reader) readPlan() {
	text, digest, hasDigest := cutDigest(r.text("plan"))
	if text == "" {
		r.refuse("plan", "nothing, but apply needs a plan: a job that made none may have ended early, or its output was not handed on", planForms, "mode: apply\n"+exampleOf("plan"))
		return
	}
	raw, f := r.planBytes(text)
	if r.add("plan", f) {
		return
	}
	if hasDigest && r.refusePlanDigest(digest, document.DigestOf(raw)) {
		return
	}
	plan, err := document.ParsePlan(raw)
	if err != nil {
		r.refuse("plan", "text that is no plan: "+err.Error(), planForms, "")
		return
	}
	r.plan = &plan
}

// cutDigest splits the digest off that stands after the plan or its path. A path
// may have an @ in it; what follows the @ of a packed plan is a digest.
func cutDigest(text string) (plan, digest string, ok bool) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text, "", false
	}
	plan, digest = text[:at], text[at+1:]
	if digest == "" || strings.HasPrefix(digest, "sha256:") || strings.HasPrefix(text, packedPlan) {
		return strings.TrimSpace(plan), strings.TrimSpace(digest), true
	}
	return text, "", false
}

// refusePlanDigest holds a plan to the digest that was given with it. One of
// another digest is not the plan that was approved, whatever it says.
func (r *reader) refusePlanDigest(given, actual string) bool {
	digits, isDigest := strings.CutPrefix(given, "sha256:")
	raw, err := hex.DecodeString(digits)
	switch {
	case given == "":
		r.refuse("plan", "a plan with an empty digest after @", "the output plan-digest after it, or no @", "")
		return true
	case !isDigest || err != nil || len(raw) != sha256Length/2 || digits != strings.ToLower(digits):
		r.refuse("plan", "digest "+quote(given)+" after the plan", "sha256: and 64 lower-case hexadecimal digits, as the output plan-digest has it", "")
		return true
	case given == actual:
		return false
	}
	r.denied = &DeniedError{
		Message: "the plan is not the one that was approved: its digest is " + actual + ", expected " + given,
		Hint:    "Hand over the outputs plan and plan-digest of one step, or make a new plan.",
	}
	return true
}

// planBytes is the plan's JSON: of the text itself, or of the file that it names.
func (r *reader) planBytes(text string) ([]byte, *Fault) {
	if strings.HasPrefix(text, packedPlan) {
		return unpack(text)
	}
	if len(text) > maxConfigPath || strings.ContainsAny(text, "\r\n\x00{") {
		return nil, &Fault{Given: quote(text) + ", which is neither a packed plan nor a path", Expected: planForms}
	}
	raw, err := readBounded(locate(r.workspace, text), maxPlanFile)
	if os.IsNotExist(err) {
		return nil, &Fault{Given: quote(text) + ", a file that is not in " + directory(r.workspace),
			Expected: planForms + "; actions/download-artifact must come first where another job made the file"}
	}
	if err != nil {
		return nil, &Fault{Given: "file " + quote(text) + ": " + cause(err), Expected: "a regular file that can be read"}
	}
	content := strings.TrimSpace(string(raw))
	if strings.HasPrefix(content, packedPlan) {
		return unpack(content)
	}
	return []byte(content), nil
}

func unpack(text string) ([]byte, *Fault) {
	raw, err := document.Unpack(text)
	if err != nil {
		return nil, &Fault{Given: "text that is no whole plan: " + strings.TrimPrefix(err.Error(), "unpack the plan: "), Expected: planForms}
	}
	return raw, nil
}
