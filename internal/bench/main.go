// Command bench runs this program and its peers, as each one's own "go install"
// leaves it, on the same images over one simulated network, in turn, and prints
// the page of what they took: wall time, requests, connections and handshakes at
// both registries, memory, processor time.
//
//	go -C internal/bench run . -runs 3 >docs/performance.md
//
// The registries are CNCF distribution in processes of their own, with TLS and
// HTTP/2 offered, token authentication, their content in memory, and a network in
// their listeners: a round trip, a bandwidth per connection and direction, and the
// TCP handshake's round trip. A peer that is not installed is left out and named.
//
// It runs on Linux, as root or where users may have namespaces: every tool sees an
// /etc/hosts with the registries' names in it. It is a module of its own, so that
// nothing of it is in the product's; when the product's own go.mod has changed,
// this one may need "go mod tidy" too.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch runs the bench, or one of the parts that need a process of their own.
func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "weigh":
			return weigh(ctx, args[1:])
		case "hollow":
			return serveHollow(args[1:], os.Stdin, os.Stdout)
		}
	}
	return run(ctx, args, os.Stdout, os.Stderr)
}

// network is what the registries' listeners simulate.
type network struct {
	rtt       time.Duration
	bandwidth int64 // bytes a second
}

// choice is what is measured, how often, and where.
type choice struct {
	network
	runs        int
	only, cases []string // beginnings of names; empty: all
	layer       int64    // bytes of the large layer
	memory      string   // folder of a file system in memory
	trace       string   // file; empty: none
	command     string   // what chose this, as it is typed
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	trace := io.Discard
	if c.trace != "" {
		file, err := os.Create(c.trace)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		trace = file
	}
	w, err := newWorld(ctx, c)
	if err != nil {
		return err
	}
	defer w.close()
	r, err := w.measure(ctx, stderr, trace)
	if err != nil {
		return err
	}
	return r.write(stdout)
}

func parse(args []string) (choice, error) {
	var c choice
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&c.runs, "runs", 3, "counted runs of each; the median is printed")
	flags.DurationVar(&c.rtt, "rtt", 40*time.Millisecond, "round trip")
	flags.Int64Var(&c.bandwidth, "bandwidth", 25_000_000, "bytes per second of each connection and direction")
	flags.Int64Var(&c.layer, "layer", 4<<30, "bytes of the large layer")
	flags.StringVar(&c.memory, "memory", "/dev/shm", "folder of a file system in memory, for the registries' content")
	flags.StringVar(&c.trace, "trace", "", "file for the timeline of this program's requests")
	only := flags.String("only", "", "only the tools whose names begin so: promote,crane")
	cases := flags.String("cases", "", "only the cases whose names begin so, of "+strings.Join(caseNames(), ",")+" (again and tag need cross, plan-again needs many)")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	c.only, c.cases = words(*only), words(*cases)
	c.command = command(flags)
	if c.runs < 1 {
		return c, fmt.Errorf("-runs %d: at least 1", c.runs)
	}
	return c, nil
}

// command is what was typed, without the places of files.
func command(flags *flag.FlagSet) string {
	text := "go -C internal/bench run ."
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "trace" && f.Name != "memory" {
			text += fmt.Sprintf(" -%s %s", f.Name, f.Value)
		}
	})
	return text
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func chosen(list []string, name string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(name, s) })
}
