package transfer

// Level says how much of an image is read back at the target.
type Level string

// The levels of verification.
const (
	Manifests Level = "manifests" // every manifest is read back and hashed
	Blobs     Level = "blobs"     // and every blob is known to exist
	Content   Level = "content"   // and every blob is read back and hashed
)
