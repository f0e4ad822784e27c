package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// page is a document in Markdown.
type page struct{ strings.Builder }

func (p *page) say(format string, args ...any) { _, _ = fmt.Fprintf(p, format+"\n\n", args...) }

// table prints rows under a head, and nothing without rows.
func (p *page) table(head []string, rows [][]string) {
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---"
	}
	for _, row := range append([][]string{head, rule}, rows...) {
		_, _ = fmt.Fprintf(p, "| %s |\n", strings.Join(row, " | "))
	}
	_, _ = fmt.Fprintln(p)
}

// write prints everything that was measured.
func (r *results) write(out io.Writer) error {
	var p page
	p.say("# Performance")
	r.method(&p)
	r.reached(&p)
	r.one(&p)
	r.connected(&p)
	r.many(&p)
	r.plans(&p)
	r.sharing(&p)
	r.memoryTable(&p)
	r.processor(&p)
	r.plain(&p)
	r.failures(&p)
	_, err := io.WriteString(out, strings.TrimRight(p.String(), "\n")+"\n")
	return err
}

func (r *results) method(p *page) {
	p.say("This page is the output of `%s`; no figure in it is written by hand.", r.command)
	p.say("Measured on %s: %s.", time.Now().UTC().Format(time.DateOnly), machine())
	p.say("Versions: %s.", strings.Join(r.versions, ", "))
	if len(r.missing) > 0 {
		p.say("Not installed, and left out: %s.", strings.Join(r.missing, ", "))
	}
	p.say(`The registries are two processes of CNCF distribution behind TLS, with HTTP/2 offered, with token authentication, their
content in memory, set to collect garbage rarely, so that they take little of the machine. Every tool reaches them by
name, and trusts their authority as one of the system's. Their listeners simulate a network: %v round trip, %d MB/s for
each connection and direction, and a round trip for the TCP handshake of each connection; that of TLS takes another. Every
tool runs with its own defaults, one after the other; what was run several times (here %d) is shown by its median, and
memory and connections by the most. A tool copies to a repository that nothing was copied to before. Requests,
connections and handshakes are counted by the registries. Processor time and the peak of resident memory are the kernel's
figures for the tool's process.`, r.rtt, r.bandwidth/1_000_000, r.runs)
	p.say(`The image: an index of 2 platforms × 10 layers × 4 MiB, each platform with a BuildKit attestation; on the index and on
each of its children a cosign signature, a referrer, and a referrer of that referrer: 20 manifests, 47 blobs, 84 MB.`)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// ratio is ours to theirs.
func (r *results) ratio(scenario, peer string, value func(figure) float64) (float64, bool) {
	ours, ok := r.median(scenario, us)
	theirs, both := r.median(scenario, peer)
	if !ok || !both || value(theirs) == 0 {
		return 0, false
	}
	return value(ours) / value(theirs), true
}

func wall(f figure) float64 { return f.wall.Seconds() }
func cpu(f figure) float64  { return f.cpu.Seconds() }

func shown(ratio float64, ok bool) string {
	if !ok {
		return "—"
	}
	return fmt.Sprintf("%.2f", ratio)
}

// ran says whether a tool was run for a case, whatever came of it.
func (r *results) ran(scenario, tool string) bool { return len(r.figures[scenario][tool]) > 0 }
