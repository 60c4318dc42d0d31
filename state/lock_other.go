//go:build !unix

package state

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lockDir takes the directory for this process until the result is closed or
// the process ends.
func lockDir(dir string) (io.Closer, error) {
	l, err := vfs.Default.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w: %w", dir, ErrLocked, err)
	}
	return l, nil
}
