package promote

import (
	"fmt"
	"sync"
	"testing"
)

// TestNotices_SideBySide: steps that run side by side lose none of each other's notices, and each is kept once.
func TestNotices_SideBySide(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 200
	var n notices
	var added, g = make([]int, writers), sync.WaitGroup{}
	for w := range writers {
		g.Go(func() {
			for i := range each {
				if n.add(fmt.Sprint("notice ", i)) {
					added[w]++
				}
			}
		})
	}
	g.Wait()
	sum := 0
	for _, a := range added {
		sum += a
	}
	if got := len(n.all()); got != each || sum != each {
		t.Errorf("%d kept, %d added, want %d", got, sum, each)
	}
}
