package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"streamctl/internal/kafkatest"
	"streamctl/internal/testkit"
)

const copyName = "bare copy (consume, produce)"

// bench is one run of the program.
type bench struct {
	opts      options
	dir       string // scratch
	binary    string // streamctl
	viewBytes int
	serial    int // makes pipeline names, and so groups and topics, new for every measurement
	bigLoaded bool
	results   results
}

func newBench(ctx context.Context, o options) (*bench, error) {
	dir, err := os.MkdirTemp("", "streamctl-bench-")
	if err != nil {
		return nil, fmt.Errorf("make working directory: %w", err)
	}
	b := &bench{opts: o, dir: dir, binary: o.binary}
	onlyCopy := o.parts == "copy"
	if b.binary == "" && !onlyCopy {
		b.binary = filepath.Join(dir, "streamctl")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "streamctl/cmd/streamctl")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build streamctl: %w\n%s", err, out)
		}
	}
	return b, nil
}

func (b *bench) close() {
	if b.opts.keep {
		fmt.Fprintln(os.Stderr, "kept", b.dir)
		return
	}
	_ = os.RemoveAll(b.dir)
}

// progress tells the user what is going on.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// onKafka measures on a real Kafka of its own.
func (b *bench) onKafka(ctx context.Context) error {
	b.progress("starting Kafka")
	broker, err := kafkatest.Launch(ctx, kafkatest.Options{Optimize: true, HeapMB: 2048})
	if err != nil {
		return err
	}
	defer broker.Close()
	c, err := testkit.Connect(broker.Addr())
	if err != nil {
		return err
	}
	defer c.Close()
	if b.opts.wants("copy") || b.opts.wants("join") || b.opts.wants("count") {
		if err := b.load(ctx, c); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name string
		run  func(context.Context, *testkit.Cluster, string) error
	}{
		{"copy", b.bareCopy},
		{"join", b.joins},
		{"count", b.counts},
		{"streamjoin", b.streamJoins},
		{"match", b.matches},
		{"restore", b.restore},
		{"start", b.start},
		{"takeover", b.takeover},
		{"restart", b.planned},
		{"scale", b.scale},
		{"storm", b.storm},
		{"restorebare", b.restoreBare},
	} {
		if b.opts.wants(part.name) {
			if err := part.run(ctx, c, "Kafka"); err != nil {
				return fmt.Errorf("measure %s: %w", part.name, err)
			}
		}
	}
	return nil
}

// best repeats a measurement and keeps the run with the least CPU, as the
// others were disturbed more.
func (b *bench) best(measure func() (result, error)) error {
	var best result
	for i := range b.opts.runs {
		r, err := measure()
		if err != nil {
			return err
		}
		if i == 0 || r.usage.cpu < best.usage.cpu {
			best = r
		}
	}
	b.results.add(best)
	b.progress("  %s: %v of CPU in %v", best.name, best.usage.cpu.Round(time.Millisecond), best.usage.wall.Round(time.Millisecond))
	return nil
}

// bareCopy measures the limit: the same views read and written by a client alone.
func (b *bench) bareCopy(ctx context.Context, c *testkit.Cluster, _ string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	return b.best(func() (result, error) {
		b.serial++
		to := fmt.Sprintf("%s-%d", copyTopic, b.serial)
		if err := c.CreateTopic(ctx, to, b.opts.partitions, "delete"); err != nil {
			return result{}, err
		}
		u, err := runChild(ctx, b.opts.verbose, nil, self, copyCommand, "-brokers", c.Addr, "-from", viewsTopic, "-to", to,
			"-partitions", strconv.Itoa(b.opts.partitions), "-records", strconv.Itoa(b.opts.views))
		if err != nil {
			return result{}, err
		}
		n, _, err := count(ctx, c, to, "")
		if err != nil {
			return result{}, err
		}
		if n != int64(b.opts.views) {
			return result{}, fmt.Errorf("copied %d of %d records", n, b.opts.views)
		}
		return result{name: copyName, records: n, usage: u}, nil
	})
}
