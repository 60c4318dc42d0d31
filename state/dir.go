package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// checkDir refuses a directory that holds something else: Open would mix state
// into it, Remove would delete it. A directory that is missing or empty is fine.
func checkDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case lockName, storeName, loadName, infoName, probeName:
		default:
			return fmt.Errorf("%s contains %s: %w", dir, e.Name(), ErrNotState)
		}
	}
	return nil
}

// makeDirs makes a directory, for the owner only, and the missing ones above it,
// so that they survive a power loss: a directory is there only once the one that
// names it is synced.
func makeDirs(fs FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent != dir && parent != "." && parent != "" {
		if err := makeDirs(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

// syncDir makes the names in a directory durable.
func syncDir(fs FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// takeDir checks that dir is a state directory that nobody uses, and locks it.
func takeDir(dir string) (release func(), err error) {
	if _, err := os.Stat(filepath.Join(dir, infoName)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", dir, ErrNotState)
		}
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// asideMark stands between the name of a state directory and the number of a
// copy of it that was put aside.
const asideMark = ".corrupt-"

func asideName(dir string, n int) string {
	return fmt.Sprintf("%s%s%d", filepath.Clean(dir), asideMark, n)
}

// Quarantine puts a state directory aside, for later inspection, and returns
// where it is now: beside the old place, with a number. Open then begins anew.
// Errors: ErrLocked, ErrNotState.
func Quarantine(dir string) (newDir string, err error) {
	release, err := takeDir(dir)
	if err != nil {
		return "", fmt.Errorf("quarantine state: %w", err)
	}
	defer release()
	numbers, err := asideNumbers(dir)
	if err != nil {
		return "", fmt.Errorf("quarantine state: %w", err)
	}
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	newDir = asideName(dir, next)
	if err := os.Rename(dir, newDir); err != nil {
		return "", fmt.Errorf("quarantine state: %w", err)
	}
	return newDir, nil
}

// Remove deletes a pipeline's state directory. A directory that does not exist
// is no error. Errors: ErrLocked while a process uses it, ErrNotState when it
// does not look like one; nothing is deleted then.
func Remove(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	release, err := takeDir(dir)
	if err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	defer release()
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}
