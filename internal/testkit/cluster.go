package testkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Cluster is a client of a broker for tests. It is another client than the
// product's own, so that a mistake in the product's cannot hide itself.
type Cluster struct {
	Addr string
	cl   *kgo.Client
	adm  *kadm.Client
}

// Connect makes the client; the broker is contacted at the first use. addr may
// name several brokers, with commas between.
func Connect(addr string) (*Cluster, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(addr, ",")...),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return &Cluster{addr, cl, kadm.NewClient(cl)}, nil
}

// Close lets go of the connections.
func (c *Cluster) Close() { c.cl.Close() }

// defaultReplicas leaves the replication of a topic to the brokers.
const defaultReplicas = -1

// CreateTopic makes a topic that keeps its records whatever their time, since
// the events lie in 2014; one that exists is left as it is.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int, cleanup string) error {
	forever := "-1"
	configs := map[string]*string{"cleanup.policy": &cleanup, "retention.ms": &forever}
	_, err := c.adm.CreateTopic(ctx, int32(partitions), defaultReplicas, configs, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return c.awaitTopic(ctx, name, partitions)
}

// awaitTopic returns when the broker answers for every partition: it has been
// told to create the topic before it knows it itself.
func (c *Cluster) awaitTopic(ctx context.Context, name string, partitions int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ends, err := c.Ends(ctx, name)
		if err == nil && len(ends) >= partitions {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("await topic %s: %w (%v)", name, ctx.Err(), err)
		}
	}
}

// DeleteTopics removes topics.
func (c *Cluster) DeleteTopics(ctx context.Context, names ...string) error {
	res, err := c.adm.DeleteTopics(ctx, names...)
	if err == nil {
		err = res.Error()
	}
	if err != nil {
		return fmt.Errorf("delete topics %v: %w", names, err)
	}
	return nil
}

// Produce sends what next gives until it says that there is no more, and
// waits for all acknowledgements. It returns how many records were sent. Keys
// go to partitions as Kafka's default partitioner puts them.
func (c *Cluster) Produce(ctx context.Context, topic string, next func() (Message, bool)) (int, error) {
	return c.ProduceCounted(ctx, topic, next, func(int32) {})
}

// ProduceCounted is Produce; acked is told of every record, as it is acknowledged, to
// which partition it went.
func (c *Cluster) ProduceCounted(ctx context.Context, topic string, next func() (Message, bool), acked func(partition int32)) (int, error) {
	var failed error
	n := 0
	for m, ok := next(); ok; m, ok = next() {
		c.cl.Produce(ctx, &kgo.Record{Topic: topic, Key: m.Key, Value: m.Value, Timestamp: time.UnixMilli(m.Time)},
			func(r *kgo.Record, err error) { // all promises run on one goroutine
				switch {
				case err == nil:
					acked(r.Partition)
				case failed == nil:
					failed = err
				}
			})
		n++
	}
	if err := c.cl.Flush(ctx); err != nil {
		return n, fmt.Errorf("produce to %s: %w", topic, err)
	}
	if failed != nil {
		return n, fmt.Errorf("produce to %s: %w", topic, failed)
	}
	return n, nil
}

// ProduceAll sends messages and waits for the acknowledgements.
func (c *Cluster) ProduceAll(ctx context.Context, topic string, messages []Message) error {
	_, err := c.Produce(ctx, topic, eachOf(messages))
	return err
}

func eachOf(messages []Message) func() (Message, bool) {
	i := 0
	return func() (Message, bool) {
		i++
		if i > len(messages) {
			return Message{}, false
		}
		return messages[i-1], true
	}
}

// Ends gives the last stable offset of every partition of a topic.
func (c *Cluster) Ends(ctx context.Context, topic string) (map[int32]int64, error) {
	listed, err := c.adm.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list ends of %s: %w", topic, err)
	}
	ends := make(map[int32]int64)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

// Read gives visit every committed record of a topic up to its end, each
// partition in order. It waits for the end of transactions that are open: a
// process may have committed, and ended, before the broker has written the
// markers. The message's slices are visit's to keep.
func (c *Cluster) Read(ctx context.Context, topic string, visit func(Message)) error {
	listed, err := c.adm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return fmt.Errorf("list ends of %s: %w", topic, err)
	}
	ends := make(map[int32]int64)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	from := make(map[int32]kgo.Offset)
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().AtStart()
		} else {
			delete(ends, p)
		}
	}
	if len(from) == 0 {
		return nil
	}
	// Control records are kept to see the end of a partition that ends in one.
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Addr, ",")...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	defer cl.Close()
	for len(ends) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= ends[r.Partition] {
				return
			}
			if r.Offset == ends[r.Partition]-1 {
				delete(ends, r.Partition)
			}
			if !r.Attrs.IsControl() {
				visit(Message{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Time: r.Timestamp.UnixMilli()})
			}
		})
	}
	return nil
}

// EndsOfRecords gives the offset behind the last committed record of every
// partition that has one. It waits for the end of open transactions, as Read does.
func (c *Cluster) EndsOfRecords(ctx context.Context, topic string) (map[int32]int64, error) {
	ends := make(map[int32]int64)
	err := c.Read(ctx, topic, func(m Message) { ends[m.Partition] = m.Offset + 1 })
	return ends, err
}

// AwaitRecord returns when a topic has its first committed record; the topic
// must exist.
func (c *Cluster) AwaitRecord(ctx context.Context, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Addr, ",")...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeTopics(topic), kgo.FetchMaxBytes(1<<16), kgo.FetchMaxPartitionBytes(1<<12),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return fmt.Errorf("await record in %s: %w", topic, err)
	}
	defer cl.Close()
	for {
		fetches := cl.PollRecords(ctx, 1)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("await record in %s: %w", topic, err)
		}
		if fetches.NumRecords() > 0 {
			return nil
		}
	}
}
