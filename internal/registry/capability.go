package registry

import "sync"

// capabilities are what a host has shown in this run that it supports.
type capabilities struct {
	mu           sync.Mutex
	mounts       bool       // it has mounted a blob
	singlePost   capability // a blob in the body of the POST that starts its upload
	refusedPuts  int        // refusals in a row of a blob in one PUT
	smallestPut  int64      // size of the smallest blob refused in one PUT: blobs from this size on are sent by PATCH; 0: none
	limitsBodies bool       // it gave the size as the reason
	noBlobHead   bool       // it answers GET of a blob, but not HEAD
	tagPageSize  int        // the smallest page of tags that it refused; 0: none
}

// capability is what a run knows about an optional feature of a registry.
type capability int

const (
	untried capability = iota
	trying             // one request tries it; other requests do without until it is answered
	supported
	unsupported
)

// smallBlob is the size in bytes up to which a blob is transferred in memory by a small
// request.
const smallBlob = 64 << 10

// learnMount records that the host has mounted a blob.
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

// trySinglePost reports whether a blob may be sent in the POST that starts its upload: if
// that is supported, and once to find out.
func (c *capabilities) trySinglePost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.singlePost == untried {
		c.singlePost = trying
		return true
	}
	return c.singlePost == supported
}

// triedSinglePost records the result. After one refusal it is not tried again.
func (c *capabilities) triedSinglePost(v capability) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.singlePost = v
}

// bodyRefused records that a blob was refused in one PUT. A single refusal may be a mistake
// and concerns that blob alone, unless the host gives the size as the reason.
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

// bodyAccepted records that a blob was accepted in one PUT: its size was not the reason for
// an earlier refusal of a smaller one.
func (c *capabilities) bodyAccepted(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusedPuts = 0
	if size >= c.smallestPut {
		c.smallestPut, c.limitsBodies = 0, false
	}
}

// bodiesByPatch reports whether a blob of this size is sent by PATCH.
func (c *capabilities) bodiesByPatch(size int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.smallestPut > 0 && size >= c.smallestPut
}

// chunk is the size in bytes of one request with a part of a blob: half of the size that
// the host refused; 0: the whole blob.
func (c *capabilities) chunk() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.limitsBodies {
		return 0
	}
	return max(min(c.smallestPut/2, maxChunk), minChunk)
}

// noPatch records that the host refuses PATCH too: blobs are sent by PUT again.
func (c *capabilities) noPatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusedPuts, c.smallestPut, c.limitsBodies = 0, 0, false
}

// refusedHead records that the host answers GET of a blob, but not HEAD.
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

// tagPage is the size of a page of tags to request; 0: the host decides.
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

// refusedTagPage records that a page of this size was refused.
func (c *capabilities) refusedTagPage(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tagPageSize == 0 || size < c.tagPageSize {
		c.tagPageSize = size
	}
}
