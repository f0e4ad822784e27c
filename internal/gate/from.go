package gate

import (
	"fmt"

	"github.com/artifact-promotion/promote/internal/document"
)

// judgeFrom asks that the image is what the environment before this one holds.
func judgeFrom(e Evidence) []document.Verdict {
	if e.From == nil {
		return nil
	}
	env, ref, digest := plain(e.From.Environment), plain(e.From.Reference), e.From.Digest
	switch {
	case e.From.Err != nil:
		return unknown(From, fmt.Sprintf("what %s holds could not be read from %s: %s; see that the run may read that repository, and run it again", env, ref, plain(e.From.Err.Error())))
	case digest == "":
		return fail(From, fmt.Sprintf("%s holds nothing: the tag %s does not exist; promote the image to %s first", env, ref, env))
	case digest == e.Image.Digest && e.From.Planned:
		return pass(From, fmt.Sprintf("%s held it when the plan was made (%s)", env, ref))
	case digest == e.Image.Digest:
		return pass(From, fmt.Sprintf("%s holds it (%s)", env, ref))
	}
	return fail(From, fmt.Sprintf("%s %s %s (%s), and the image is %s; promote the image to %s first, or leave out source to promote what %s holds",
		env, held(e.From.Planned), short(digest), ref, short(e.Image.Digest), env, env))
}

func held(planned bool) string {
	if planned {
		return "held, when the plan was made,"
	}
	return "holds"
}
