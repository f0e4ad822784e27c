// Package ledger keeps in the registry what must outlive a run. A journal says
// which tags a release is about to move, so that after a run that was killed the
// next one can finish it or put it back.
package ledger
