package demo

import (
	"context"
	"fmt"
	"io"
)

// Program is the whole program as main runs it: the demo shows the same code
// that the action runs. It returns the exit code.
type Program func(ctx context.Context, env map[string]string, args []string, stdout, stderr io.Writer) int

// Run plays the demo and returns the exit code: 0 if every step ended as the
// story says.
func Run(ctx context.Context, program Program, stdout, stderr io.Writer) int {
	if err := play(ctx, program, stdout); err != nil {
		_, _ = fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

// play is the story: one image, built once, on its way to production, and the way
// back from the next.
func play(ctx context.Context, program Program, out io.Writer) error {
	s, err := newStage(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	j, err := newJob(program, out)
	if err != nil {
		return err
	}
	defer j.close()

	j.tell("Two registries run on this machine: %s for dev and staging, %s for production,\neach with an account of its own. Staging and production hold release 2.3.0. The build has pushed\n2.4.0 as %s:dev, for linux/amd64 and linux/arm64, with provenance, an SBOM and a\nsignature: %s",
		s.build.Host(), s.production.Host(), s.app(), s.digest())

	j.title("1. dev → staging: a tag in the same repository")
	if err := j.step(ctx, "promoted", s.toStaging()); err != nil {
		return err
	}
	j.title("2. staging → production: another registry, with everything that belongs to the image")
	if err := j.step(ctx, "promoted", s.toProduction()); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	j.tell("Read back by other code: production holds every manifest, blob, signature and attestation of %s.", s.digest())
	summary := j.summary

	j.title("3. the same again: nothing to do")
	if err := j.step(ctx, "unchanged", s.toProduction()); err != nil {
		return err
	}
	j.title("4. drift: somebody pushes another image to dev, and the tested digest is asked for")
	if err := s.drift(ctx); err != nil {
		return err
	}
	if err := j.step(ctx, "denied", s.tested()); err != nil {
		return err
	}
	if err := goWrong(ctx, j, s); err != nil {
		return err
	}
	j.title("The job summary of step 2")
	j.print(render(summary))
	return nil
}

// goWrong is the story's second part: a release that should not have been, and what
// the registry remembers of it.
func goWrong(ctx context.Context, j *job, s *stage) error {
	j.title("5. a bad release: that other image goes to production, and checkout fails there")
	if err := j.step(ctx, "promoted", s.badRelease()); err != nil {
		return err
	}
	j.title("6. rollback: back to what ran before, by what the registry remembers")
	if err := j.step(ctx, "rolled-back", s.rollback()); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	j.tell("Read back by other code: production holds %s again, with everything that belongs to it.", s.digest())
	j.title("7. history: who promoted what, when and why")
	if err := j.step(ctx, "listed", s.ask("history")); err != nil {
		return err
	}
	j.title("8. audit: is it all as recorded?")
	return j.step(ctx, "clean", s.ask("audit"))
}
