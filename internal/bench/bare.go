package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/engine"
	"streamctl/internal/kafka"
	"streamctl/internal/kafkatest"
	"streamctl/internal/record"
	"streamctl/internal/selfstat"
	"streamctl/internal/testkit"
)

// A bare read of a topic: every record is fetched, its batch's checksum checked,
// its place known, and nothing done with it. Each reader is a process of its own, as
// the restore is that it is compared with; all ask for the same bytes of the same
// partitions, committed only. The Go readers are this program under another name; Kafka's
// own kafka-consumer-perf-test is started as it is.

// readCommand is the hidden subcommand under which bench runs itself as a bare reader.
const readCommand = "bare-read"

// bareReaders by name: Kafka's own, the fastest Go client, and what the product fetches with.
var bareReaders = []struct {
	name string
	read func(ctx context.Context, r bareRead) error // nil = no part of this program
}{
	{perfTest, nil},
	{"franz-go", readFranz},
	{"streamctl's own reader", readOwn},
}

// perfTest is Kafka's tool to measure a consumer with.
const perfTest = "kafka-consumer-perf-test"

// warmUpReads is how often each of the program's own readers reads the topic before anything is measured. A broker that has
// just been started compiles what it runs: up to a quarter of two cores go to that
// meanwhile, and most to the disadvantage of whoever else uses them fully.
const warmUpReads = 10

// bareRead says what is read.
type bareRead struct {
	brokers    string
	topic      string
	partitions int
	records    int
}

// tookPrefix begins the line in which a reader tells how long it took, from
// before it connects until it has all.
const tookPrefix = "bare read took "

// readMain reads a topic with one of the readers.
func readMain(args []string) error {
	fs := flag.NewFlagSet(readCommand, flag.ContinueOnError)
	client := fs.String("client", "", "which reader")
	var r bareRead
	fs.StringVar(&r.brokers, "brokers", "", "addresses")
	fs.StringVar(&r.topic, "topic", "", "topic to read")
	fs.IntVar(&r.partitions, "partitions", 0, "of the topic")
	fs.IntVar(&r.records, "records", 0, "how many there are")
	if err := fs.Parse(args); err != nil {
		return err
	}
	for _, reader := range bareReaders {
		if reader.name != *client || reader.read == nil {
			continue
		}
		stop, err := selfstat.Start(os.Getenv)
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := reader.read(context.Background(), r); err != nil {
			return fmt.Errorf("read %s with %s: %w", r.topic, *client, err)
		}
		fmt.Println(tookPrefix + time.Since(begin).String())
		return stop(os.Stdout)
	}
	return fmt.Errorf("no reader %q", *client)
}

func readFranz(ctx context.Context, r bareRead) error {
	offsets := make(map[int32]kgo.Offset)
	for p := range int32(r.partitions) {
		offsets[p] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(r.brokers, ",")...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: offsets}),
		kgo.FetchMaxPartitionBytes(1<<20), kgo.FetchMaxBytes(16<<20), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.WithPools(&recordPool{}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for left := r.records; left > 0; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		left -= fetches.NumRecords()
		fetches.EachRecord((*kgo.Record).Recycle)
	}
	return nil
}

func readOwn(ctx context.Context, r bareRead) (err error) {
	tr, err := kafka.Open(ctx, kafka.Settings{Brokers: strings.Split(r.brokers, ",")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tr.Close()) }()
	source, err := tr.NewSource()
	if err != nil {
		return err
	}
	defer source.Close()
	for p := range int32(r.partitions) {
		tp := record.TopicPartition{Topic: r.topic, Partition: p}
		source.Start(tp, 0, engine.ReadCommitted)
		source.Rush(tp)
	}
	for left := r.records; left > 0; {
		for _, f := range source.Poll(time.Second) {
			if f.Err != nil {
				return f.Err
			}
			left -= len(f.Records)
			source.Release(f)
			f.Memory.LetGo()
		}
	}
	return nil
}

// readPerfTest runs kafka-consumer-perf-test and gives what it used; wall is what it says that its
// fetching took, without the time until it had its partitions.
func (b *bench) readPerfTest(ctx context.Context, c *testkit.Cluster, topic string, records int) (usage, error) {
	classpath, err := kafkatest.Tools(ctx)
	if err != nil {
		return usage{}, err
	}
	config := filepath.Join(b.dir, perfTest+".properties")
	if err := os.WriteFile(config, []byte("isolation.level=read_committed\nfetch.max.bytes=16777216\nmax.partition.fetch.bytes=1048576\n"), 0o600); err != nil {
		return usage{}, fmt.Errorf("write settings of %s: %w", perfTest, err)
	}
	u, err := runChild(ctx, b.opts.verbose, nil, "java", "-Xmx1g", "-cp", classpath, "org.apache.kafka.tools.ConsumerPerformance",
		"--bootstrap-server", c.Addr, "--topic", topic, "--num-records", fmt.Sprint(records), "--command-config", config, "--hide-header")
	if err != nil {
		return u, err
	}
	// start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, MB/s, records/s of the fetching
	const counted, fetching, columns = 4, 7, 10
	for line := range strings.Lines(u.output) {
		fields := strings.Split(strings.TrimSpace(line), ", ")
		if len(fields) != columns || fields[counted] != fmt.Sprint(records) {
			continue
		}
		ms, err := strconv.Atoi(fields[fetching])
		u.wall = time.Duration(ms) * time.Millisecond
		return u, err
	}
	return u, fmt.Errorf("read %s with %s: it did not say that it read %d records:\n%s", topic, perfTest, records, lastLines(u.output, 5))
}

