package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/selfstat"
)

// copyCommand is the hidden subcommand under which bench runs itself as the
// bare copy, so that it is measured as a process of its own.
const copyCommand = "bare-copy"

// copyMain reads every partition of a topic from its start to the end given
// and writes each record as it is to the same partition of another topic.
func copyMain(args []string) error {
	fs := flag.NewFlagSet(copyCommand, flag.ContinueOnError)
	brokers := fs.String("brokers", "", "address")
	from := fs.String("from", "", "topic to read")
	to := fs.String("to", "", "topic to write")
	partitions := fs.Int("partitions", 0, "of both")
	records := fs.Int64("records", 0, "how many there are")
	if err := fs.Parse(args); err != nil {
		return err
	}
	offsets := make(map[int32]kgo.Offset)
	for p := range int32(*partitions) {
		offsets[p] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(*brokers),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{*from: offsets}),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.FetchMaxBytes(8<<20),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.WithPools(&recordPool{}),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(1_000_000),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(100_000),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	stop, err := selfstat.Start(os.Getenv)
	if err != nil {
		return err
	}
	if err := copyAll(cl, *to, *records); err != nil {
		return err
	}
	return stop(os.Stdout)
}

func copyAll(cl *kgo.Client, to string, records int64) error {
	ctx := context.Background()
	var failed atomic.Pointer[error]
	acked := func(r *kgo.Record, err error) {
		if err != nil {
			failed.Store(&err)
		}
		r.Recycle()
	}
	for seen := int64(0); seen < records; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			r.Topic = to
			cl.Produce(ctx, r, acked)
			seen++
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("produce: %w", *err)
	}
	return nil
}

// recordPool lets the client use its slices of records again.
type recordPool struct{ pool sync.Pool }

// GetRecords returns an empty slice of capacity n.
func (p *recordPool) GetRecords(n int) []kgo.Record {
	if s, ok := p.pool.Get().(*[]kgo.Record); ok && cap(*s) >= n {
		return (*s)[:0]
	}
	return make([]kgo.Record, 0, n)
}

// PutRecords takes it back.
func (p *recordPool) PutRecords(s []kgo.Record) { p.pool.Put(&s) }
