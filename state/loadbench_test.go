//go:build unix

package state

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/record"
)

// lender lends memory in which rows lie as a fetch brings them, and takes it back to lend
// it again.
type lender struct {
	mu   sync.Mutex
	free [][]byte
	all  int // pieces there are
	like []byte
}

// lend returns a copy of what rows look like, as the socket would give it.
func (l *lender) lend() ([]byte, *record.Memory) {
	l.mu.Lock()
	var data []byte
	if n := len(l.free); n > 0 {
		data, l.free = l.free[n-1], l.free[:n-1]
	} else {
		data = make([]byte, len(l.like))
		l.all++
	}
	l.mu.Unlock()
	copy(data, l.like)
	return data, record.NewMemory(1, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.free = append(l.free, data)
	})
}

// processTime is the CPU time the process has used.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLoadLargeRows loads four tables of rows of 1 kB at the same time, as a restore with two
// workers does; the rows lie in memory that is lent. It reports the process's CPU time per
// row, the copying of rows into that memory included, and how much of it there came to be.
func BenchmarkLoadLargeRows(b *testing.B) {
	const workers, tables, n, answer = 2, 2, 75_000, 500 // rows of a table, and in a piece of memory
	pad := bytes.Repeat([]byte("streamctl-"), 96)
	from := &lender{}
	var ends []int
	for i := range answer {
		from.like = fmt.Appendf(from.like, `{"pad":"%016x%s"}`, uint64(i)*0x9e3779b97f4a7c15, pad)
		ends = append(ends, len(from.like))
	}
	var used time.Duration
	b.StopTimer()
	for range b.N {
		db, err := Open(Options{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		var loads []*Loader
		for p := range int32(workers * tables) {
			task, err := db.OpenTask("bench", p, []TableSpec{{Name: "rows"}})
			if err != nil {
				b.Fatal(err)
			}
			loads = append(loads, task.Table("rows").Loader())
		}
		before := processTime()
		b.StartTimer()
		var done sync.WaitGroup
		for w := range workers {
			done.Go(func() {
				if err := loadLarge(loads[w*tables:(w+1)*tables], from, ends, n); err != nil {
					b.Error(err)
				}
			})
		}
		done.Wait()
		b.StopTimer()
		used += processTime() - before
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	rows := float64(workers*tables*n) * float64(b.N)
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(used.Nanoseconds())/rows, "cpu-ns/row")
	b.ReportMetric(float64(from.all*len(from.like))/(1<<20), "MB-lent")
}

// loadLarge fills tables with n rows each, out of memory in which there are some of every one.
func loadLarge(loads []*Loader, from *lender, ends []int, n int) error {
	var key []byte
	for at := 0; at < n*len(loads); {
		data, memory := from.lend()
		start := 0
		for i, end := range ends {
			l := loads[i*len(loads)/len(ends)]
			key = strconv.AppendInt(key[:0], int64(at)*7919%10_000_000, 10)
			l.Progress(int64(at), int64(n*len(loads)))
			if err := l.AddShared(key, data[start:end], memory); err != nil {
				return err
			}
			start = end
			at++
		}
		memory.LetGo()
	}
	for _, l := range loads {
		if err := l.Finish(map[record.TopicPartition]int64{{Topic: "c"}: int64(n)}); err != nil {
			return err
		}
	}
	return nil
}
