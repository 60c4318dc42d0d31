package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// keptAside is how many damaged states are kept beside the directory.
const keptAside = 3

// probeBytes is how much must fit on the disk before a state that found it
// full is opened again: a flush of the memory table, about.
const probeBytes = 8 << 20

// probeName is the file by which it is tried.
const probeName = "PROBE"

// Directory is the place of a process's state over the lives of its DB: it is
// opened there, put aside when it is damaged, and waits there for space.
type Directory struct {
	Options Options
	// ProbeBytes is how much must fit before Probe says that there is space,
	// default 8 MiB.
	ProbeBytes int
}

// Open is the package's Open, with the directories above it made.
func (d Directory) Open() (*DB, error) {
	if d.Options.FS == nil {
		if err := os.MkdirAll(filepath.Dir(d.Options.Dir), 0o700); err != nil {
			return nil, fmt.Errorf("open state: %w", classify(err))
		}
	}
	return Open(d.Options)
}

// Quarantine puts the files aside, and deletes the oldest of those put aside
// earlier: the last three stay. It returns where they are now and what was deleted.
func (d Directory) Quarantine() (kept string, deleted []string, err error) {
	if kept, err = Quarantine(d.Options.Dir); err != nil {
		return "", nil, err
	}
	deleted, err = pruneAside(d.Options.Dir)
	return kept, deleted, err
}

// Probe tries whether there is space, by writing a file and deleting it. The
// error is ErrDiskFull when there is none.
func (d Directory) Probe() error {
	size := d.ProbeBytes
	if size == 0 {
		size = probeBytes
	}
	fsys := d.Options.FS
	if fsys == nil {
		fsys = diskFS()
	}
	if err := makeDirs(fsys, d.Options.Dir); err != nil {
		return fmt.Errorf("probe state directory: %w", classify(err))
	}
	name := fsys.PathJoin(d.Options.Dir, probeName)
	f, err := fsys.Create(name, storeWrites)
	if err != nil {
		return fmt.Errorf("probe state directory: %w", classify(err))
	}
	block := make([]byte, 256<<10)
	for written := 0; written < size && err == nil; written += len(block) {
		_, err = f.Write(block)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), fsys.Remove(name)); err != nil {
		return fmt.Errorf("probe state directory: %w", classify(err))
	}
	return nil
}

// asideNumbers lists the numbers of what has been put aside beside dir, rising.
func asideNumbers(dir string) ([]int, error) {
	dir = filepath.Clean(dir)
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), filepath.Base(dir)+asideMark)
		if n, err := strconv.Atoi(text); ok && err == nil && n > 0 && strconv.Itoa(n) == text {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// pruneAside deletes all but the last ones put aside. What does not look like a
// state is left alone.
func pruneAside(dir string) (deleted []string, err error) {
	numbers, err := asideNumbers(dir)
	if err != nil {
		return nil, fmt.Errorf("delete old quarantined state: %w", err)
	}
	for _, n := range numbers[:max(0, len(numbers)-keptAside)] {
		old := asideName(dir, n)
		if err := Remove(old); errors.Is(err, ErrNotState) {
			continue
		} else if err != nil {
			return deleted, fmt.Errorf("delete old quarantined state: %w", err)
		}
		deleted = append(deleted, old)
	}
	return deleted, nil
}
