package chaos

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// What can be learned of the members from outside.

// isMember says whether the process at a place is in the groups of all jobs.
func (f *fleet) isMember(i int) bool {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	running := len(f.which(nil, runs))
	for _, j := range f.jobs {
		g, err := f.cluster.Group(ctx, j.name)
		if err != nil || g.State != "Stable" || len(g.Members) != running {
			return false
		}
	}
	return true
}

// size is what a process takes.
type size struct {
	resident int64 // bytes
	threads  int64
}

// sizes of processes, by place.
func (f *fleet) sizes(indexes ...int) map[int]size {
	f.t.Helper()
	out := make(map[int]size)
	for _, i := range indexes {
		s, err := sizeOf(f.members[i].now.Pid())
		if err != nil {
			f.t.Fatal(err)
		}
		out[i] = s
	}
	return out
}

func sizeOf(pid int) (size, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return size{}, err
	}
	defer file.Close()
	var s size
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			s.resident = n << 10
		case "Threads":
			s.threads = n
		}
	}
	return s, nil
}

// What a process may grow by while the same work goes on: caches fill, and the
// runtime keeps what it once had.
const growth = 96 << 20

// checkFlat fails the story when processes have grown.
func (f *fleet) checkFlat(before, after map[int]size) {
	f.t.Helper()
	for i, b := range before {
		a := after[i]
		f.t.Logf("member %d: %d MB and %d threads, then %d MB and %d", i, b.resident>>20, b.threads, a.resident>>20, a.threads)
		if a.resident > b.resident+growth {
			f.t.Errorf("member %d has grown from %d to %d MB", i, b.resident>>20, a.resident>>20)
		}
	}
}
