// Package promote is the promotion itself, as one straight flow:
//
//	request ─▶ plan ─▶ gates ─▶ copy ─▶ verify ─▶ move tags ─▶ report
//
// A promotion is one image brought to one target repository. All promotions of
// a run are planned before anything is written, copied and verified before any
// tag moves, and their tags are put back together if one cannot be moved.
package promote
