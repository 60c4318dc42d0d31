package state

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"streamctl/internal/record"
)

// benchKey is a key as the operators write them: canonical JSON of a string.
func benchKey(dst []byte, n int) []byte { return fmt.Appendf(dst[:0], `"user-%08d"`, n) }

// benchRow is a row of about 150 bytes that compresses like JSON does.
func benchRow(dst []byte, n int) []byte {
	return fmt.Appendf(dst[:0],
		`{"user_id":"user-%08d","name":"Jane Doe %d","segment":"gold","country":"DE","score":%d,"email":"jane.doe.%d@example.com","active":true,"version":%d}`,
		n, n, n*7919%1000, n, n%5)
}

func benchTask(b *testing.B, o Options) (*DB, *Task, *Table) {
	b.Helper()
	o.Dir = b.TempDir()
	db, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	task, err := db.OpenTask("bench", 0, []TableSpec{{Name: "users", Changelog: "c"}})
	if err != nil {
		b.Fatal(err)
	}
	return db, task, task.Table("users")
}

// load fills the table with n rows in random order.
func load(b *testing.B, t *Table, n int) {
	b.Helper()
	l := t.Loader()
	var key, row []byte
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		key, row = benchKey(key, i), benchRow(row, i)
		if err := l.Add(key, row); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Finish(map[record.TopicPartition]int64{{Topic: "c"}: int64(n)}, "loaded"); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkGetHit(b *testing.B) {
	_, _, t := benchTask(b, Options{})
	const n = 100_000
	load(b, t, n)
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = benchKey(nil, i)
		if _, err := t.Get(keys[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if r, err := t.Get(keys[i]); r == nil || err != nil {
			b.Fatal(r, err)
		}
		if i += 7919; i >= n {
			i -= n
		}
	}
}

func BenchmarkGetFromStore(b *testing.B) {
	_, _, t := benchTask(b, Options{CacheBytes: 1})
	const n = 100_000
	load(b, t, n)
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = benchKey(nil, i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if r, err := t.Get(keys[i]); r == nil || err != nil {
			b.Fatal(r, err)
		}
		if i += 7919; i >= n {
			i -= n
		}
	}
}

func BenchmarkGetAbsent(b *testing.B) {
	for _, known := range []bool{true, false} {
		b.Run(fmt.Sprintf("cached=%v", known), func(b *testing.B) {
			o := Options{}
			if !known {
				o.CacheBytes = 1
			}
			_, _, t := benchTask(b, o)
			load(b, t, 100_000)
			keys := make([][]byte, 1000)
			for i := range keys {
				keys[i] = benchKey(nil, 1_000_000+i)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if r, err := t.Get(keys[i]); r != nil || err != nil {
					b.Fatal(r, err)
				}
				i = (i + 1) % len(keys)
			}
		})
	}
}

func BenchmarkPut(b *testing.B) {
	_, task, t := benchTask(b, Options{})
	var key, row []byte
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		key, row = benchKey(key, i%50_000), benchRow(row, i)
		if _, err := t.Put(key, row); err != nil {
			b.Fatal(err)
		}
		if i++; i%10_000 == 0 {
			b.StopTimer()
			seal(b, task)
			b.StartTimer()
		}
	}
}

func seal(b *testing.B, task *Task) {
	b.Helper()
	s, err := task.Seal(func(*Table, []byte, []byte) {})
	if err != nil {
		b.Fatal(err)
	}
	if err := task.Apply(s); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkSealAndApply10kRows(b *testing.B) {
	_, task, t := benchTask(b, Options{})
	var key, row []byte
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		b.StopTimer()
		for range 10_000 {
			key, row = benchKey(key, n%50_000), benchRow(row, n)
			if _, err := t.Put(key, row); err != nil {
				b.Fatal(err)
			}
			n++
		}
		b.StartTimer()
		seal(b, task)
	}
}

func BenchmarkLoad1MRows(b *testing.B) {
	const n = 1_000_000
	// In random order of keys, but as they would lie in fetched batches: one behind the other.
	keys, rows := make([][]byte, n), make([][]byte, n)
	for i, k := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		keys[i], rows[i] = benchKey(nil, k), benchRow(nil, k)
	}
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		_, _, t := benchTask(b, Options{})
		b.StartTimer()
		l := t.Loader()
		for i := range keys {
			if err := l.Add(keys[i], rows[i]); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.Finish(map[record.TopicPartition]int64{{Topic: "c"}: n}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkMemory100kRows reports what 100 000 cached rows cost beside an empty
// process, the store's share included.
func BenchmarkMemory100kRows(b *testing.B) {
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse+m.StackInuse) / (1 << 20)
	}
	before := heap()
	for range b.N {
		db, task, t := benchTask(b, Options{})
		const n = 100_000
		var key, row []byte
		for i := range n {
			key, row = benchKey(key, i), benchRow(row, i)
			if _, err := t.Put(key, row); err != nil {
				b.Fatal(err)
			}
			if i%10_000 == 9_999 {
				seal(b, task)
			}
		}
		b.ReportMetric(heap()-before, "MB")
		b.ReportMetric(float64(db.CacheStats().Used)/(1<<20), "accounted-MB")
		runtime.KeepAlive(t)
	}
}

// BenchmarkScan10Rows scans ten rows of a table in which 10 000 rows are not
// applied, with one row changing between scans.
func BenchmarkScan10Rows(b *testing.B) {
	_, _, t := benchTask(b, Options{})
	const n = 100_000
	load(b, t, n)
	var key, row []byte
	for i := range 10_000 {
		key, row = benchKey(key, i*10), benchRow(row, i)
		if _, err := t.Put(key, row); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		key = benchKey(key, i)
		if _, err := t.Put(key, row); err != nil {
			b.Fatal(err)
		}
		rows := 0
		if err := t.ScanPrefix(key[:len(key)-2], func([]byte, *Row) (bool, error) { rows++; return true, nil }); err != nil || rows != 10 {
			b.Fatal(rows, err)
		}
		if i += 7919; i >= n {
			i -= n
		}
	}
}
