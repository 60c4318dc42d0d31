package state

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"streamctl/internal/record"
)

// failingDisk fails after so many writes.
type failingDisk struct {
	FS
	left atomic.Int64
}

// manyWrites is more than there will be.
const manyWrites = 1 << 40

func (d *failingDisk) wrapped() FS {
	return errorfs.Wrap(d.FS, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && d.left.Add(-1) < 0 {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.EIO}
		}
		return nil
	}))
}

// A load of several runs is handed to the store one run after the other. Where
// that ends in the middle, the next to open the task must find the table as it was, as it was
// to be, or nothing at all with no position: never some of the rows.
func TestLoadCutShort(t *testing.T) {
	found := map[int]int{}
	for writes := int64(0); ; writes++ {
		disk := &failingDisk{FS: NewMemFS()}
		disk.left.Store(manyWrites)
		db, task, err := openEpochs(Options{Dir: "state", FS: disk.wrapped()})
		if err != nil {
			t.Fatal(err)
		}
		if err := writeEpoch(task, 1); err != nil {
			t.Fatal(err)
		}
		task.Mark("loaded")
		disk.left.Store(writes)
		loaded := loadEpoch(task, 2)
		disk.left.Store(manyWrites)
		_ = db.Close() // of a store that has failed
		db, task, err = openEpochs(Options{Dir: "state", FS: disk.FS})
		if err != nil {
			t.Fatal(err)
		}
		n, err := epochOf(task)
		if err != nil {
			t.Fatalf("cut short after %d writes: %v", writes, err)
		}
		if n == 0 && (task.Marked("loaded") || !task.Table("own").complete) {
			t.Fatalf("cut short after %d writes: the rows are gone, and something is left", writes)
		}
		if loaded == nil && n != 2 {
			t.Fatalf("loaded, and found epoch %d", n)
		}
		found[n]++
		if err := writeEpoch(task, 3); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if loaded == nil {
			break
		}
	}
	for n, what := range []string{"cut short", "not begun", "complete"} {
		if found[n] == 0 {
			t.Errorf("no load was found %s: %v", what, found)
		}
	}
}

// flushedLoad is the first load of the table that loadEpoch fills: it is flushed before it is finished, so
// that older runs are handed over meanwhile.
func flushedLoad(task *Task, finish bool) error {
	l := task.Table("own").Loader()
	if err := handOverRows(l); err != nil {
		return err
	}
	if !finish {
		l.Abandon()
		return nil
	}
	return l.Finish(map[record.TopicPartition]int64{inputTP: 1, changelogTP: epochRows})
}

// handOverRows adds the rows of the first epoch and flushes them until all but the last run are
// with the store.
func handOverRows(l *Loader) error {
	landed := make(chan struct{}, 1)
	l.Tell(func() {
		select {
		case landed <- struct{}{}:
		default:
		}
	})
	for i := range epochRows {
		if err := l.Add(fmt.Appendf(nil, "%04d", i), epochRow(1, i)); err != nil {
			return err
		}
	}
	for {
		written, err := l.Flush()
		switch {
		case err != nil:
			return err
		case written && (!l.torn || len(l.built) != 1):
			return fmt.Errorf("nothing was handed over: %d runs are left", len(l.built))
		case written:
			return nil
		}
		<-landed
	}
}

