package input

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/github"
)

// Refused reports a run that ended before it began: as its inputs, its config or
// its plan do not let it.
func (s *Settings) Refused(started time.Time, err error) document.Report {
	result, faults := explain(err)
	request := s.Request
	return document.Report{
		Result: result, Mode: string(request.Mode), Faults: faults, Started: started, Ended: time.Now().UTC(),
		DryRun: request.DryRun, NoGates: request.NoGates, TargetEnv: request.TargetEnv, Reason: request.Reason,
		Config: request.Config, Job: request.Job,
	}
}

// explain says which outcome an error stands for, and what is wrong, one by one.
func explain(err error) (document.Result, []document.Fault) {
	var inputs *Error
	var file *config.Error
	var denied *DeniedError
	var faults []document.Fault
	switch {
	case errors.As(err, &inputs):
		for _, f := range inputs.Faults {
			faults = append(faults, document.Fault{Message: f.Message(), Hint: f.Hint()})
		}
	case errors.As(err, &file):
		for _, f := range file.Faults {
			faults = append(faults, faultOf(file.Path, f))
		}
		if file.More > 0 {
			faults = append(faults, document.Fault{Message: fmt.Sprintf("and %d more in %s", file.More, file.Path)})
		}
	case errors.As(err, &denied):
		return document.Denied, []document.Fault{{Message: denied.Message, Hint: denied.Hint}}
	default:
		return document.Failed, []document.Fault{{Message: github.MessageOf(err), Hint: github.HintOf(err)}}
	}
	return document.Invalid, faults
}

// faultOf is what is wrong with a config file, with its place as editors know it.
func faultOf(path string, f config.Fault) document.Fault {
	place := path
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", path, f.Line, f.Column)
	}
	fault := document.Fault{Message: place + ": " + f.Message()}
	if f.Source != "" {
		fault.Hint = fmt.Sprintf("Line %d is: %s", f.Line, strings.TrimSpace(f.Source))
	}
	return fault
}
