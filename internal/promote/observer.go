package promote

import "time"

// Observer hears what happens while it happens. Text may hold a stranger's
// words; the observer makes it harmless for its medium. Progress is called
// often, and from another goroutine than the rest.
type Observer interface {
	Step(title string)
	Info(text string)
	Notice(text string)
	Warning(text string)
	Progress(done, total int64, blobsDone, blobsTotal int, elapsed time.Duration)
}
