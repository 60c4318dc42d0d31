package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"streamctl/internal/record"
)

var changelogTP = record.TopicPartition{Topic: "changelog"}

// epochRow is what row i holds since epoch n: a reader can tell a mixture.
func epochRow(n, i int) []byte {
	return fmt.Appendf(nil, "epoch %d row %d %s", n, i, strings.Repeat("x", 100))
}

const epochRows = 200

// writeEpoch changes all rows and applies them.
func writeEpoch(task *Task, n int) error {
	for i := range epochRows {
		if _, err := task.Table("own").Put(fmt.Appendf(nil, "%04d", i), epochRow(n, i)); err != nil {
			return err
		}
	}
	task.SetPosition(inputTP, int64(n))
	s, err := task.Seal(func(*Table, []byte, []byte) {})
	if err != nil {
		return err
	}
	s.SetPosition(changelogTP, int64(n)*epochRows)
	return task.Apply(s)
}

// loadEpoch writes all rows by a bulk load through files.
func loadEpoch(task *Task, n int) error {
	l := task.Table("own").Loader()
	for i := range epochRows {
		if err := l.Add(fmt.Appendf(nil, "%04d", i), epochRow(n, i)); err != nil {
			return err
		}
	}
	return l.Finish(map[record.TopicPartition]int64{inputTP: int64(n), changelogTP: int64(n) * epochRows})
}

// epochOf returns the epoch the store is in, having checked that all of it is of that one.
func epochOf(task *Task) (int, error) {
	pos, _ := task.Position(inputTP)
	n := int(pos)
	if end, _ := task.Position(changelogTP); end != pos*epochRows {
		return n, fmt.Errorf("input is at epoch %d, the changelog at %d", n, end/epochRows)
	}
	rows := 0
	err := task.Table("own").Scan(nil, nil, func(key []byte, r *Row) (bool, error) {
		if want := epochRow(n, rows); !bytes.Equal(r.Value, want) {
			return false, fmt.Errorf("row %s of epoch %d holds %q", key, n, r.Value)
		}
		rows++
		return true, nil
	})
	if err == nil && n > 0 && rows != epochRows {
		err = fmt.Errorf("epoch %d has %d rows", n, rows)
	}
	return n, err
}

func openEpochs(o Options) (*DB, *Task, error) {
	o.MemTableBytes = 64 << 10 // flushes and compactions happen all the time
	o.LoadBytes = 8 << 10
	db, err := Open(o)
	if err != nil {
		return nil, nil, err
	}
	task, err := db.OpenTask("sub", 0, modelSpecs())
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, task, nil
}

// A full disk at any write stops the store with ErrDiskFull, never the process,
// and what is found after is one epoch that had been applied.
func TestFullDiskStopsCleanlyAndResumes(t *testing.T) {
	for at := range 60 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			disk := NewMemFS()
			var left atomic.Int64
			left.Store(int64(at * 7))
			full := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				switch op.Kind.ReadOrWrite() {
				case errorfs.OpIsWrite:
					if op.Kind != errorfs.OpRemove && op.Kind != errorfs.OpFileClose && left.Add(-1) < 0 {
						return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
					}
				}
				return nil
			}))
			applied, err := runUntilFailure(Options{Dir: "state", FS: full})
			if !errors.Is(err, ErrDiskFull) {
				t.Fatalf("failed at epoch %d with %v, want ErrDiskFull", applied, err)
			}
			db, task, err := openEpochs(Options{Dir: "state", FS: disk})
			if errors.Is(err, ErrCorrupt) && at*7 < 40 {
				return // it had never been opened completely: there is nothing to lose
			}
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			n, err := epochOf(task)
			if err != nil || n > applied+1 {
				t.Fatalf("found epoch %d after %d: %v", n, applied, err)
			}
			if err := writeEpoch(task, n+1); err != nil {
				t.Fatalf("go on after there is space again: %v", err)
			}
		})
	}
}

// runUntilFailure writes epochs until the store fails and returns the last that went well.
func runUntilFailure(o Options) (applied int, err error) {
	db, task, err := openEpochs(o)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := db.Close(); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
	}()
	for n := 1; n <= 2000; n++ {
		if n%5 == 0 {
			err = loadEpoch(task, n)
		} else {
			err = writeEpoch(task, n)
		}
		if err != nil {
			task.Abandon()
			return applied, err
		}
		applied = n
	}
	return applied, nil
}

