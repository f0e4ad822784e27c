package document

// FindingKind is what an audit can find.
type FindingKind string

// The kinds of findings. Their spelling is part of the contract.
const (
	FindingDrift          FindingKind = "drift"           // a tag does not hold what its last record says
	FindingChain          FindingKind = "chain"           // a record was removed, altered or forked
	FindingLedger         FindingKind = "ledger"          // the ledger is lost or damaged, or a promotion in it has not ended well
	FindingMissing        FindingKind = "missing"         // there is neither a repository, or a tag in it, nor a record
	FindingImage          FindingKind = "image"           // something of what the environment holds is gone
	FindingRollbackTarget FindingKind = "rollback-target" // something of what a rollback needs is gone
	FindingRetention      FindingKind = "retention"       // a clean-up may take a rollback target soon
	FindingUnreadable     FindingKind = "unreadable"      // it could not be found out
)

// Finding is something that an audit found wrong.
type Finding struct {
	Kind        FindingKind `json:"kind"`
	Environment string      `json:"environment,omitempty"`
	Image       string      `json:"image,omitempty"` // its name in the config's images
	Reference   string      `json:"reference"`       // of the tag, image or ledger that it is about
	Digest      string      `json:"digest,omitempty"`
	Message     string      `json:"message"`        // what is wrong, as a sentence for people
	Hint        string      `json:"hint,omitempty"` // what to do
}

// Uncompared is what an audit was asked for and could hold against no record.
type Uncompared struct {
	Environment string `json:"environment,omitempty"`
	Image       string `json:"image,omitempty"` // its name in the config's images
	Reference   string `json:"reference"`       // of the moving tag, or of the repository
	Reason      string `json:"reason"`          // why, as a clause for people
}
