package state

import (
	"errors"
	"fmt"
	"testing"
)

func openTable(t *testing.T, o Options) (*DB, *Task, *Table) {
	t.Helper()
	o.Dir, o.FS = "state", NewMemFS()
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	task, err := db.OpenTask("sub", 0, modelSpecs())
	if err != nil {
		t.Fatal(err)
	}
	return db, task, task.Table("own")
}

func commit(t *testing.T, tasks ...*Task) {
	t.Helper()
	var all []*Sealed
	for _, task := range tasks {
		s, err := task.Seal(func(*Table, []byte, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := tasks[0].db.Apply(all...); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, table *Table, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := table.Put(fmt.Appendf(nil, "%06d", i), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCacheStaysWithinItsBytes(t *testing.T) {
	const limit = 100_000
	db, task, table := openTable(t, Options{CacheBytes: limit})
	for n := range 20 {
		put(t, table, n*200, (n+1)*200)
		if s := db.CacheStats(); s.Used > limit+s.Pinned+1000 {
			t.Fatalf("%+v before the commit", s)
		}
		commit(t, task)
		if s := db.CacheStats(); s.Used > limit || s.Pinned != 0 {
			t.Fatalf("%+v after the commit", s)
		}
	}
	for i := range 4000 {
		r, err := table.Get(fmt.Appendf(nil, "%06d", i))
		if err != nil || r == nil || len(r.Value) != 100 {
			t.Fatalf("row %d: %+v, %v", i, r, err)
		}
		if s := db.CacheStats(); s.Used > limit*11/10 {
			t.Fatalf("%+v after reading row %d", s, i)
		}
	}
	if _, exact := table.Len(); exact {
		t.Error("the table claims to be cached completely")
	}
}

func TestRowsNotAppliedStayInMemory(t *testing.T) {
	db, task, table := openTable(t, Options{CacheBytes: 1000})
	put(t, table, 0, 500)
	s, err := task.Seal(func(*Table, []byte, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	put(t, table, 500, 1000)
	if n, exact := table.Len(); n != 1000 || !exact {
		t.Errorf("%d rows, %v", n, exact)
	}
	if st := db.CacheStats(); st.Pinned < 200_000 || st.Used < st.Pinned {
		t.Errorf("%+v with 1000 rows not applied", st)
	}
	if err := task.Apply(s); err != nil {
		t.Fatal(err)
	}
	if n, _ := table.Len(); n != 500 {
		t.Errorf("%d rows cached after half is applied, with no room", n)
	}
	task.Abandon()
	if st := db.CacheStats(); st.Used != 0 || st.Pinned != 0 {
		t.Errorf("%+v after the task is gone", st)
	}
}

// A row in steady use outlives a flood of rows read once.
func TestRowsInUseStayCached(t *testing.T) {
	_, task, table := openTable(t, Options{CacheBytes: 100_000})
	put(t, table, 0, 4000)
	commit(t, task)
	hot := []byte("000000")
	kept, err := table.Get(hot)
	if err != nil {
		t.Fatal(err)
	}
	kept.Decoded = "mark"
	for i := 1; i < 4000; i++ {
		if _, err := table.Get(fmt.Appendf(nil, "%06d", i)); err != nil {
			t.Fatal(err)
		}
		if r, err := table.Get(hot); err != nil || r != kept {
			t.Fatalf("the hot row was evicted at row %d", i)
		}
	}
}

// An idle task that fills the cache makes room for one that grows, down to an equal share.
func TestTablesShareTheCache(t *testing.T) {
	const limit = 400_000
	db, first, big := openTable(t, Options{CacheBytes: limit})
	second, err := db.OpenTask("sub", 1, modelSpecs())
	if err != nil {
		t.Fatal(err)
	}
	put(t, big, 0, 2000)
	commit(t, first)
	if big.bytes < limit*9/10 {
		t.Fatalf("alone, the table has only %d bytes", big.bytes)
	}
	for i := range 20 {
		put(t, second.Table("own"), i*100, (i+1)*100)
		commit(t, first, second)
	}
	if used := db.CacheStats().Used; used > limit {
		t.Errorf("%d bytes in use", used)
	}
	if small := second.Table("own").bytes; small < limit/5 || big.bytes < limit/5 {
		t.Errorf("the tables have %d and %d bytes", big.bytes, small)
	}
}

func TestSetDecodedCounts(t *testing.T) {
	db, _, table := openTable(t, Options{})
	r, err := table.Put([]byte("k"), []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	before := db.CacheStats()
	table.SetDecoded(r, "x", 5000)
	table.SetDecoded(r, "y", 4000)
	after := db.CacheStats()
	if after.Used != before.Used+4000 || after.Pinned != before.Pinned+4000 {
		t.Errorf("%+v, then %+v", before, after)
	}
}

func TestHitsDoNotAllocate(t *testing.T) {
	_, task, table := openTable(t, Options{})
	put(t, table, 0, 100)
	commit(t, task)
	task.Abandon()
	task, err := task.db.OpenTask("sub", 0, modelSpecs())
	if err != nil {
		t.Fatal(err)
	}
	table = task.Table("own")
	here, missing := []byte("000050"), []byte("nobody")
	read := func() {
		r, err := table.Get(here)
		none, noneErr := table.Get(missing)
		if r == nil || none != nil || errors.Join(err, noneErr) != nil {
			t.Fatal(r, err, none, noneErr)
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
