package transfer

import "sync/atomic"

// Progress counts what moves. Bytes that had to be sent twice count once.
type Progress struct {
	bytes, totalBytes atomic.Int64
	blobs, totalBlobs atomic.Int64
}

// Snapshot is the progress at one moment.
type Snapshot struct {
	Bytes, TotalBytes int64
	Blobs, TotalBlobs int
}

// Snapshot returns the progress now.
func (p *Progress) Snapshot() Snapshot {
	return Snapshot{
		Bytes: p.bytes.Load(), TotalBytes: p.totalBytes.Load(),
		Blobs: int(p.blobs.Load()), TotalBlobs: int(p.totalBlobs.Load()),
	}
}

func (p *Progress) expect(size int64) {
	p.totalBytes.Add(size)
	p.totalBlobs.Add(1)
}

// expectAgain adds the bytes of a blob that is sent although it was there.
func (p *Progress) expectAgain(size int64) { p.totalBytes.Add(size) }

// spare takes back a blob's bytes: they need not be sent.
func (p *Progress) spare(size int64) { p.totalBytes.Add(-size) }

func (p *Progress) moved(n int64) { p.bytes.Add(n) }

func (p *Progress) finish() { p.blobs.Add(1) }
