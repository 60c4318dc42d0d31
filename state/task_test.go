package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"streamctl/internal/record"
)

func TestTaskIsOpenOnce(t *testing.T) {
	db, task, _ := openTable(t, Options{})
	if _, err := db.OpenTask("sub", 0, nil); !errors.Is(err, ErrOpen) {
		t.Errorf("second open: %v", err)
	}
	if err := task.Close(); err != nil {
		t.Fatal(err)
	}
	if err := task.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := db.OpenTask("sub", 0, nil); err != nil {
		t.Error(err)
	}
}

func TestCloseTellsWhatIsLost(t *testing.T) {
	_, task, table := openTable(t, Options{})
	put(t, table, 0, 1)
	if err := task.Close(); !errors.Is(err, ErrUncommitted) {
		t.Errorf("close: %v", err)
	}
	_, getErr := table.Get([]byte("000000"))
	_, putErr := table.Put([]byte("000000"), nil)
	_, sealErr := task.Seal(func(*Table, []byte, []byte) {})
	for what, err := range map[string]error{
		"get": getErr, "put": putErr, "seal": sealErr, "delete": table.Delete([]byte("x")), "drop": task.Drop(),
		"scan": table.Scan(nil, nil, nil), "load": table.Loader().Add(nil, nil), "finish": table.Loader().Finish(nil),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestEpochsAreAppliedInOrder(t *testing.T) {
	_, task, table := openTable(t, Options{})
	var sealed []*Sealed
	for i := range 2 {
		put(t, table, i, i+1)
		s, err := task.Seal(func(*Table, []byte, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, s)
	}
	if err := task.Apply(sealed[1]); err == nil {
		t.Fatal("the second epoch is applied before the first")
	}
	for _, s := range sealed {
		if err := task.Apply(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := task.Apply(sealed[1]); !errors.Is(err, ErrClosed) {
		t.Errorf("apply twice: %v", err)
	}
}

func TestPositionsLearntAfterTheSeal(t *testing.T) {
	_, task, table := openTable(t, Options{})
	put(t, table, 0, 1)
	task.SetPosition(inputTP, 5)
	s, err := task.Seal(func(*Table, []byte, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	s.SetPosition(changelogTP, 77)
	if _, ok := task.Position(changelogTP); ok {
		t.Error("the position shows before it is applied")
	}
	if err := task.Apply(s); err != nil {
		t.Fatal(err)
	}
	task.Abandon()
	if task, err = task.db.OpenTask("sub", 0, modelSpecs()); err != nil {
		t.Fatal(err)
	}
	got := map[record.TopicPartition]int64{}
	task.Positions(func(tp record.TopicPartition, off int64) { got[tp] = off })
	if len(got) != 2 || got[inputTP] != 5 || got[changelogTP] != 77 {
		t.Errorf("positions %v", got)
	}
}

func TestSavedAtGoesWithTheEpoch(t *testing.T) {
	_, task, _ := openTable(t, Options{})
	task.SetSavedAt(123)
	if task.Changed() {
		t.Error("the time makes an epoch by itself")
	}
	commit(t, task)
	task.Abandon()
	task, err := task.db.OpenTask("sub", 0, modelSpecs())
	if err != nil {
		t.Fatal(err)
	}
	if task.SavedAt() != 123 || task.StreamTime() != math.MinInt64 {
		t.Errorf("saved at %d, stream time %d", task.SavedAt(), task.StreamTime())
	}
}

// A row without a form of its own cannot be sealed, and says which.
func TestRowsMustBeEncodable(t *testing.T) {
	_, task, table := openTable(t, Options{})
	r, err := table.Put([]byte("k"), []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	r.Decoded = 7
	table.MarkDirty(r)
	if _, err := task.Seal(func(*Table, []byte, []byte) {}); err == nil || !strings.Contains(err.Error(), `"k"`) {
		t.Errorf("seal: %v", err)
	}
	task.Abandon()
}

func TestUnknownKeysGetNoTombstone(t *testing.T) {
	_, task, table := openTable(t, Options{})
	put(t, table, 0, 1)
	commit(t, task)
	for _, key := range []string{"000000", "000000", "nobody"} {
		if err := table.Delete([]byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	if _, err := task.Seal(func(_ *Table, key, row []byte) {
		seen = append(seen, fmt.Sprintf("%s %v", key, row))
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []string{"000000 []"}) {
		t.Errorf("changelog %q", seen)
	}
	task.Abandon()
}

// What visit keeps must not change under it.
func TestSealedRowsAreKept(t *testing.T) {
	_, task, table := openTable(t, Options{})
	type kv struct{ key, row []byte }
	var all []kv
	for i := range 3 {
		for j := range 1000 {
			if _, err := table.Put(fmt.Appendf(nil, "%d", j), bytes.Repeat([]byte{byte(i)}, 1+j%300)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := task.Seal(func(_ *Table, key, row []byte) { all = append(all, kv{key, row}) })
		if err != nil {
			t.Fatal(err)
		}
		if err := task.Apply(s); err != nil {
			t.Fatal(err)
		}
	}
	for n, e := range all {
		j := n % 1000
		row, err := DecodeChangelog(e.row)
		if err != nil || string(e.key) != fmt.Sprint(j) || !bytes.Equal(row, bytes.Repeat([]byte{byte(n / 1000)}, 1+j%300)) {
			t.Fatalf("row %d: %q %v %v", n, e.key, row, err)
		}
	}
}

func TestScanVisitsRangesAndChanges(t *testing.T) {
	_, task, table := openTable(t, Options{CacheBytes: 1})
	put(t, table, 0, 20)
	commit(t, task)
	put(t, table, 15, 25)
	scan := func(from, to string, fn func(key string) (bool, error)) []string {
		var keys []string
		err := table.Scan([]byte(from), []byte(to), func(key []byte, r *Row) (bool, error) {
			keys = append(keys, r.Key()[4:])
			return fn(string(key))
		})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	all := func(string) (bool, error) { return true, nil }
	if got := scan("000013", "000018", all); strings.Join(got, " ") != "13 14 15 16 17" {
		t.Errorf("a range: %v", got)
	}
	if got := scan("000013", "000018", func(k string) (bool, error) { return k < "000014", nil }); len(got) != 2 {
		t.Errorf("stopped: %v", got)
	}
	// Deletions of rows ahead, cached and not, are seen.
	if got := scan("000010", "000020", func(k string) (bool, error) {
		return true, errors.Join(table.Delete([]byte("000013")), table.Delete([]byte("000017")), table.Delete([]byte(k)))
	}); strings.Join(got, " ") != "10 11 12 14 15 16 18 19" {
		t.Errorf("deleting: %v", got)
	}
	if got := scan("000000", "000020", all); len(got) != 10 {
		t.Errorf("after the deletions: %v", got)
	}
	n := 0
	if err := table.ScanPrefix([]byte("00002"), func([]byte, *Row) (bool, error) { n++; return true, nil }); err != nil || n != 5 {
		t.Errorf("a prefix: %d, %v", n, err)
	}
	stop := errors.New("stop")
	if err := table.Scan(nil, nil, func([]byte, *Row) (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Errorf("an error: %v", err)
	}
	task.Abandon()
}

func TestDropLeavesOthersAlone(t *testing.T) {
	db, task, table := openTable(t, Options{})
	other, err := db.OpenTask("sub", 1, modelSpecs())
	if err != nil {
		t.Fatal(err)
	}
	longer, err := db.OpenTask("sub-2", 0, modelSpecs())
	if err != nil {
		t.Fatal(err)
	}
	for _, tk := range []*Task{task, other, longer} {
		put(t, tk.Table("own"), 0, 10)
		put(t, tk.Table("fed"), 0, 10)
		tk.SetPosition(inputTP, 9)
		tk.Mark("loaded")
	}
	commit(t, task, other, longer)
	if err := db.DropTask("sub", 0); !errors.Is(err, ErrOpen) {
		t.Errorf("drop an open task from outside: %v", err)
	}
	if err := task.Drop(); err != nil {
		t.Fatal(err)
	}
	if r, err := table.Get([]byte("000001")); r != nil || err != nil {
		t.Errorf("row %v, %v after the drop", r, err)
	}
	put(t, table, 5, 6)
	commit(t, task)
	for i, tk := range []*Task{task, other, longer} {
		tk.Abandon()
		tk, err := db.OpenTask(tk.key.sub, tk.key.partition, modelSpecs())
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		if err := tk.Table("own").Scan(nil, nil, func([]byte, *Row) (bool, error) { rows++; return true, nil }); err != nil {
			t.Fatal(err)
		}
		_, placed := tk.Position(inputTP)
		if want := i > 0; placed != want || tk.Marked("loaded") != want || rows != map[bool]int{true: 10, false: 1}[want] {
			t.Errorf("task %d has %d rows, position %v, mark %v", i, rows, placed, tk.Marked("loaded"))
		}
	}
}

func TestStoredTasksAreListed(t *testing.T) {
	db, task, table := openTable(t, Options{})
	other, err := db.OpenTask("sub", 7, modelSpecs())
	if err != nil {
		t.Fatal(err)
	}
	put(t, table, 0, 1)
	task.SetPosition(inputTP, 4)
	task.Mark("loaded")
	other.SetPosition(changelogTP, 5)
	other.SetStreamTime(1)
	commit(t, task, other)
	task.SetPosition(inputTP, 99) // not applied: it does not count
	stored, err := db.Stored()
	if err != nil || len(stored) != 2 {
		t.Fatalf("%v, %v", stored, err)
	}
	for i, want := range []StoredTask{
		{Sub: "sub", Partition: 0, Positions: map[record.TopicPartition]int64{inputTP: 4}},
		{Sub: "sub", Partition: 7, Positions: map[record.TopicPartition]int64{changelogTP: 5}},
	} {
		if got := stored[i]; got.Sub != want.Sub || got.Partition != want.Partition || !maps.Equal(got.Positions, want.Positions) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	task.Abandon()
	if err := db.DropTask("sub", 0); err != nil {
		t.Fatal(err)
	}
	if stored, err = db.Stored(); err != nil || len(stored) != 1 || stored[0].Partition != 7 {
		t.Errorf("after dropping one: %v, %v", stored, err)
	}
	if task, err = db.OpenTask("sub", 0, modelSpecs()); err != nil {
		t.Fatal(err)
	}
	if r, err := task.Table("own").Get([]byte("000000")); r != nil || err != nil || task.Marked("loaded") {
		t.Errorf("row %v, %v, mark %v after the drop", r, err, task.Marked("loaded"))
	}
}

func TestChangelogForm(t *testing.T) {
	_, task, table := openTable(t, Options{})
	task.SetStamp([]byte("seen 5"))
	if _, err := table.Put([]byte("k"), []byte{}); err != nil {
		t.Fatal(err)
	}
	s, err := task.Seal(func(_ *Table, _, row []byte) {
		got, stamp, err := DecodeStamped(row)
		if err != nil || got == nil || len(got) != 0 || string(stamp) != "seen 5" {
			t.Errorf("row %q, stamp %q, %v", got, stamp, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Apply(s); err != nil {
		t.Fatal(err)
	}
	if row, err := DecodeChangelog(nil); row != nil || err != nil {
		t.Errorf("a tombstone: %v, %v", row, err)
	}
	if row, err := DecodeChangelog([]byte{rowVersion, 'x'}); string(row) != "x" || err != nil {
		t.Errorf("a row: %q, %v", row, err)
	}
	for _, bad := range [][]byte{{}, {0}, {0x21}, {0x11}, {0x11, 5, 'x'}, {0x11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		if row, err := DecodeChangelog(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v gives %q, %v", bad, row, err)
		}
	}
}

// Workers share the DB; each owns its tasks.
func TestWorkersShareTheStore(t *testing.T) {
	db, err := Open(Options{Dir: "state", FS: NewMemFS(), CacheBytes: 50_000, MemTableBytes: 64 << 10, LoadBytes: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range int32(4) {
		wg.Go(func() {
			task, err := db.OpenTask("sub", w, modelSpecs())
			if err != nil {
				t.Error(err)
				return
			}
			for n := 1; n <= 20; n++ {
				if n%6 == 0 {
					err = loadEpoch(task, n)
				} else {
					err = writeEpoch(task, n)
				}
				if err != nil {
					t.Error(err)
					return
				}
				db.CacheStats()
			}
			if n, err := epochOf(task); n != 20 || err != nil {
				t.Errorf("epoch %d, %v", n, err)
			}
			if w%2 == 0 {
				if err := task.Drop(); err != nil {
					t.Error(err)
				}
			}
			if err := task.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is stored can be listed while tasks that have never been here are opened:
// that is no damage.
func TestStoredWhileTasksAreOpened(t *testing.T) {
	db, err := Open(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	listed := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for {
			if _, err := db.Stored(); err != nil {
				listed <- err
				return
			}
			select {
			case <-stop:
				listed <- nil
				return
			default:
			}
		}
	}()
	for i := range 300 {
		task, err := db.OpenTask(fmt.Sprint("sub-", i), 0, modelSpecs())
		if err != nil {
			t.Fatal(err)
		}
		task.SetPosition(inputTP, 1)
		commit(t, task)
	}
	close(stop)
	if err := <-listed; err != nil {
		t.Error(err)
	}
}
