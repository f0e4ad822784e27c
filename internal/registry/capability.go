package registry

import "sync"

// capabilities are what a host has shown in this run that it supports.
type capabilities struct {
	mu           sync.Mutex
	mounts       bool       // it has mounted a blob from another repository
	singlePost   capability // a blob within the POST that starts its upload
	refusedPuts  int        // refusals in a row of a blob in one PUT
	smallestPut  int64      // the smallest of the blobs refused in one PUT, in bytes: from there on blobs are sent by PATCH; 0: none
	limitsBodies bool       // it named the size as the reason
	noBlobHead   bool       // it answers the GET of a blob and not its HEAD
	tagPageSize  int        // the smallest number of tags that it refused to list at once; 0: none
}

// capability is what trying something has shown.
type capability int

const (
	untried capability = iota
	trying             // one request tries it; the others do without until its answer is there
	supported
	unsupported
)

// smallBlob is the size in bytes up to which a blob is held in memory and sent
// as a small request.
const smallBlob = 64 << 10

// learnMount notes that the host has mounted a blob.
func (c *capabilities) learnMount() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mounts = true
}

func (c *capabilities) supportsMount() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mounts
}

// trySinglePost reports whether a blob may be sent within the POST that starts its
// upload: where that is supported, and once to find out.
func (c *capabilities) trySinglePost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.singlePost == untried {
		c.singlePost = trying
		return true
	}
	return c.singlePost == supported
}

// triedSinglePost notes what came of it. What was refused once is not tried again.
func (c *capabilities) triedSinglePost(v capability) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.singlePost = v
}

// bodyRefused notes that a blob was refused in one PUT. A single refusal may be a
// mistake and concerns that blob alone, unless the host names its size as the
// reason.
func (c *capabilities) bodyRefused(size int64, tooLarge bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusedPuts++; c.refusedPuts < 2 && !tooLarge {
		return
	}
	if c.smallestPut == 0 || size < c.smallestPut {
		c.smallestPut = size
	}
	c.limitsBodies = c.limitsBodies || tooLarge
}

// bodyTaken notes that a blob was taken in one PUT: size was not the reason for
// an earlier refusal of a smaller one.
func (c *capabilities) bodyTaken(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusedPuts = 0
	if size >= c.smallestPut {
		c.smallestPut, c.limitsBodies = 0, false
	}
}

// bodiesByPatch reports whether a blob of that size is sent by PATCH.
func (c *capabilities) bodiesByPatch(size int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.smallestPut > 0 && size >= c.smallestPut
}

// chunk is how much of a blob the host is sent with one request: half of what it
// refused for its size; 0: all.
func (c *capabilities) chunk() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.limitsBodies {
		return 0
	}
	return max(min(c.smallestPut/2, maxChunk), minChunk)
}

// noPatch notes that the host takes no PATCH either.
func (c *capabilities) noPatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusedPuts, c.smallestPut, c.limitsBodies = 0, 0, false
}

// refusedHead notes that the host answers the GET of a blob and not its HEAD.
func (c *capabilities) refusedHead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noBlobHead = true
}

func (c *capabilities) answersHead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.noBlobHead
}

// tagPage is how many tags are asked for at once; 0: as many as the host likes.
func (c *capabilities) tagPage() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.tagPageSize {
	case 0:
		return TagPage
	case TagPage:
		return smallTagPage
	}
	return 0
}

// refusedTagPage notes that so many were refused.
func (c *capabilities) refusedTagPage(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tagPageSize == 0 || size < c.tagPageSize {
		c.tagPageSize = size
	}
}
