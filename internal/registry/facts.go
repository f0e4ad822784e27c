package registry

// facts are what a host has shown that it can do.
type facts struct {
	mounts  bool    // it has taken a blob over from another repository
	single  verdict // a blob within the POST that starts its upload
	bodies  int     // refusals in a row of a blob in one PUT
	largest int64   // of those refused, the smallest: from there on blobs are sent by PATCH
	bySize  bool    // it named the size as the reason
	noHead  bool    // it answers the GET of a blob and not its HEAD
	tagPage int     // how many tags it refused to list at once, of the sizes that are asked for; 0: none
}

// verdict is what trying something has shown.
type verdict int

const (
	untried verdict = iota
	trying          // by somebody; the others do without meanwhile
	proven
	never
)

// smallBlob is the size in bytes up to which a blob is held in memory and sent
// as a small request.
const smallBlob = 64 << 10

// mounted notes that a mount was taken.
func (h *host) mounted() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts.mounts = true
}

func (h *host) mounts() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.facts.mounts
}

// trySingle reports whether a blob may be sent within the POST that starts its
// upload: where that is proven, and once to find out.
func (h *host) trySingle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.facts.single == untried {
		h.facts.single = trying
		return true
	}
	return h.facts.single == proven
}

// tried notes what came of it. What was refused once is not tried again.
func (h *host) tried(v verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts.single = v
}

// bodyRefused notes that a blob was refused in one PUT. A single refusal may be a
// mistake and concerns that blob alone, unless the host names its size as the
// reason.
func (h *host) bodyRefused(size int64, tooLarge bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &h.facts
	if f.bodies++; f.bodies < 2 && !tooLarge {
		return
	}
	if f.largest == 0 || size < f.largest {
		f.largest = size
	}
	f.bySize = f.bySize || tooLarge
}

// bodyTaken notes that a blob was taken in one PUT: size was not the reason for
// an earlier refusal of a smaller one.
func (h *host) bodyTaken(size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts.bodies = 0
	if size >= h.facts.largest {
		h.facts.largest, h.facts.bySize = 0, false
	}
}

// bodiesByPatch reports whether a blob of that size is sent by PATCH.
func (h *host) bodiesByPatch(size int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.facts.largest > 0 && size >= h.facts.largest
}

// chunk is how much of a blob the host is sent with one request: half of what it
// refused for its size; 0: all.
func (h *host) chunk() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.facts.bySize {
		return 0
	}
	return max(min(h.facts.largest/2, maxChunk), minChunk)
}

// noPatch notes that the host takes no PATCH either.
func (h *host) noPatch() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts.bodies, h.facts.largest, h.facts.bySize = 0, 0, false
}

// refusedHead notes that the host answers the GET of a blob and not its HEAD.
func (h *host) refusedHead() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts.noHead = true
}

func (h *host) answersHead() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.facts.noHead
}

// tagPage is how many tags are asked for at once; 0: as many as the host likes.
func (h *host) tagPage() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.facts.tagPage {
	case 0:
		return TagPage
	case TagPage:
		return smallTagPage
	}
	return 0
}

// refusedTagPage notes that so many were refused.
func (h *host) refusedTagPage(size int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := &h.facts; f.tagPage == 0 || size < f.tagPage {
		f.tagPage = size
	}
}
