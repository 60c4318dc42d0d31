package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"streamctl/internal/testkit"
)

// What several processes that share a pipeline take to hand tasks over, and what
// it costs.

// sessionTimeout is the product's default: so long it takes until a process that
// died is missed.
const sessionTimeout = 10 * time.Second

const (
	// fleetPatience bounds every wait.
	fleetPatience = 15 * time.Minute
	fleetLook     = 5 * time.Millisecond
	// quiet is how long no process may have said anything of tasks for the group to
	// count as settled.
	quiet = 5 * time.Second
)

// fleet is some processes of one job, with a flow of views through it.
type fleet struct {
	b     *bench
	c     *testkit.Cluster
	j     job
	views string
	procs []*testkit.Process
	fed   []atomic.Int64
	watch *testkit.Watch
	stop  func() error
}

// newFleet makes topics and job; the pipeline reads views from the topic NAME-views.
func (b *bench) newFleet(ctx context.Context, c *testkit.Cluster, pipeline, settings string) (*fleet, error) {
	views := fmt.Sprintf("fleet-%d-views", b.serial+1)
	j, err := b.write(strings.ReplaceAll(pipeline, "VIEWS", views), settings)
	if err != nil {
		return nil, err
	}
	for _, topic := range []string{views, j.out} {
		if err := c.CreateTopic(ctx, topic, b.opts.partitions, "delete"); err != nil {
			return nil, err
		}
	}
	f := &fleet{b: b, c: c, j: j, views: views, fed: make([]atomic.Int64, b.opts.partitions)}
	f.watch, err = c.Watch(j.out, b.opts.partitions)
	return f, err
}

// close ends the flow and kills what still runs.
func (f *fleet) close() {
	if f.stop != nil {
		_ = f.stop()
	}
	for _, p := range f.procs {
		if p != nil {
			p.Kill()
		}
	}
	_ = f.watch.Close()
}

// start runs the process of a place and waits until it is ready.
func (f *fleet) start(ctx context.Context, place int) error {
	p, err := testkit.Start(testkit.Launch{Binary: f.b.binary, Args: []string{"run", f.j.file, "--brokers", f.c.Addr,
		"--data-dir", filepath.Join(f.j.dataDir, strconv.Itoa(place)), "--instance", fmt.Sprint("place-", place)}})
	if err != nil {
		return err
	}
	for len(f.procs) <= place {
		f.procs = append(f.procs, nil)
	}
	f.procs[place] = p
	ctx, cancel := context.WithTimeout(ctx, fleetPatience)
	defer cancel()
	return p.AwaitReady(ctx)
}

// end tells the process of a place to stop, and waits for it.
func (f *fleet) end(ctx context.Context, place int) error {
	p := f.procs[place]
	p.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, fleetPatience)
	defer cancel()
	if err := p.AwaitEnd(ctx); err != nil {
		return err
	}
	if p.ExitCode() != 0 {
		return fmt.Errorf("stop process: exit code %d; it said:\n%s", p.ExitCode(), p.Said(20))
	}
	f.procs[place] = nil
	return nil
}

// await looks until done, while all processes must live.
func (f *fleet) await(ctx context.Context, what string, done func() bool) error {
	tick := time.NewTicker(fleetLook)
	defer tick.Stop()
	late := time.After(fleetPatience)
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("wait for %s: not within %s", what, fleetPatience)
		}
		for _, p := range f.procs {
			if p != nil && p.Ended() {
				return fmt.Errorf("wait for %s: a process ended; it said:\n%s", what, p.Said(20))
			}
		}
	}
	return nil
}

// pass lets time go by.
func (f *fleet) pass(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	return f.await(ctx, "time to pass", func() bool { return time.Now().After(end) })
}

// settled waits until no process has said anything of tasks or tables for a while.
func (f *fleet) settled(ctx context.Context) error {
	begin := time.Now()
	return f.await(ctx, "the group to settle", func() bool {
		last := begin
		for _, p := range f.procs {
			if p == nil {
				continue
			}
			for _, l := range p.Lines(aboutTasks) {
				if l.At.After(last) {
					last = l.At
				}
			}
		}
		return time.Since(last) > quiet
	})
}

func aboutTasks(text string) bool {
	return strings.Contains(text, "task") || strings.Contains(text, "standby") || strings.Contains(text, "table restored")
}

// moves counts how often a process was given tasks since a moment.
func (f *fleet) moves(since time.Time) (n int) {
	for _, p := range f.procs {
		if p == nil {
			continue
		}
		for _, l := range p.Lines(func(text string) bool {
			return strings.Contains(text, `"tasks assigned"`) && !strings.Contains(text, `"new":0`)
		}) {
			if l.At.After(since) {
				n++
			}
		}
	}
	return n
}

// feed lets views flow, batch for every 10 ms.
func (f *fleet) feed(batch int, next func() testkit.Message) {
	f.stop = f.c.Feed(f.views, batch, next, func(partition int32) { f.fed[partition].Add(1) })
}

// serving waits until every partition has given the output of a view that was fed
// after now, and gives the time that took.
func (f *fleet) serving(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	after := make([]int64, len(f.fed))
	for p := range f.fed {
		after[p] = f.fed[p].Load()
	}
	last := begin
	err := f.await(ctx, "output of every partition", func() bool {
		for p, n := range after {
			at, ok := f.watch.Arrival(p, n)
			if !ok {
				return false
			}
			if at.After(last) {
				last = at
			}
		}
		return true
	})
	return last.Sub(begin), err
}

// outputs is how many there are up to now.
func (f *fleet) outputs() (sum int64) {
	for _, n := range f.watch.Counts() {
		sum += n
	}
	return sum
}

// cpu is what all processes have used up to now.
func (f *fleet) cpu() (sum time.Duration, err error) {
	for _, p := range f.procs {
		d, err := cpuOf(p.Pid())
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// tick is the kernel's unit of CPU time in /proc.
const tick = 10 * time.Millisecond

func cpuOf(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	_, rest, ok := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errors.New("read CPU time: unknown form of /proc/PID/stat")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}
