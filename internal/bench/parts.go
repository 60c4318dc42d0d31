package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"streamctl/internal/broker"
	"streamctl/internal/selfstat"
	"streamctl/internal/testkit"
)

// runJob runs streamctl on a job until the end of the input, and tells when
// the first output could be read.
func (b *bench) runJob(ctx context.Context, c *testkit.Cluster, j job, extra ...string) (usage, time.Duration, error) {
	if err := c.CreateTopic(ctx, j.out, b.opts.partitions, "delete"); err != nil {
		return usage{}, 0, err
	}
	var first atomic.Int64
	watch, stop := context.WithCancel(ctx)
	defer stop()
	watching := make(chan error, 1)
	go func() {
		err := c.AwaitRecord(watch, j.out)
		first.Store(time.Now().UnixNano())
		watching <- err
	}()
	args := append([]string{"run", j.file, "--until-end", "--brokers", c.Addr, "--data-dir", j.dataDir}, extra...)
	u, err := runChild(ctx, b.opts.verbose, b.profileEnv(j), b.binary, args...)
	if err != nil {
		return u, 0, err
	}
	stop()
	if err := <-watching; err != nil {
		return u, 0, nil // nothing was written, as when everything had been before
	}
	return u, time.Unix(0, first.Load()).Sub(u.started), nil
}

// profileEnv asks the child for a CPU profile when that is wanted.
func (b *bench) profileEnv(j job) []string {
	if b.opts.profileDir == "" {
		return nil
	}
	return []string{selfstat.ProfileEnv + "=" + filepath.Join(b.opts.profileDir, filepath.Base(j.dataDir)+".prof")}
}

// expectOutput refuses a measurement whose result is wrong.
func (b *bench) expectOutput(ctx context.Context, c *testkit.Cluster, j job, unwanted string) error {
	n, bad, err := count(ctx, c, j.out, unwanted)
	if err != nil {
		return err
	}
	if n != int64(b.opts.views) || bad != 0 {
		return fmt.Errorf("%d records came out, %d of them with %s; want %d and none", n, bad, unwanted, b.opts.views)
	}
	return nil
}