// readBare runs one of the readers and gives what it used; wall is its reading alone.
func (b *bench) readBare(ctx context.Context, c *testkit.Cluster, client, topic string, records int) (usage, error) {
	if client == perfTest {
		return b.readPerfTest(ctx, c, topic, records)
	}
	self, err := os.Executable()
	if err != nil {
		return usage{}, fmt.Errorf("find own binary: %w", err)
	}
	u, err := runChild(ctx, b.opts.verbose, nil, self, readCommand, "-client", client, "-brokers", c.Addr, "-topic", topic,
		"-partitions", fmt.Sprint(b.opts.partitions), "-records", fmt.Sprint(records))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(u.output) {
		if took, ok := strings.CutPrefix(strings.TrimSpace(line), tookPrefix); ok {
			u.wall, err = time.ParseDuration(took)
			return u, err
		}
	}
	return u, fmt.Errorf("read %s with %s: it did not say how long it took:\n%s", topic, client, lastLines(u.output, 5))
}

// restoreBare compares the restore of the large table with bare reads of its
// topic. All take turns; of each the run that took least time is shown, and beside the ratio of
// these the one in the middle of all rounds. A restore lasts
// from when the process has its tasks until all of them run; its CPU is the whole run's,
// with the start and what the store tidies up at the end.
func (b *bench) restoreBare(ctx context.Context, c *testkit.Cluster, on string) error {
	rows, err := b.bigRows(ctx, c)
	if err != nil {
		return err
	}
	if err := c.CreateTopic(ctx, emptyTopic, b.opts.partitions, "compact"); err != nil {
		return err
	}
	if err := b.warmUp(ctx, c, rows); err != nil {
		return err
	}
	bare := make([]result, len(bareReaders))
	ratios := make([][]float64, len(bareReaders)) // of every round
	var restored result
	for round := range b.opts.runs {
		walls := make([]time.Duration, len(bareReaders))
		for n := range bareReaders {
			i := (n + round) % len(bareReaders) // what runs before has its influence
			reader := bareReaders[i]
			u, err := b.readBare(ctx, c, reader.name, bigTopic, rows)
			if err != nil {
				return err
			}
			walls[i] = u.wall
			bare[i] = faster(round, bare[i], result{name: "bare read with " + reader.name + ", " + on, records: int64(rows), usage: u})
		}
		lost, _, err := b.restoreRuns(ctx, c, strings.ReplaceAll(tablePipeline, rowsTopic, bigTopic))
		if err != nil {
			return err
		}
		lost.wall = lost.ready - lost.assigned
		took := fmt.Sprintf("round %d: restore %v", round+1, lost.wall.Round(time.Millisecond))
		for i, reader := range bareReaders {
			ratios[i] = append(ratios[i], walls[i].Seconds()/lost.wall.Seconds())
			took += fmt.Sprintf(", %s %v", reader.name, walls[i].Round(time.Millisecond))
		}
		b.progress("%s", took)
		restored = faster(round, restored, result{name: "restore of a large table, " + on, records: int64(rows), usage: lost})
	}
	var against []string
	for i, r := range bare {
		b.results.add(r)
		slices.Sort(ratios[i])
		against = append(against, fmt.Sprintf("%.0f %% of the speed of a bare read with %s (%.0f %% in the middle of %d rounds; %.2f x its CPU)",
			100*r.usage.wall.Seconds()/restored.usage.wall.Seconds(), bareReaders[i].name, 100*ratios[i][len(ratios[i])/2], b.opts.runs, restored.cpuPerRecord()/r.cpuPerRecord()))
	}
	restored.note = strings.Join(against, ", ")
	b.results.add(restored)
	return nil
}

// warmUp reads the large topic until the broker has compiled what it runs for that.
func (b *bench) warmUp(ctx context.Context, c *testkit.Cluster, rows int) error {
	b.progress("warming up the broker")
	for range warmUpReads {
		for _, reader := range bareReaders {
			if reader.read == nil {
				continue
			}
			if _, err := b.readBare(ctx, c, reader.name, bigTopic, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

// faster is the one of two results that took less time; in the first round there is only b.
func faster(round int, a, b result) result {
	if round > 0 && a.usage.wall < b.usage.wall {
		return a
	}
	return b
}
