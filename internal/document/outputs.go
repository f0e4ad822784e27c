package document

// Output is one output of the action. This table is its only definition:
// action.yml and the README are made from it.
type Output struct{ Name, Description string }

// Outputs are all outputs, in the order in which they are documented.
var Outputs = []Output{
	{"result", "The outcome in one word: `promoted`, `unchanged`, `would-promote` (a dry run that found something to do), `planned` (a plan was made), `rolled-back`, `listed` (a history), `clean` or `findings` (an audit), `unrecorded` (promoted or rolled back, but the ledger does not say so yet), `denied`, `invalid` or `failed`."},
	{"message", "The outcome in one line, as for a chat."},
	{"changed", "`true` if anything was written at a target, else `false`."},
	{"digest", "Digest of the promoted image, or of the one that was gone back to, alone: the first one's, if there are several. Empty for a history and an audit, as are all of images and tags."},
	{"previous-digest", "Digest that the first moving tag held before; empty if the tag did not exist."},
	{"image", "The promoted image at its target as `repository@digest`: the first one, if there are several."},
	{"images", "Every promoted image at its target as `repository@digest`, one per line."},
	{"tags", "Full references of the tags that hold the image now (for a dry run: that would), one per line."},
	{"plan", "The plan as text for `apply` (gzip and base64url); of a plan whose text is over 96 KiB, the path of its file. Only if `result` is `planned`."},
	{"plan-digest", "Digest of the plan that was made or applied: the same in both runs."},
	{"matrix", "JSON for `strategy.matrix`: for each image of the plan `image`, `environment`, `digest`, `plan` and `plan-digest`, where the plan is of that image alone; of several images where all would be too many for a matrix or an output. Empty if a part is too large all the same. Only if `result` is `planned`."},
	{"record", "Digest of the record that was written, the first one's, if there are several. Empty if none was."},
	{"ledger-head", "Digests of the two heads of the ledger as the run left them, with a blank between them: the first promotion's, if there are several. To copy the ledger, or to sign it elsewhere. Empty if there is none."},
	{"results", "JSON: one object per promotion, with source, digest, target repository, tags before and after, gates and their verdicts, what was copied, and the record. Of a history one object per environment and image, with its `lines`, newest first; where all would be too many for an output, `linesOmitted` counts the oldest ones, which are left out. Of an audit one object per finding."},
}
