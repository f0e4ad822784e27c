package input

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// readBounded reads a regular file of at most limit bytes. Anything else could
// block, have no end, or be somewhere else than it seems.
func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is %s and not a regular file", kindOf(info.Mode()))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return raw, nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&os.ModeSymlink != 0:
		return "a symbolic link"
	default:
		return "a device, a pipe or a socket"
	}
}

// locate is a path as it is opened: relative ones lie in the workspace, which is
// the working directory where the runner names none.
func locate(workspace, path string) string {
	if filepath.IsAbs(path) || workspace == "" {
		return path
	}
	return filepath.Join(workspace, path)
}

// directory is where relative paths lie, for messages.
func directory(workspace string) string {
	if workspace != "" {
		return plain(workspace)
	}
	if folder, err := os.Getwd(); err == nil {
		return plain(folder)
	}
	return "the working directory"
}
