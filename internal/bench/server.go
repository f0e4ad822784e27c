package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// The account of all registries.
const (
	user     = "bench"
	password = "bench-password"
)

// server is a registry in a process of its own, so that a tool's process is
// measured alone.
type server struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	host    string
	// authority is the PEM of whom to trust for its certificate; empty over plain HTTP.
	authority string
}

// start runs a registry. It collects its garbage rarely: distribution takes 4 MiB
// of new memory to answer each GET of a blob, and what it spends on that is taken
// from the tool on a small machine.
func start(ctx context.Context, binary string, args ...string) (*server, error) {
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = append(os.Environ(), "GOGC=800", "GOMEMLIMIT=2GiB")
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}
	s := &server{command: c, stdin: stdin, stdout: bufio.NewReaderSize(stdout, 1<<20)}
	line, err := s.stdout.ReadString('\n')
	if err != nil {
		return s, fmt.Errorf("read the address of a registry: %w", err)
	}
	s.host = strings.TrimSpace(line)
	return s, s.ask("authority", &s.authority)
}

func (s *server) close() {
	if s != nil {
		_ = s.stdin.Close()
		_ = s.command.Wait()
	}
}

// ask reads the answer to one of the lines of regtest.Registry.Converse.
func (s *server) ask(line string, answer any) error {
	if _, err := fmt.Fprintln(s.stdin, line); err != nil {
		return err
	}
	text, err := s.stdout.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

// tick is the unit of processor time in proc(5), the same on every Linux.
const tick = 10 * time.Millisecond

// cpu is the processor time so far, user and system; 0 where the system does not
// tell.
func (s *server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.command.Process.Pid))
	if err != nil {
		return 0
	}
	// The name in parentheses may hold blanks: fields 14 and 15 of all, 12 and 13 after it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick
}

// serveHollow is a registry that makes its content while it is read, and forgets
// what is written: with -layer it holds the image of one large layer.
func serveHollow(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("hollow", flag.ContinueOnError)
	layer := flags.Int64("layer", 0, "bytes of the one layer")
	name := flags.String("name", "", "host name to serve https by; empty: plain http on loopback")
	if err := flags.Parse(args); err != nil {
		return err
	}
	backend := regtest.NewHollow()
	if *layer > 0 {
		backend.Hold(regtest.Build(regtest.Spec{Seed: "large", LayerSize: *layer}), "acme/large", "dev")
	}
	everything := []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}
	r, err := regtest.Start(regtest.Options{
		Backend: backend, TLS: *name != "", Name: *name,
		Auth: &regtest.Auth{Users: map[string]regtest.User{user: {Password: password, Grants: everything}}},
	})
	if err != nil {
		return err
	}
	err = r.Converse(in, out)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return err
}
