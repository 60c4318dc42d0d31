package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"streamctl/internal/testkit"
)

// bigRow is the size of a row of the large table, bytes.
const bigRow = 1000

const bigTopic = "fleet-rows"

// bigPipeline joins views with a large table.
const bigPipeline = `pipeline: %[1]s
%[2]s
sources:
  views:
    topic: VIEWS
    partitioned_by: viewerId
    fields: {viewerId: int}
tables:
  rows:
    topic: ` + bigTopic + `
    key_format: json
streams:
  joined:
    from: views v
    join:
      - left: rows r
        on: v.viewerId == r.key
    select:
      - viewerId: v.viewerId
      - size: len(r.pad)
sinks:
  out:
    from: joined
    topic: %[3]s
    key: viewerId
`

// fleetCount is countPipeline on views of its own.
var fleetCount = strings.ReplaceAll(countPipeline, viewsTopic, "VIEWS")

// bigRows fills the table once and gives the number of its rows.
func (b *bench) bigRows(ctx context.Context, c *testkit.Cluster) (int, error) {
	rows := b.opts.stateMB << 20 / bigRow
	if b.bigLoaded {
		return rows, nil
	}
	b.progress("producing %d rows of %d B", rows, bigRow)
	if err := c.CreateTopic(ctx, bigTopic, b.opts.partitions, "compact"); err != nil {
		return 0, err
	}
	pad := strings.Repeat("streamctl-", bigRow/10)
	i := 0
	_, err := c.Produce(ctx, bigTopic, func() (testkit.Message, bool) {
		i++
		// Rows that differ, or compression would make the state small.
		value := fmt.Appendf(nil, `{"pad":"%x%s"}`, uint64(i)*0x9e3779b97f4a7c15, pad[:bigRow-40])
		return testkit.Message{Key: fmt.Append(nil, i), Value: value, Time: time.Now().UnixMilli()}, i <= rows
	})
	b.bigLoaded = err == nil
	return rows, err
}

// someView makes views of the first so many viewers in turn.
func someView(viewers int) func() testkit.Message {
	n := 0
	return func() testkit.Message {
		n++
		id := 1 + n*7919%viewers
		return testkit.Message{Key: fmt.Append(nil, id), Value: fmt.Appendf(nil, `{"viewerId":%d,"timestamp":%d}`, id, time.Now().Unix()), Time: time.Now().UnixMilli()}
	}
}

