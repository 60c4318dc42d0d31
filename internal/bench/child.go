package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"streamctl/internal/selfstat"
)

// usage is what one child cost.
type usage struct {
	started  time.Time
	wall     time.Duration
	cpu      time.Duration // user and system
	peakRSS  int64         // bytes, VmHWM
	stats    *childStats   // nil when the child told nothing
	ready    time.Duration // from its start until it said that it was ready, 0 = it did not
	assigned time.Duration // until it said that it has its tasks
	output   string        // what it printed on stdout and stderr
	exitCode int
}

// childStats is the line that the child prints at its end when STREAMCTL_STATS
// is set: runtime.MemStats of the whole run.
type childStats struct {
	Mallocs    uint64 `json:"mallocs"`
	TotalAlloc uint64 `json:"total_alloc"` // bytes
	GCs        uint32 `json:"gcs"`
}

// sampleEvery is how often the peak is read; it never falls, so only what
// happens in the last instant can be missed.
const sampleEvery = 20 * time.Millisecond

// runChild runs a command to its end. extra are environment variables.
func runChild(ctx context.Context, verbose bool, extra []string, name string, args ...string) (usage, error) {
	var u usage
	out := &transcript{}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), selfstat.StatsEnv+"=1"), extra...)
	sink := io.Writer(out)
	if verbose {
		sink = io.MultiWriter(sink, os.Stderr)
	}
	cmd.Stdout, cmd.Stderr = sink, sink
	u.started = time.Now()
	if err := cmd.Start(); err != nil {
		return u, fmt.Errorf("start %s: %w", name, err)
	}
	peak := make(chan int64, 1)
	done := make(chan struct{})
	go func() { peak <- watchPeak(cmd.Process.Pid, done) }()
	err := cmd.Wait()
	u.wall = time.Since(u.started)
	close(done)
	u.peakRSS = <-peak
	u.output = out.buf.String()
	if !out.readyAt.IsZero() {
		u.ready = out.readyAt.Sub(u.started)
	}
	if !out.assignedAt.IsZero() {
		u.assigned = out.assignedAt.Sub(u.started)
	}
	u.stats = findStats(u.output)
	if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.cpu = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	u.exitCode = cmd.ProcessState.ExitCode()
	if err != nil {
		return u, fmt.Errorf("run %s %s: %w\n%s", name, strings.Join(args, " "), err, lastLines(u.output, 20))
	}
	return u, nil
}

// transcript keeps what a child prints and notes when it says that it has its tasks, and
// that it is ready.
type transcript struct {
	mu                  sync.Mutex
	buf                 bytes.Buffer
	assignedAt, readyAt time.Time
}

// The log lines of a pipeline that has its tasks, and of one that runs, in either log format.
var (
	assignedLine = regexp.MustCompile(`"msg":"tasks assigned"|msg="tasks assigned"`)
	readyLine    = regexp.MustCompile(`"msg":"ready"|msg=ready`)
)

// Write implements io.Writer.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.assignedAt.IsZero() && assignedLine.Match(p) {
		t.assignedAt = time.Now()
	}
	if t.readyAt.IsZero() && readyLine.Match(p) {
		t.readyAt = time.Now()
	}
	return t.buf.Write(p)
}

// watchPeak reads the high-water mark of the resident set until done. The
// kernel's ru_maxrss will not do: a child inherits its parent's there.
func watchPeak(pid int, done <-chan struct{}) int64 {
	var peak int64
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return peak
		case <-tick.C:
			peak = max(peak, highWater(pid))
		}
	}
}

// highWater is VmHWM of a process in bytes, 0 when it cannot be read.
func highWater(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kb * 1024
		}
	}
	return 0
}

func findStats(output string) *childStats {
	for line := range strings.Lines(output) {
		if rest, ok := strings.CutPrefix(line, selfstat.Prefix); ok {
			var s childStats
			if json.Unmarshal([]byte(rest), &s) == nil {
				return &s
			}
		}
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// cpuModel is the kind of CPU, as the kernel names it.
func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}
