package state

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestDirectoryKeepsTheLastThreePutAside(t *testing.T) {
	d := Directory{Options: Options{Dir: filepath.Join(t.TempDir(), "above", "state")}}
	other := d.Options.Dir + ".corrupt-notes" // somebody's own
	var removed []string
	for range 5 {
		db, err := d.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		kept, deleted, err := d.Quarantine()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Error(err)
		}
		removed = append(removed, deleted...)
	}
	if want := []string{d.Options.Dir + ".corrupt-1", d.Options.Dir + ".corrupt-2"}; len(removed) != 2 || removed[0] != want[0] || removed[1] != want[1] {
		t.Errorf("deleted %q, want %q", removed, want)
	}
	left, err := filepath.Glob(d.Options.Dir + ".corrupt-*")
	if err != nil || len(left) != 4 {
		t.Errorf("left are %q, %v", left, err)
	}
}

func TestProbeTellsWhetherThereIsSpace(t *testing.T) {
	disk := NewMemFS()
	var full atomic.Bool
	d := Directory{ProbeBytes: 1 << 20, Options: Options{Dir: "state", FS: errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))}}
	for _, now := range []bool{false, true, false} {
		full.Store(now)
		if err := d.Probe(); errors.Is(err, ErrDiskFull) != now || (err == nil) == now {
			t.Errorf("full: %v, got %v", now, err)
		}
	}
	names, err := disk.List("state")
	if err != nil || len(names) != 0 {
		t.Errorf("left are %q, %v", names, err)
	}
}
