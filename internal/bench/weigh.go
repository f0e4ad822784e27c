package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// weight is what one process took, as the kernel counted it.
type weight struct {
	Began  time.Time
	Wall   time.Duration
	CPU    time.Duration // user and system
	Memory int64         // bytes resident at its peak
	Status string        // empty: it ended with 0
}

// weigh runs a program and writes its weight to a file: FILE HOSTS PROGRAM
// ARGUMENTS. It is a process of its own, because the kernel counts the memory of a
// process that starts another one into that other's peak: this one has little. It
// has mounts of its own, too, and puts HOSTS in the place of /etc/hosts there.
func weigh(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return errors.New("weigh: a file, a file of hosts, and a program")
	}
	if err := mountHosts(args[1]); err != nil {
		return err
	}
	return weighProgram(ctx, args[0], args[2:])
}

func weighProgram(ctx context.Context, file string, args []string) error {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	w := weight{Began: time.Now()}
	err := c.Run()
	w.Wall = time.Since(w.Began)
	if err != nil {
		w.Status = err.Error()
	}
	if c.ProcessState != nil {
		w.CPU = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
		if usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
			w.Memory = usage.Maxrss << 10 // Linux counts in KiB
		}
	}
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// patience is how long one process may take.
const patience = 15 * time.Minute

// weighed runs a program through weigh. That it fails stands in its status; an
// error is a failure to measure.
func (w *world) weighed(ctx context.Context, binary string, args, env []string) (weight, error) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	file := filepath.Join(w.folder, "weight")
	c := exec.CommandContext(bounded, w.bench, append([]string{"weigh", file, w.hosts(), binary}, args...)...)
	c.SysProcAttr = ownMounts()
	c.Env, c.Dir = append(w.environment(), env...), w.folder
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // weigh ends the program
	c.WaitDelay = 10 * time.Second
	out, err := c.CombinedOutput()
	if ctx.Err() != nil {
		return weight{}, context.Cause(ctx)
	}
	if err != nil {
		return weight{}, fmt.Errorf("weigh %s with mounts of its own: %w: %.300s", binary, err, out)
	}
	var all weight
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if all.Status != "" {
		all.Status += ": " + lastLine(out)
	}
	return all, err
}
