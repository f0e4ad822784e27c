package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Names that lead to loopback only where a tool is run. A tool speaks plain HTTP of
// its own accord to 127.0.0.1, localhost and what ends so, but TLS to these: "test"
// is a domain that nobody has (RFC 6761, section 6.2).
const (
	farSource, farTarget   = "source.test", "target.test"
	nearSource, nearTarget = "near-source.test", "near-target.test"
)

const systemHosts = "/etc/hosts"

// writeHosts writes the system's hosts and the registries' names.
func (w *world) writeHosts() error {
	system, err := os.ReadFile(systemHosts)
	if err != nil {
		return err
	}
	names := strings.Join([]string{farSource, farTarget, nearSource, nearTarget}, " ")
	return os.WriteFile(w.hosts(), fmt.Appendf(system, "\n127.0.0.1 %s\n", names), 0o644)
}

func (w *world) hosts() string { return filepath.Join(w.folder, "hosts") }

// ownMounts gives a process mounts of its own, so that the machine's /etc/hosts
// stays as it is. Who is not root gets a namespace where he is.
func ownMounts() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// mountHosts puts a file in the place of /etc/hosts, for a process with mounts of
// its own and those that it starts.
func mountHosts(file string) error {
	// Else it would be seen outside, where the root's mounts are shared.
	err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, "")
	if err == nil {
		err = syscall.Mount(file, systemHosts, "", syscall.MS_BIND, "")
	}
	if err != nil {
		return fmt.Errorf("mount %s on %s: %w: run the bench as root, or allow user namespaces", file, systemHosts, err)
	}
	return nil
}
