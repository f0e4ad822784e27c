package document

// Output is one output of the action. This table is its only definition:
// action.yml and the README are made from it.
type Output struct{ Name, Description string }

// Outputs are all outputs, in the order in which they are documented.
var Outputs = []Output{
	{"result", "The outcome in one word: `promoted`, `unchanged`, `would-promote` (a dry run that found something to do), `denied`, `invalid` or `failed`."},
	{"message", "The outcome in one line, as for a chat."},
	{"changed", "`true` if anything was written at a target, else `false`."},
	{"digest", "Digest of the promoted image, alone: the first one's, if there are several."},
	{"previous-digest", "Digest that the first moving tag held before; empty if the tag did not exist."},
	{"image", "The promoted image at its target as `repository@digest`: the first one, if there are several."},
	{"images", "Every promoted image at its target as `repository@digest`, one per line."},
	{"tags", "Full references of the tags that hold the image now (for a dry run: that would), one per line."},
	{"results", "JSON: one object per promotion, with source, digest, target repository, tags before and after, and what was copied."},
}
