package input

import (
	"fmt"
	"io"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/promote"
)

// Settings is what a run needs to know.
type Settings struct {
	Request        promote.Request
	Credentials    *credential.Chain // what the inputs hold, before the environment's own
	CACertificates []byte            // PEM; empty: none besides the built-in ones
	Timeout        time.Duration     // of the whole run
	Transfers      int               // blobs copied at the same time, at most; 0: chosen by the program
	Summary        bool              // write a job summary
	Secrets        []string          // every password and token, to be masked; complete also beside an error
}

// Format keeps secrets out of every fmt verb.
func (Settings) Format(f fmt.State, _ rune) { hide(f, "settings") }

func hide(f fmt.State, what string) {
	_, _ = io.WriteString(f, what+" (not shown)") // fmt's own buffer; fmt reports nothing either
}