// joins measures the join under both guarantees, each run from nothing.
func (b *bench) joins(ctx context.Context, c *testkit.Cluster, on string) error {
	for _, g := range guarantees {
		err := b.best(func() (result, error) {
			j, err := b.write(joinPipeline, g.settings)
			if err != nil {
				return result{}, err
			}
			u, first, err := b.runJob(ctx, c, j)
			if err != nil {
				return result{}, err
			}
			if err := b.expectOutput(ctx, c, j, `"jobTitle":null`); err != nil {
				return result{}, err
			}
			return result{name: "join, " + g.label + ", " + on, records: int64(b.opts.views), usage: u, first: first}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// counts measures the count per key: every update sent, the last of each key every
// second, and every update of the count of each minute.
func (b *bench) counts(ctx context.Context, c *testkit.Cluster, on string) error {
	for _, v := range []struct {
		name, pipeline string
		every          bool // update comes out
	}{
		{"count per key", countPipeline, true},
		{"count per key, sent every second", coalescedPipeline(), false},
		{"count per key and minute", windowPipeline(), true},
	} {
		err := b.best(func() (result, error) {
			j, err := b.write(v.pipeline, guarantees[0].settings)
			if err != nil {
				return result{}, err
			}
			u, first, err := b.runJob(ctx, c, j)
			if err != nil {
				return result{}, err
			}
			if v.every {
				if err := b.expectOutput(ctx, c, j, ""); err != nil {
					return result{}, err
				}
			}
			counted, err := countedIn(ctx, c, j.out)
			if err == nil && counted != int64(b.opts.views) {
				err = fmt.Errorf("%d views are counted in the end, want %d", counted, b.opts.views)
			}
			if err != nil {
				return result{}, err
			}
			return result{name: v.name + ", exactly once, " + on, records: int64(b.opts.views), usage: u, first: first}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// countedIn adds up the last count of every key of a topic.
func countedIn(ctx context.Context, c *testkit.Cluster, topic string) (int64, error) {
	last := map[string]int64{}
	var bad error
	err := c.Read(ctx, topic, func(m testkit.Message) {
		var row struct {
			Views int64 `json:"views"`
		}
		if err := json.Unmarshal(m.Value, &row); err != nil {
			bad = fmt.Errorf("read count %q: %w", m.Value, err)
		}
		last[string(m.Key)] = row.Views
	})
	var sum int64
	for _, n := range last {
		sum += n
	}
	return sum, errors.Join(err, bad)
}

const (
	emptyTopic = "bench-nothing"
	rowsTopic  = "bench-rows"
)

// restore measures how fast tables of a million rows come back when their
// directory is lost: the time of such a run less that of a run with the
// directory in place, in which nothing is left to do. One table is fed by a
// topic of rows, the other is made by counting and has a changelog.
func (b *bench) restore(ctx context.Context, c *testkit.Cluster, on string) error {
	rows := 10 * b.opts.profiles
	if err := b.loadRows(ctx, c, rows); err != nil {
		return err
	}
	for _, table := range []struct{ name, pipeline string }{
		{"restore of a table fed by a topic, ", tablePipeline},
		{"restore of counts from their changelog, ", changelogPipeline},
	} {
		err := b.best(func() (result, error) {
			r, err := b.restoreOnce(ctx, c, table.pipeline)
			r.name, r.records = table.name+on, int64(rows)
			return r, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) restoreOnce(ctx context.Context, c *testkit.Cluster, pipeline string) (result, error) {
	full, idle, err := b.restoreRuns(ctx, c, pipeline)
	return lessIdle(full, idle), err
}

// restoreRuns gives what a run used whose state directory was lost, and what one
// with nothing to restore.
func (b *bench) restoreRuns(ctx context.Context, c *testkit.Cluster, pipeline string) (full, idle usage, err error) {
	j, err := b.write(pipeline, guarantees[0].settings)
	if err != nil {
		return full, idle, err
	}
	if _, _, err := b.runJob(ctx, c, j); err != nil { // the first load
		return full, idle, err
	}
	if idle, _, err = b.runJob(ctx, c, j); err != nil {
		return full, idle, err
	}
	// Moved aside and not deleted: for a minute after it has deleted files, ext4 goes past
	// the numbers of each of them whenever it makes a new one, a millisecond every time.
	if err := os.Rename(j.dataDir, j.dataDir+"-lost"); err != nil {
		return full, idle, fmt.Errorf("lose state directory: %w", err)
	}
	full, _, err = b.runJob(ctx, c, j)
	return full, idle, err
}

// lessIdle is the restore alone.
func lessIdle(full, idle usage) result {
	full.wall -= idle.wall
	full.cpu -= idle.cpu
	return result{usage: full, note: fmt.Sprintf("less a start with nothing to restore (%v)", idle.wall.Round(time.Millisecond))}
}

func (b *bench) loadRows(ctx context.Context, c *testkit.Cluster, rows int) error {
	b.progress("producing %d rows", rows)
	if err := c.CreateTopic(ctx, emptyTopic, b.opts.partitions, "delete"); err != nil {
		return err
	}
	if err := c.CreateTopic(ctx, rowsTopic, b.opts.partitions, "compact"); err != nil {
		return err
	}
	i := 0
	_, err := c.Produce(ctx, rowsTopic, func() (testkit.Message, bool) {
		i++
		m := testkit.ProfileEdit(i, 0, 0)
		m.Key = fmt.Append(nil, i)
		return m, i <= rows
	})
	return err
}

// start measures a run in which there is nothing to do, on topics that are empty.
func (b *bench) start(ctx context.Context, c *testkit.Cluster, on string) error {
	for _, topic := range []string{emptyTopic, emptyTopic + "-rows"} {
		if err := c.CreateTopic(ctx, topic, b.opts.partitions, "compact"); err != nil {
			return err
		}
	}
	pipeline := strings.ReplaceAll(tablePipeline, "topic: "+rowsTopic, "topic: "+emptyTopic+"-rows")
	err := b.best(func() (result, error) {
		j, err := b.write(pipeline, guarantees[0].settings)
		if err != nil {
			return result{}, err
		}
		first, _, err := b.runJob(ctx, c, j)
		if err != nil {
			return result{}, err
		}
		again, _, err := b.runJob(ctx, c, j)
		if err != nil {
			return result{}, err
		}
		return result{name: "start and stop with no data, " + on, usage: again,
			note: fmt.Sprintf("ready after %v; the very first run, with topics to create, after %v", again.ready.Round(time.Millisecond), first.ready.Round(time.Millisecond))}, nil
	})
	return err
}

// onEmbedded measures on the embedded broker, which runs in this process here,
// so that the child's CPU is the product's without the broker's.
func (b *bench) onEmbedded(ctx context.Context) error {
	b.progress("starting the embedded broker")
	server, err := broker.Start(broker.Config{Dir: filepath.Join(b.dir, "broker"), Partitions: b.opts.partitions})
	if err != nil {
		return err
	}
	defer server.Stop()
	c, err := testkit.Connect(server.Addr())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := b.load(ctx, c); err != nil {
		return err
	}
	if err := b.joins(ctx, c, "embedded"); err != nil {
		return fmt.Errorf("measure join: %w", err)
	}
	return nil
}
