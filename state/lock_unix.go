//go:build unix

package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockDir takes the directory for this process until the result is closed or
// the process ends. The lock's file holds the owner's pid for the next one to name.
func lockDir(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		pid := make([]byte, 20)
		n, _ := f.ReadAt(pid, 0)
		if owner := strings.TrimSpace(string(pid[:n])); owner != "" {
			return nil, fmt.Errorf("lock %s: %w by process %s", dir, ErrLocked, owner)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, ErrLocked)
	}
	// The pid only serves the message above: without it the lock holds as well.
	if f.Truncate(0) == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}
