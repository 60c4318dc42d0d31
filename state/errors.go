package state

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Outcomes that callers branch on.
var (
	// ErrLocked: another process (or another DB of this one) holds the directory.
	ErrLocked = errors.New("state directory is in use")
	// ErrCorrupt: the store's files do not hold what was written to them. Close
	// the DB, Quarantine the directory and restore from the changelogs.
	ErrCorrupt = errors.New("state is corrupt")
	// ErrVersion: the files or a row were written by a later version of this
	// program, in a format that this one does not know. Nothing has been changed.
	ErrVersion = errors.New("written by a later version of streamctl")
	// ErrDiskFull: a write found no space. The DB has failed; Close it and Open
	// anew when there is space.
	ErrDiskFull = errors.New("no space left for state")
	// ErrFailed: an earlier failure (disk full, I/O, corruption) has stopped the
	// DB; nothing is written any more. Its cause is wrapped too.
	ErrFailed = errors.New("state store has failed")
	// ErrClosed: the DB or task is closed.
	ErrClosed = errors.New("state is closed")
	// ErrOpen: the task is open already.
	ErrOpen = errors.New("task is open already")
	// ErrUncommitted: there are changes that have not been applied.
	ErrUncommitted = errors.New("uncommitted changes")
	// ErrNotState: the directory does not look like a state directory.
	ErrNotState = errors.New("not a state directory")
)

// classify makes a store's error one that callers can branch on.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrCorrupt), errors.Is(err, ErrDiskFull), errors.Is(err, ErrFailed):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