func TestFailedStoreRefusesEverything(t *testing.T) {
	db, task, err := openEpochs(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeEpoch(task, 1); err != nil {
		t.Fatal(err)
	}
	storeLog{db}.Fatalf("MANIFEST sync failed: %v", syscall.EIO)
	select {
	case <-db.Failed():
	default:
		t.Fatal("Failed is not closed")
	}
	_, sealErr := task.Seal(func(*Table, []byte, []byte) {})
	_, getErr := task.Table("fed").Get([]byte("x"))
	_, openErr := db.OpenTask("other", 0, nil)
	for what, err := range map[string]error{
		"err": db.Err(), "apply": db.Apply(), "seal": sealErr, "open task": openErr, "drop": task.Drop(),
		"scan": task.Table("own").Scan(nil, nil, func([]byte, *Row) (bool, error) { return true, nil }),
		"load": task.Table("fed").Loader().Finish(nil),
	} {
		if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s after the failure: %v", what, err)
		}
	}
	if getErr != nil { // a table known to be empty needs no store
		t.Error(getErr)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// After a power loss at any moment, positions and rows are of one epoch, and
// never of one that had not been applied.
func TestPowerLossLeavesOneEpoch(t *testing.T) {
	for _, kept := range []int{0, 10, 50, 90, 100} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			disk := NewCrashFS()
			db, task, err := openEpochs(Options{Dir: "state", FS: disk})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			rng := rand.New(rand.NewPCG(uint64(kept), 1))
			for n := 1; n <= 60; n++ {
				if n%7 == 0 {
					err = loadEpoch(task, n)
				} else {
					err = writeEpoch(task, n)
				}
				if err != nil {
					t.Fatal(err)
				}
				checkClone(t, CrashClone(disk, kept, rng.Uint64()), n, kept)
			}
		})
	}
}

// checkClone opens what a power loss after epoch n has left.
func checkClone(t *testing.T, fs FS, n, kept int) {
	t.Helper()
	db, task, err := openEpochs(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatalf("open after power loss at epoch %d: %v", n, err)
	}
	defer db.Close()
	found, err := epochOf(task)
	if err != nil {
		t.Fatal(err)
	}
	if found > n || n%7 == 0 && found != n {
		t.Fatalf("found epoch %d after a power loss at %d with %d %% kept", found, n, kept)
	}
}

// Damage anywhere in the files is noticed, or leaves an epoch that had been
// applied; it never gives wrong rows. Put aside, the directory begins anew.
func TestDamageIsNeverWrongData(t *testing.T) {
	noticed := 0
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			db, task, err := openEpochs(Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for n := 1; n <= 12; n++ {
				if err := writeEpoch(task, n); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			what := damage(t, dir, rand.New(rand.NewPCG(seed, 5)))
			n, err := readDamaged(dir)
			if err == nil {
				if n > 12 {
					t.Fatalf("%s: found epoch %d", what, n)
				}
				return
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s: %v", what, err)
			}
			noticed++
			aside, err := Quarantine(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(aside, infoName)); err != nil {
				t.Fatal(err)
			}
			if n, err := readDamaged(dir); err != nil || n != 0 {
				t.Fatalf("begin anew: epoch %d, %v", n, err)
			}
		})
	}
	// How many hit something that is read depends on how far the store's
	// background work has come; about half of them as a rule.
	if noticed < 3 {
		t.Errorf("only %d damages noticed", noticed)
	}
}

// readDamaged opens the directory, reads all of it and writes to it.
func readDamaged(dir string) (epoch int, err error) {
	db, task, err := openEpochs(Options{Dir: dir})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if epoch, err = epochOf(task); err != nil {
		return 0, err
	}
	for i := range epochRows {
		if _, err := task.Table("own").Get(fmt.Appendf(nil, "%04d", i)); err != nil {
			return 0, err
		}
	}
	return epoch, nil
}

// damage flips a byte of, cuts or deletes one of the store's files.
func damage(t *testing.T, dir string, rng *rand.Rand) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, storeName, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for {
		name := files[rng.IntN(len(files))]
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		switch rng.IntN(4) {
		case 0:
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			return "delete " + name
		case 1:
			if len(data) == 0 {
				continue
			}
			data = data[:rng.IntN(len(data))]
		default:
			if len(data) == 0 {
				continue
			}
			data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return "change " + name
	}
}

