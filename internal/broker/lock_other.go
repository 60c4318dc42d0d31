//go:build !unix

package broker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// lockDir takes the directory for this process by a file that only one can
// create. A process that dies leaves it behind; the message says what to do.
func lockDir(dir string) (io.Closer, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, fileMode)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("lock %s: %w (if none does, delete %s)", dir, ErrLocked, path)
	}
	if err != nil {
		return nil, err
	}
	return exclusiveFile{f}, nil
}

// exclusiveFile is gone when it is closed.
type exclusiveFile struct{ *os.File }

// Close closes and removes the file.
func (f exclusiveFile) Close() error {
	return errors.Join(f.File.Close(), os.Remove(f.Name()))
}
