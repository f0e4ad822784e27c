package input

import (
	"regexp"
	"strings"

	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// previous is what the environment held before, whatever tags there are.
	previous = "previous"

	toForms = "previous, the digest of an image or of a record (sha256:…), or a tag"
)

var (
	algorithm = regexp.MustCompile(`^(?i)sha[0-9]+:`)
	bareHex   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	shortHex  = regexp.MustCompile(`^sha256:[0-9a-f]{1,63}$`)
)

// readTo reads where a rollback goes.
func (r *reader) readTo() {
	to, f := parseTo(r.text("to"))
	r.add("to", f)
	r.settings.Request.To = to
}

func parseTo(text string) (promote.To, *Fault) {
	to := promote.To{Text: text}
	var f *Fault
	switch {
	case text == previous:
	case algorithm.MatchString(text):
		to.Digest, f = parseWhole(text)
	case bareHex.MatchString(text):
		f = &Fault{Given: quote(text), Expected: "sha256: before it, if it is a digest", Example: "to: sha256:" + text}
	case strings.ContainsAny(text, "/@:"):
		f = refuseReference(text)
	case !template.ValidTag(text):
		f = &Fault{Given: quote(text), Expected: toForms}
	case ledger.Reserved(text):
		f = &Fault{Given: quote(text) + ", a tag that the program keeps for itself", Expected: "the digest of the record, or of the image"}
	default:
		to.Tag = text
	}
	return to, f
}

// refuseReference tells the part of a whole reference that is needed.
func refuseReference(text string) *Fault {
	tagged, bare, hasDigest := strings.Cut(text, "@")
	if !hasDigest {
		_, bare, _ = cutTag(tagged)
	}
	f := &Fault{Given: quote(text) + ", a whole reference", Expected: "what is after the repository alone, because a rollback stays in the target's: " + toForms}
	if bare != "" {
		f.Expected, f.Example = f.Expected+"; here "+plain(bare), "to: "+plain(bare)
	}
	return f
}

// parseWhole reads a digest that may have been copied from a table.
func parseWhole(text string) (v1.Hash, *Fault) {
	digest, f := parseDigest(text, "")
	if f != nil {
		f.Example = ""
	}
	if shortHex.MatchString(text) {
		f.Expected = "all 64 digits: tables show the first ones, and the output results has it whole"
	}
	return digest, f
}
