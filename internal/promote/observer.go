package promote

import "time"

// Observer hears what happens while it happens. Text may hold a stranger's
// words; the observer makes it harmless for its medium. Every method may be called
// from several goroutines at once; Progress is called often.
type Observer interface {
	Step(title string)
	Info(text string)
	Notice(text string)
	Warning(text string)
	Progress(done, total int64, blobsDone, blobsTotal int, elapsed time.Duration)
}
