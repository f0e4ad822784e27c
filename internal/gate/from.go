package gate

import (
	"fmt"

	"github.com/artifact-promotion/promote/internal/document"
)

// judgeFrom asks that the image is what the environment before this one holds: as
// its tag says, and as its records say where there are any.
func judgeFrom(e Evidence) []document.Verdict {
	if e.From == nil {
		return nil
	}
	env, ref, digest := plain(e.From.Environment), plain(e.From.Reference), e.From.Digest
	switch {
	case e.From.Err != nil:
		return unknown(From, e.From.unread())
	case digest == "":
		return fail(From, fmt.Sprintf("%s holds nothing: the tag %s does not exist; promote the image to %s first", env, ref, env))
	case digest != e.Image.Digest:
		return fail(From, fmt.Sprintf("%s %s %s (%s), and the image is %s; promote the image to %s first, or leave out source to promote what %s holds",
			env, held(e.From.Planned), short(digest), ref, short(e.Image.Digest), env, env))
	case e.From.Planned:
		return pass(From, fmt.Sprintf("%s held it when the plan was made (%s)", env, ref))
	}
	return e.From.judgeRecord()
}

// judgeRecord holds what the tag says against the last record: who may write to the
// registry can move the tag past every gate, and writes no record.
func (h Held) judgeRecord() []document.Verdict {
	env, ref := plain(h.Environment), plain(h.Reference)
	switch {
	case h.LedgerErr != nil:
		return unknown(From, h.unreadRecords())
	case h.Open != "":
		return unknown(From, plain(h.Open))
	case !h.recorded():
		return pass(From, fmt.Sprintf("%s holds it (%s); only its tag says so: no record tells what it holds", env, ref))
	case h.Record != h.Digest:
		return fail(From, h.drift())
	}
	return pass(From, fmt.Sprintf("%s holds it (%s)", env, ref))
}

// recorded reports whether a record tells what the environment holds. Failed
// attempts alone do not.
func (h Held) recorded() bool { return h.Recorded && h.Record != "" }

func (h Held) unread() string {
	return fmt.Sprintf("what %s holds could not be read from %s: %s; see that the run may read that repository, and run it again",
		plain(h.Environment), plain(h.Reference), plain(h.Err.Error()))
}

func (h Held) unreadRecords() string {
	return fmt.Sprintf("the records of %s could not be read beside %s: %s; see that the run may read that repository, and run it again",
		plain(h.Environment), plain(h.Reference), plain(h.LedgerErr.Error()))
}

// drift says that the tag was moved without a record.
func (h Held) drift() string {
	env := plain(h.Environment)
	return fmt.Sprintf("%s was changed outside of promotion: its tag %s holds %s, and its last record says %s; promote the image to %s, which records it, or see with mode: audit what happened",
		env, plain(h.Reference), short(h.Digest), short(h.Record), env)
}

func held(planned bool) string {
	if planned {
		return "held, when the plan was made,"
	}
	return "holds"
}
