package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestTableGivesRatiosToTheCopy(t *testing.T) {
	var rs results
	rs.add(result{name: copyName, records: 1000, usage: usage{wall: time.Second, cpu: time.Millisecond, peakRSS: 100 << 20, stats: &childStats{Mallocs: 2000}}})
	rs.add(result{name: "join", records: 1000, usage: usage{wall: 2 * time.Second, cpu: 2500 * time.Microsecond, peakRSS: 200 << 20}, first: 1234 * time.Millisecond})
	rs.add(result{name: "start", usage: usage{wall: 50 * time.Millisecond}, note: "n"})
	var b strings.Builder
	rs.print(&b)
	want := `| measurement | records/s | CPU us/record | x bare copy | peak RSS MB | allocs/record | first output | wall | note |
|---|---:|---:|---:|---:|---:|---:|---:|---|
| bare copy (consume, produce) | 1000 | 1.00 | 1.00 | 100 | 2.00 |  | 1s |  |
| join | 500 | 2.50 | 2.50 | 200 |  | 1.234s | 2s |  |
| start |  |  |  | 0 |  |  | 50ms | n |
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestChildIsMeasured(t *testing.T) {
	u, err := runChild(t.Context(), false, []string{"BENCH_TEST_CHILD=1"}, os.Args[0], "-test.run=^TestAsChild$")
	if err != nil {
		t.Fatal(err)
	}
	if u.cpu < 50*time.Millisecond || u.wall < u.cpu/4 {
		t.Errorf("a child that computes for 100 ms used %v of CPU in %v", u.cpu, u.wall)
	}
	if u.peakRSS < 64<<20 || u.peakRSS > 1<<30 {
		t.Errorf("a child that holds 64 MiB has a peak of %d bytes", u.peakRSS)
	}
	if u.assigned < 100*time.Millisecond || u.ready < u.assigned || u.ready > u.wall {
		t.Errorf("its tasks after %v, ready after %v of %v", u.assigned, u.ready, u.wall)
	}
	if u.stats == nil || u.stats.Mallocs != 12 {
		t.Errorf("its own figures: %+v of %q", u.stats, u.output)
	}
}

// TestAsChild is the child of the test above.
func TestAsChild(t *testing.T) {
	if os.Getenv("BENCH_TEST_CHILD") == "" {
		t.Skip("it is the child of another test")
	}
	held := make([]byte, 64<<20)
	// At least so long, and so often that the peak has been read since all of it
	// was touched, however little of the machine is left for either of us.
	for start, rounds := time.Now(), 0; time.Since(start) < 100*time.Millisecond || rounds < 30; rounds++ {
		for i := 0; i < len(held); i += 4096 {
			held[i]++
		}
	}
	_, _ = os.Stderr.WriteString("time=now level=INFO msg=\"tasks assigned\" tasks=4\n")
	_, _ = os.Stderr.WriteString("time=now level=INFO msg=ready tasks=4\n")
	_, _ = os.Stdout.WriteString("STREAMCTL_STATS {\"mallocs\":12}\n")
}

func TestFailingChildShowsWhatItSaid(t *testing.T) {
	_, err := runChild(t.Context(), false, nil, "sh", "-c", "echo broken; exit 3")
	if err == nil || !strings.Contains(err.Error(), "broken") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	err := options{parts: "copy,jion", views: 0, profiles: 1, partitions: 1, runs: 1}.validate()
	if err == nil || !strings.Contains(err.Error(), `no part "jion"`) || !strings.Contains(err.Error(), "at least 1") {
		t.Errorf("got %v", err)
	}
}
