package regtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"time"
)

// spawnWait is how long a registry may take to say where it listens, and to end when it is told to.
const spawnWait = 30 * time.Second

// Spawn starts a program that serves a registry on loopback, prints its address as its first line, and ends when
// its standard input is closed (internal/regtest/distribution is one). The handler passes requests to it and is meant
// for Options.Backend. The function ends the program; so does the end of the context.
func Spawn(ctx context.Context, binary string, args ...string) (http.Handler, func() error, error) {
	command := exec.CommandContext(ctx, binary, args...)
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", binary, err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", binary, errors.Join(err, stdin.Close()))
	}
	if err := command.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", binary, err)
	}
	slow := time.AfterFunc(spawnWait, func() { _ = command.Process.Kill() })
	defer slow.Stop()
	host, err := firstLine(stdout)
	if err != nil {
		_ = stdin.Close()
		return nil, nil, fmt.Errorf("read address of %s: %w", binary, errors.Join(err, command.Wait()))
	}
	proxy := newProxy(host)
	return proxy, func() error { return stop(command, stdin, proxy) }, nil
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 1<<10)).ReadString('\n')
	return strings.TrimSpace(line), err
}

func stop(command *exec.Cmd, stdin io.Closer, proxy *httputil.ReverseProxy) error {
	proxy.Transport.(*http.Transport).CloseIdleConnections()
	slow := time.AfterFunc(spawnWait, func() { _ = command.Process.Kill() })
	defer slow.Stop()
	if err := stdin.Close(); err != nil {
		return fmt.Errorf("end %s: %w", command.Path, errors.Join(err, command.Process.Kill(), command.Wait()))
	}
	if err := command.Wait(); err != nil {
		return fmt.Errorf("end %s: %w", command.Path, err)
	}
	return nil
}

// Proxy passes requests to a registry that listens elsewhere, and is meant for Options.Backend.
func Proxy(host string) http.Handler { return newProxy(host) }

// newProxy streams both ways and keeps the Host header: a registry builds its upload locations from it.
func newProxy(host string) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: host})
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
}
