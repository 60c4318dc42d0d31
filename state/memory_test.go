package state

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"streamctl/internal/record"
)

// lentMemory is memory as a fetch lends it: when all have let go, something else is
// written there.
type lentMemory struct {
	*record.Memory
	data []byte
	rows [][]byte
	free atomic.Int32 // how often it was freed
}

// lend makes memory that its maker holds, with rows of some sizes around what is shared.
func lend(serial int) *lentMemory {
	m := &lentMemory{data: make([]byte, 0, 1<<15)}
	for i := range 12 {
		start := len(m.data)
		m.data = append(fmt.Appendf(m.data, "memory %d row %d ", serial, i), bytes.Repeat([]byte{byte('a' + i)}, sharedFrom/2+i*sharedFrom/4)...)
		m.rows = append(m.rows, m.data[start:len(m.data):len(m.data)])
	}
	m.Memory = record.NewMemory(1, func() {
		m.free.Add(1)
		for i := range m.data {
			m.data[i] = '#'
		}
	})
	return m
}

// loadLent adds the rows of memories, out of two at a time in turns, and lets go of each as soon
// as its rows are added. It returns what each key holds in the end.
func loadLent(l *Loader, memories []*lentMemory) (want map[string]string, err error) {
	want = map[string]string{}
	for i := 0; i+1 < len(memories); i += 2 {
		pair := memories[i : i+2]
		for at := range pair[0].rows {
			for p, m := range pair {
				key := fmt.Sprint((i*7919 + at*2 + p) % 4000)
				row := m.rows[at]
				want[key] = string(row)
				if err == nil {
					err = l.AddShared([]byte(key), row, m.Memory)
				}
			}
		}
		pair[0].LetGo()
		pair[1].LetGo()
	}
	return want, err
}

// freed counts memories that were let go of; one that was freed twice is an error.
func freed(t *testing.T, memories []*lentMemory) (n int) {
	t.Helper()
	for i, m := range memories {
		switch c := m.free.Load(); {
		case c == 1:
			n++
		case c > 1:
			t.Errorf("memory %d was freed %d times", i, c)
		}
	}
	return n
}

// A load holds the memory that its rows lie in until they are written, and no longer: not
// before, or what is written there next would be in the table.
func TestLoadHoldsMemoryUntilRowsAreWritten(t *testing.T) {
	for _, c := range []struct {
		name     string
		memories int
		early    bool // some are let go of before the end
	}{{"runs", 800, true}, {"small", 2, false}} {
		t.Run(c.name, func(t *testing.T) {
			_, task, _ := openTable(t, Options{LoadBytes: 1 << 20})
			loader := task.Table("fed").Loader()
			var memories []*lentMemory
			for i := range c.memories {
				memories = append(memories, lend(i))
			}
			want, err := loadLent(loader, memories)
			if err != nil {
				t.Fatal(err)
			}
			if n := freed(t, memories); (n > 0) != c.early || n == len(memories) {
				t.Errorf("%d of %d memories are let go of before the end", n, len(memories))
			}
			if err := loader.Finish(map[record.TopicPartition]int64{inputTP: 1}); err != nil {
				t.Fatal(err)
			}
			if n := freed(t, memories); n != len(memories) {
				t.Errorf("%d of %d memories are let go of at the end", n, len(memories))
			}
			got := 0
			err = task.Table("fed").Scan(nil, nil, func(key []byte, r *Row) (bool, error) {
				got++
				if string(r.Value) != want[string(key)] {
					t.Errorf("row %s holds %.40q, want %.40q", key, r.Value, want[string(key)])
				}
				return true, nil
			})
			if err != nil || got != len(want) {
				t.Errorf("%d rows, want %d: %v", got, len(want), err)
			}
		})
	}
}

// However a load ends, it lets go of all memory.
func TestLoadLetsGoOfMemoryWhenItFails(t *testing.T) {
	failed := 0
	for writes := int64(0); writes < 60; writes += 3 {
		var left atomic.Int64
		left.Store(1 << 40)
		fs := errorfs.Wrap(NewMemFS(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) < 0 {
				return &os.PathError{Op: "write", Path: op.Path, Err: syscall.EIO}
			}
			return nil
		}))
		db, task, err := openEpochs(Options{Dir: "state", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		db.opts.LoadBytes = 256 << 10
		loader := task.Table("fed").Loader()
		var memories []*lentMemory
		for i := range 100 {
			memories = append(memories, lend(i))
		}
		left.Store(writes)
		_, err = loadLent(loader, memories)
		if err == nil && writes%2 == 0 {
			err = loader.Finish(map[record.TopicPartition]int64{inputTP: 1})
		}
		if err != nil {
			failed++
		}
		loader.Abandon()
		loader.Abandon()
		if n := freed(t, memories); n != len(memories) {
			t.Errorf("failed after %d writes with %v: %d of %d memories are let go of", writes, err, n, len(memories))
		}
		_ = db.Close() // of a store that has failed, or not
	}
	if failed == 0 {
		t.Error("no load failed")
	}
}