// A load that was handed over in part when a file could not be read any more is
// finished when the store is opened. If the file cannot be read then either, opening
// fails; it does not try for ever.
func TestOpenGivesUpOnUnreadableFiles(t *testing.T) {
	refused := 0
	for seed := range int64(60) {
		disk := NewMemFS()
		var left atomic.Int64
		var unreadable atomic.Pointer[string] // the file that cannot be read from some read on
		left.Store(seed)
		broken := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind != errorfs.OpFileReadAt || !strings.HasSuffix(op.Path, ".sst") || left.Add(-1) >= 0 {
				return nil
			}
			path := op.Path
			if !unreadable.CompareAndSwap(nil, &path) && *unreadable.Load() != path {
				return nil
			}
			return &os.PathError{Op: "read", Path: op.Path, Err: syscall.EIO}
		}))
		o := Options{Dir: "state", FS: broken, CacheBytes: 1}
		db, task, err := openEpochs(o)
		for n := 1; err == nil && n <= 60; n += 2 {
			if err = writeEpoch(task, n); err == nil {
				err = loadEpoch(task, n+1)
			}
		}
		if err == nil {
			t.Fatalf("seed %d: nothing failed", seed)
		}
		if db != nil {
			_ = db.Close()
		}
		opened := make(chan error, 1)
		go func() {
			db, _, err := openEpochs(o)
			if err == nil {
				err = db.Close()
			}
			opened <- err
		}()
		select {
		case err := <-opened:
			if err != nil {
				refused++
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("seed %d: it still tries to open the state", seed)
		}
	}
	if refused == 0 {
		t.Error("every state could be opened: this shows too little")
	}
}

// Behind a blown fuse everything seems to go well and nothing happens.
func TestBlownFuse(t *testing.T) {
	disk := NewMemFS()
	cause := &os.PathError{Op: "write", Path: "a", Err: syscall.EIO}
	var broken atomic.Bool
	var told error
	fs := &fuseFS{
		FS: errorfs.Wrap(disk, errorfs.InjectorFunc(func(errorfs.Op) error {
			if broken.Load() {
				return cause
			}
			return nil
		})),
		failed: func(err error) { told = err },
	}
	f, err := fs.Create("a", storeWrites)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := (&fuseFS{FS: disk}).Remove("b"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("remove what is not there: %v", err)
	}
	broken.Store(true)
	if n, err := f.Write([]byte("y")); n != 1 || err != nil || told != cause {
		t.Fatalf("the write that fails: %d, %v, told %v", n, err, told)
	}
	broken.Store(false)
	fs.settle()
	_, writeErr := f.Write([]byte("z"))
	created, createErr := fs.Create("b", storeWrites)
	_, intoErr := created.Write([]byte("z"))
	for i, err := range []error{
		writeErr, createErr, intoErr, f.Sync(), f.SyncData(), f.Preallocate(0, 1), created.Close(), f.Close(),
		fs.Remove("a"), fs.Rename("a", "b"), fs.Link("a", "b"), fs.RemoveAll("a"), fs.MkdirAll("d", 0o700),
	} {
		if err != nil {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	names, err := disk.List("")
	if err != nil || len(names) != 1 {
		t.Errorf("files %v, %v", names, err)
	}
	if info, err := disk.Stat("a"); err != nil || info.Size() != 1 {
		t.Errorf("file %v, %v", info, err)
	}
	if _, err := fs.Open("a"); !errors.Is(err, ErrFailed) {
		t.Errorf("open: %v", err)
	}
	if vfs.Root(fs) != disk {
		t.Error("the fuse hides the file system below")
	}
}

// A disk that fails at random, reads too, never kills the process nor leaves a
// mixture of epochs.
func TestFailingDisk(t *testing.T) {
	for seed := range int64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			disk := NewMemFS()
			rng := errorfs.Randomly(0.002, seed)
			failing := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if rng.Evaluate(op) {
					return &os.PathError{Op: "use", Path: op.Path, Err: syscall.EIO}
				}
				return nil
			}))
			applied, err := runUntilFailure(Options{Dir: "state", FS: failing, CacheBytes: 1})
			if err == nil {
				t.Fatal("nothing failed")
			}
			if applied == 0 {
				return
			}
			db, task, err := openEpochs(Options{Dir: "state", FS: disk})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if n, err := epochOf(task); err != nil || n > applied+1 {
				t.Fatalf("found epoch %d after %d: %v", n, applied, err)
			}
		})
	}
}

// An opening that succeeds after the DB has failed is no opening: nobody gets a store
// without an error, or an error of nil without a store.
func TestOpeningOutlivedByItsDB(t *testing.T) {
	full := errors.New("no more")
	failing := errorfs.Wrap(NewMemFS(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpRename && strings.HasSuffix(op.Path, ".dbtmp") {
			return full // of the OPTIONS, the last that is written: Pebble does not hear of it
		}
		return nil
	}))
	db := &DB{opts: Options{Dir: "state"}.withDefaults(), failed: make(chan struct{})}
	db.fs = &fuseFS{FS: failing, failed: db.fail}
	if err := makeDirs(db.fs, db.opts.Dir); err != nil {
		t.Fatal(err)
	}
	db.storeOpts = db.storeOptions()
	store, err := db.openFiles()
	if store != nil || !errors.Is(err, ErrFailed) || !errors.Is(err, full) {
		t.Errorf("a store: %v, %v; want none and the failure", store != nil, err)
	}
}
