package promote

import (
	"context"

	"github.com/artifact-promotion/promote/internal/document"
)

type past struct{ brought *document.Line }

func (r *run) goBack(context.Context) error { return nil }
func (r *run) notWhole(err error) error     { return err }
func (r *run) whole(context.Context) error  { return nil }

type brokenError struct{ message, hint string }

func (e *brokenError) Error() string { return e.message }