// A first load hands its older runs over before it is finished. Where that is cut short, or
// the load is given up, the next one to open the task finds nothing at all and loads anew.
func TestHandingOverCutShort(t *testing.T) {
	found := map[int]int{}
	for writes := int64(0); ; writes++ {
		disk := &failingDisk{FS: NewMemFS()}
		disk.left.Store(manyWrites)
		db, task, err := openEpochs(Options{Dir: "state", FS: disk.wrapped()})
		if err != nil {
			t.Fatal(err)
		}
		disk.left.Store(writes)
		loaded := flushedLoad(task, true)
		disk.left.Store(manyWrites)
		_ = db.Close() // of a store that has failed
		db, task, err = openEpochs(Options{Dir: "state", FS: disk.FS})
		if err != nil {
			t.Fatal(err)
		}
		n, err := epochOf(task)
		if err != nil || n == 0 && !task.Table("own").complete {
			t.Fatalf("cut short after %d writes: epoch %d, %v", writes, n, err)
		}
		if loaded == nil && n != 1 {
			t.Fatal("loaded, and found nothing")
		}
		found[n]++
		if n == 0 {
			if err := flushedLoad(task, true); err != nil {
				t.Fatalf("load anew after %d writes: %v", writes, err)
			}
			if n, err := epochOf(task); n != 1 || err != nil {
				t.Fatalf("loaded anew after %d writes: epoch %d, %v", writes, n, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if loaded == nil {
			break
		}
	}
	if found[0] < 10 {
		t.Errorf("cut short %d times only", found[0])
	}
}

func TestHandedOverAndGivenUp(t *testing.T) {
	db, task, err := openEpochs(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := flushedLoad(task, false); err != nil {
		t.Fatal(err)
	}
	if err := task.Close(); err != nil {
		t.Fatal(err)
	}
	if task, err = db.OpenTask("sub", 0, modelSpecs()); err != nil {
		t.Fatal(err)
	}
	if n, err := epochOf(task); n != 0 || err != nil || !task.Table("own").complete {
		t.Fatalf("epoch %d, %v, and the table is not empty", n, err)
	}
	if err := flushedLoad(task, true); err != nil {
		t.Fatal(err)
	}
	if n, err := epochOf(task); n != 1 || err != nil {
		t.Fatalf("epoch %d, %v", n, err)
	}
}

// Of two tables that are handed over at the same time, the one that is finished does not
// speak for the other.
func TestHandedOverBesideAnother(t *testing.T) {
	db, task, err := openEpochs(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := handOverRows(task.Table("fed").Loader()); err != nil {
		t.Fatal(err)
	}
	if err := flushedLoad(task, true); err != nil {
		t.Fatal(err)
	}
	task.Abandon()
	if task, err = db.OpenTask("sub", 0, modelSpecs()); err != nil {
		t.Fatal(err)
	}
	if n, err := epochOf(task); n != 0 || err != nil || !task.Table("own").complete || !task.Table("fed").complete {
		t.Fatalf("epoch %d, %v, and the tables are not empty", n, err)
	}
}

// A load that has lost rows is not finished.
func TestLostRunsAreNotFinished(t *testing.T) {
	for _, rows := range []int{1, epochRows} {
		db, task, err := openEpochs(Options{Dir: "state", FS: NewMemFS()})
		if err != nil {
			t.Fatal(err)
		}
		l := task.Table("own").Loader()
		l.lost = syscall.EIO
		for i := range rows {
			if err := l.Add(fmt.Appendf(nil, "%04d", i), epochRow(1, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Finish(map[record.TopicPartition]int64{inputTP: 1}); !errors.Is(err, syscall.EIO) {
			t.Errorf("%d rows: finished: %v", rows, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// However many tables are loaded at the same time, the memory of it is bounded.
func TestLoadsShareTheirMemory(t *testing.T) {
	db, err := Open(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var loads []*Loader
	for p := range int32(40) {
		task, err := db.OpenTask("sub", p, modelSpecs())
		if err != nil {
			t.Fatal(err)
		}
		loads = append(loads, task.Table("fed").Loader())
	}
	row := make([]byte, 4000)
	for i := range 300 {
		for _, l := range loads {
			if err := l.Add(fmt.Append(nil, i), row); err != nil {
				t.Fatal(err)
			}
		}
		held := 0
		for _, l := range loads {
			held += cap(l.run.data)
			if l.flight == nil && l.spare != nil {
				held += cap(l.spare.data)
			}
		}
		if most := 2*len(loads)*leastRun + len(loads)*8192; held > most {
			t.Fatalf("%d loads hold %d bytes", len(loads), held)
		}
	}
	for _, l := range loads {
		if err := l.Finish(map[record.TopicPartition]int64{inputTP: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if n := db.loading.Load(); n != 0 {
		t.Errorf("%d loads are counted after all have ended", n)
	}
	if n := db.seeding.Load(); n != 0 {
		t.Errorf("%d bytes are counted for the cache and not in it", n)
	}
}
