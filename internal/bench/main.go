// Command bench runs this program and its peers, as each one's own "go install"
// leaves it, on one reference image over one simulated network, in turn, and
// prints what each took: wall time, requests at both registries, memory.
//
//	go run ./internal/bench -runs 3 >docs/performance.md
//
// The registries are CNCF distribution in processes of their own, with token
// authentication, their content in memory, and a network in their listeners: a
// round trip, a bandwidth per connection and direction, and the handshake's
// round trip. A peer that is not installed is left out and named.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// network is what the registries' listeners simulate.
type network struct {
	rtt       time.Duration
	bandwidth int64 // bytes a second
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var c choice
	flags.IntVar(&c.runs, "runs", 3, "counted runs of each; the median is printed")
	only := flags.String("only", "", "only the tools whose names begin so: promote,crane")
	cases := flags.String("cases", "", "only these: cross,again,retag,mount (again needs cross before it)")
	trace := flags.String("trace", "", "file for the timeline of this program's requests")
	var n network
	flags.DurationVar(&n.rtt, "rtt", 40*time.Millisecond, "round trip")
	flags.Int64Var(&n.bandwidth, "bandwidth", 25_000_000, "bytes per second of each connection and direction")
	memory := flags.String("memory", "/dev/shm", "folder of a file system in memory, for the registries' content")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c.only, c.cases = words(*only), words(*cases)
	if *trace != "" {
		file, err := os.Create(*trace)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		c.trace = file
	}
	w, err := newWorld(ctx, *memory, n)
	if err != nil {
		return err
	}
	defer w.close()
	table, err := w.measure(ctx, c, stderr)
	if err != nil {
		return err
	}
	head(stdout, c.runs, n)
	table.write(stdout)
	return nil
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func head(out io.Writer, runs int, n network) {
	_, _ = fmt.Fprintf(out, "Measured on %s, %s/%s, %d cores, %s; %v round trip, %d MB/s per connection and direction; median of %d runs, in turn.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), n.rtt, n.bandwidth/1_000_000, runs)
}
