package reliability

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"streamctl/internal/broker"
	"streamctl/internal/engine"
	"streamctl/internal/kafka"
	"streamctl/internal/record"
	"streamctl/internal/testkit"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

const (
	benchRows       = 500_000
	benchPartitions = 4
)

const benchPipeline = `pipeline: bench
sources:
  views: {topic: bench-views}
tables:
  profiles:
    topic: bench-profiles
    partitioned_by: key
streams:
  joined:
    from: views v
    join: [{left: profiles p, on: v.key == p.key}]
    select:
      - n: v.n
      - title: p.profile.positions[0].job_title
sinks:
  out: {from: joined, topic: bench-out}
`

// BenchmarkRestore restores a table from its topic, and reads the same topic
// bare, by turns on one broker; rows/s of the one should be near those of the other.
func BenchmarkRestore(b *testing.B) {
	broker, err := broker.Start(broker.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := broker.Stop(); err != nil {
			b.Error(err)
		}
	}()
	fillBench(b, broker.Addr())
	r, list := pipeline.Compile("bench.yaml", []byte(benchPipeline), pipeline.ParseOptions{})
	if list.HasErrors() {
		b.Fatal(list)
	}
	transport, err := kafka.Open(b.Context(), kafka.Settings{Brokers: []string{broker.Addr()}, Group: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = transport.Close() }()
	b.Run("bare", func(b *testing.B) {
		for range b.N {
			readBare(b, transport)
		}
		b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("restore", func(b *testing.B) {
		for range b.N {
			restoreOnce(b, transport, r.Topology)
		}
		b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}

func fillBench(b *testing.B, addr string) {
	b.Helper()
	c, err := testkit.Connect(addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for topic, cleanup := range map[string]string{"bench-views": "delete", "bench-profiles": "compact", "bench-out": "delete"} {
		if err := c.CreateTopic(b.Context(), topic, benchPartitions, cleanup); err != nil {
			b.Fatal(err)
		}
	}
	member := 0
	if _, err := c.Produce(b.Context(), "bench-profiles", func() (testkit.Message, bool) {
		member++
		return testkit.ProfileEdit(member, 0, 1_000_000), member <= benchRows
	}); err != nil {
		b.Fatal(err)
	}
}

// readBare reads the table's topic to its end, two sources at once.
func readBare(b *testing.B, transport *kafka.Transport) {
	b.Helper()
	done := make(chan error, 2)
	for half := range 2 {
		go func() { done <- readHalf(b.Context(), transport, half) }()
	}
	for range 2 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

func readHalf(ctx context.Context, transport *kafka.Transport, half int) error {
	source, err := transport.NewSource()
	if err != nil {
		return err
	}
	defer source.Close()
	left := make(map[record.TopicPartition]bool)
	for p := half; p < benchPartitions; p += 2 {
		tp := record.TopicPartition{Topic: "bench-profiles", Partition: int32(p)}
		left[tp] = true
		source.Start(tp, 0, engine.ReadCommitted)
	}
	for len(left) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, f := range source.Poll(time.Second) {
			if f.Err != nil {
				return f.Err
			}
			if f.Next >= f.End {
				delete(left, f.TP)
			}
			source.Release(f)
		}
	}
	return nil
}

// restoreOnce runs the pipeline to its end with an empty state.
func restoreOnce(b *testing.B, transport *kafka.Transport, topology *operators.Topology) {
	b.Helper()
	stats, err := engine.Supervise(b.Context(), state.Directory{Options: state.Options{Dir: filepath.Join(b.TempDir(), "state")}}, engine.Options{
		Topology: topology, Transport: transport, ExactlyOnce: true, UntilEnd: true, Instance: "bench", Workers: 2,
	})
	if err != nil {
		b.Fatal(err)
	}
	if stats.Restored != benchRows {
		b.Fatalf("%d rows restored, want %d", stats.Restored, benchRows)
	}
}
