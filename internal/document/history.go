package document

import "time"

// History is what the records of one environment say, or of one tag. All text in it is
// a stranger's and unescaped.
type History struct {
	Environment string `json:"environment,omitempty"` // empty: of a tag alone
	Image       string `json:"image,omitempty"`       // its name in the config's images
	Repository  string `json:"repository"`
	Tag         string `json:"tag,omitempty"`     // the moving tag that the records are of
	Ledger      string `json:"ledger"`            // reference of the tag that it was read from
	Lines       []Line `json:"lines"`             // newest first; those that were asked for
	Older       bool   `json:"older,omitempty"`   // there are more that a limit left out
	LeftOut     int    `json:"leftOut,omitempty"` // entries that cannot be relied on
	Missing     bool   `json:"missing,omitempty"` // nothing was ever recorded there
}

// Holding is what one environment holds now of one image: a station of its lineage.
type Holding struct {
	Environment string    `json:"environment"`
	Image       string    `json:"image,omitempty"`
	From        string    `json:"from,omitempty"`     // the environment before it
	Reference   string    `json:"reference"`          // registry/path:tag
	Digest      string    `json:"digest,omitempty"`   // empty: the tag does not exist
	Since       time.Time `json:"since,omitzero"`     // without a break, as the records say; zero: they do not
	Recorded    bool      `json:"recorded,omitempty"` // the last record says that it holds this
	Actor       string    `json:"actor,omitempty"`    // who brought it, as the record says
	Fault       string    `json:"fault,omitempty"`    // why it could not be read
}