// bigFleet is three processes with the large table, ready and settled, and views flowing.
func (b *bench) bigFleet(ctx context.Context, c *testkit.Cluster, settings string) (*fleet, error) {
	rows, err := b.bigRows(ctx, c)
	if err != nil {
		return nil, err
	}
	f, err := b.newFleet(ctx, c, bigPipeline, guarantees[0].settings+settings)
	if err != nil {
		return nil, err
	}
	for place := range 3 {
		if err := f.start(ctx, place); err != nil {
			f.close()
			return nil, err
		}
	}
	f.feed(5, someView(rows))
	if err = f.settled(ctx); err == nil {
		_, err = f.serving(ctx)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// takeover kills one of three processes, without and with a standby: the first that was
// started, of whose tasks the others have no earlier copy.
func (b *bench) takeover(ctx context.Context, c *testkit.Cluster, on string) error {
	for _, standbys := range []int{0, 1} {
		f, err := b.bigFleet(ctx, c, fmt.Sprintf("\nstandbys: %d", standbys))
		if err != nil {
			return err
		}
		f.procs[0].Kill()
		f.procs[0] = nil
		took, err := f.serving(ctx)
		f.close()
		if err != nil {
			return err
		}
		b.results.add(result{name: fmt.Sprintf("take-over of a killed process, %d standbys, %s", standbys, on), usage: usage{wall: took},
			note: fmt.Sprintf("state of %d MB in three processes; the session timeout is %s: %s beyond it", b.opts.stateMB, sessionTimeout, (took - sessionTimeout).Round(time.Millisecond))})
	}
	return nil
}

// planned restarts one of three processes under its name.
func (b *bench) planned(ctx context.Context, c *testkit.Cluster, on string) error {
	f, err := b.bigFleet(ctx, c, "")
	if err != nil {
		return err
	}
	defer f.close()
	begin := time.Now()
	served := make(chan error, 1)
	if err := f.end(ctx, 1); err != nil {
		return err
	}
	stopped := time.Since(begin)
	go func() { served <- f.start(ctx, 1) }()
	if err := <-served; err != nil {
		return err
	}
	if _, err := f.serving(ctx); err != nil {
		return err
	}
	pause := f.longestPause(begin)
	if err := f.settled(ctx); err != nil {
		return err
	}
	moved := f.moves(begin) - 1 // the one that came back is given its own
	b.results.add(result{name: "planned restart under a stable name, " + on, usage: usage{wall: pause},
		note: fmt.Sprintf("wall is the longest pause of a partition; %s of it until the process had ended; %d other hand-overs", stopped.Round(time.Millisecond), moved)})
	return nil
}

// longestPause is the longest time without output in any partition since a moment.
func (f *fleet) longestPause(since time.Time) (longest time.Duration) {
	for p, n := range f.watch.Counts() {
		next, _ := f.watch.Arrival(p, n-1)
		for i := n - 2; i >= 0; i-- {
			at, _ := f.watch.Arrival(p, i)
			longest = max(longest, next.Sub(at))
			if next = at; at.Before(since) {
				break
			}
		}
	}
	return longest
}

// scale compares the CPU per record of one process with that of two that share the work.
func (b *bench) scale(ctx context.Context, c *testkit.Cluster, on string) error {
	var alone float64
	for _, processes := range []int{1, 2} {
		r, err := b.scaleOnce(ctx, c, processes)
		if err != nil {
			return err
		}
		r.name = fmt.Sprintf("count per key, %d processes, %s", processes, on)
		if processes == 1 {
			alone = r.cpuPerRecord()
		} else {
			r.note = fmt.Sprintf("CPU per record: %+.1f %% against one process", 100*(r.cpuPerRecord()/alone-1))
		}
		b.results.add(r)
	}
	return nil
}

func (b *bench) scaleOnce(ctx context.Context, c *testkit.Cluster, processes int) (result, error) {
	f, err := b.newFleet(ctx, c, fleetCount, guarantees[0].settings)
	if err != nil {
		return result{}, err
	}
	defer f.close()
	for place := range processes {
		if err := f.start(ctx, place); err != nil {
			return result{}, err
		}
	}
	if err := f.settled(ctx); err != nil {
		return result{}, err
	}
	before, err := f.cpu()
	if err != nil {
		return result{}, err
	}
	data := testkit.NewData(testkit.DataConfig{Seed: 1, Profiles: b.opts.profiles})
	left, begin := b.opts.views, time.Now()
	if _, err := c.Produce(ctx, f.views, func() (testkit.Message, bool) { left--; return data.View(), left >= 0 }); err != nil {
		return result{}, err
	}
	if err := f.await(ctx, "all outputs", func() bool { return f.outputs() >= int64(b.opts.views) }); err != nil {
		return result{}, err
	}
	wall := time.Since(begin)
	after, err := f.cpu()
	return result{records: int64(b.opts.views), usage: usage{wall: wall, cpu: after - before}}, err
}

// stormEvery is the time between a join and a leave.
const stormEvery = 3 * time.Second

// storm compares the throughput while a member joins or leaves every few seconds
// with that in calm. More flows in than can be processed.
func (b *bench) storm(ctx context.Context, c *testkit.Cluster, on string) error {
	f, err := b.newFleet(ctx, c, fleetCount, guarantees[0].settings)
	if err != nil {
		return err
	}
	defer f.close()
	for place := range 2 {
		if err := f.start(ctx, place); err != nil {
			return err
		}
	}
	f.feed(b.opts.stormRate/100, testkit.NewData(testkit.DataConfig{Seed: 1, Profiles: b.opts.profiles}).View)
	if err := f.settled(ctx); err != nil {
		return err
	}
	calm, err := f.rate(ctx, 5*stormEvery)
	if err != nil {
		return err
	}
	before, begin, least := f.outputs(), time.Now(), -1.0
	for round := 0; time.Since(begin) < b.opts.stormTime; round++ {
		if round%2 == 0 {
			if err := f.start(ctx, 2); err != nil {
				return err
			}
		} else if err := f.end(ctx, 2); err != nil {
			return err
		}
		r, err := f.rate(ctx, stormEvery)
		if err != nil {
			return err
		}
		if least < 0 || r < least {
			least = r
		}
	}
	storm := float64(f.outputs()-before) / time.Since(begin).Seconds()
	b.results.add(result{name: "rebalance storm, " + on, usage: usage{wall: b.opts.stormTime},
		note: fmt.Sprintf("%.0f outputs/s, %.0f %% of %.0f in calm; at least %.0f in any %s", storm, 100*storm/calm, calm, least, stormEvery)})
	return nil
}

// rate is the throughput over a time, outputs/s.
func (f *fleet) rate(ctx context.Context, d time.Duration) (float64, error) {
	before, begin := f.outputs(), time.Now()
	err := f.pass(ctx, d)
	return float64(f.outputs()-before) / time.Since(begin).Seconds(), err
}
