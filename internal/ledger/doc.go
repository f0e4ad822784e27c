// Package ledger keeps in the registry what must outlive a run.
//
// A journal says which tags a release is about to move, so that after a run that
// was killed the next one can finish it or put it back.
//
// A record says what one promotion or rollback did to an environment, and why it
// might. It is a blob, under a tag of its own that is written once, and attached to
// the image. The environment's ledger lists its records, oldest first; a line of it
// is what a table of its history shows. The ledger is an index: two writers at once
// can take a line from it, and what is lost is found again by the records' tags.
//
// A promotion goes through these steps:
//
//	book := ledger.Open(repo, finder, environment) // or the first moving tag's name
//	page, err := book.Read(ctx)
//	page, _, err = book.CatchUp(ctx, page, sources) // lines that earlier runs could not write
//	earlier, err := book.Earlier(ctx, page, job, mode) // of a second attempt: what the first was about to do
//	err = book.Prepare(ctx, page, job, mode, image) // while the image is copied; not needed
//	entry, err := book.Attach(ctx, page, record, image) // before tags move; nothing moves on an error
//	// the tags move
//	page, err = book.Append(ctx, page, entry, document.OutcomePromoted)
//
//	book.Notices()                                  // what to set at the registry
//
// Where tags cannot be changed, each writing of the ledger has a tag of its own, a
// version; the registry refuses the second of two who write the same one.
//
// Whoever wants to know what happened goes through these:
//
//	page, err := book.Read(ctx)
//	page, _, err = book.CatchUp(ctx, page, sources)
//	history, err := book.History(ctx, page, 100)
//	state := ledger.Replay(history.Lines)
//	target, ok := state.Previous()
package ledger
