package input

import (
	"fmt"

	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/google/go-containerregistry/pkg/name"
)

// readRollback reads where a rollback takes place, where it goes, and why.
func (r *reader) readRollback() {
	if r.text("reason") == "" {
		r.refuse("reason", "nothing, but a rollback needs a reason", "why it goes back: a ticket, an incident; it is recorded", modeExample[promote.Rollback])
	}
	r.readTo()
	r.readSubject()
}

// rollback makes the request that of the environment going back. A plan is not
// asked for (require-plan): an incident must not wait for one.
func (s *stage) rollback() {
	var orders []order
	for _, image := range s.images() {
		if repository, ok := s.repository(s.Environment, image); ok {
			source := promote.Source{Text: repository.Name(), Repository: repository}
			orders = append(orders, order{image: image, source: source, wishes: s.foreseeable(repository, s.wishes(image))})
		}
	}
	if len(s.faults) == 0 {
		s.settings.Request.Items = s.assemble(orders, nil)
	}
	s.gate()
}

// foreseeable leaves out tags that nothing is known for: there is no source tag in
// a rollback, and no run's number in a shell. They are no reason to stay with what
// is wrong, as long as there is a tag to move.
func (s *stage) foreseeable(repository name.Repository, wishes []wish) []wish {
	var kept []wish
	var missing error
	moving := false
	for _, w := range wishes {
		if _, err := w.tag.Render(s.foreseen(promote.Source{Repository: repository})); err != nil {
			missing = err
			s.leaveOut(w)
			continue
		}
		kept, moving = append(kept, w), moving || !w.fixed
	}
	if !moving && missing != nil {
		s.add("target-env", templateFault("target-env", missing))
	}
	return kept
}

// leaveOut says once of an environment, and not of each image, that a tag is not written.
func (s *stage) leaveOut(w wish) {
	notice := fmt.Sprintf("the tag %s of environment %s is left alone: in a rollback nothing says what it stands for", plain(w.text), plain(s.Name))
	for _, said := range s.notices {
		if said == notice {
			return
		}
	}
	s.notices = append(s.notices, notice)
}
