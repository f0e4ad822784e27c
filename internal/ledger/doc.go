// Package ledger keeps the ledger of an environment: a write-ahead log in the environment's
// own repository. An entry is written before the first tag moves, with the state pending, and
// gets its outcome once the tags have moved or were reverted.
//
// The newest entries are in two heads, two tags that are written in turn. What counts is the
// union of both, so that a stale write, a deletion or a passing 404 harms one of two copies.
// When a head is full, its oldest final entries go into a segment under a tag of its own.
//
// A run goes through these steps:
//
//	l := ledger.Open(store, ledger.ForEnvironment("production"), run)
//	v, err := l.Read(ctx)                        // what happened, and who is at it now
//	err = l.Create(ctx)                          // a first promotion: does the registry take a ledger?
//	s, err := l.Begin(ctx, tags, draft)          // pending; waits for other runs, resolves dead ones
//	err = s.Check(ctx)                           // before each wave of tags, and before reverting
//	err = s.Finish(ctx, outcome, held)           // the outcome
//
// No registry has compare-and-swap. Every write rests on a read that is at most two seconds
// old, and is read back. The tests step through all interleavings of two runs.
package ledger
