package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/testkit"
)

// Topics of the measurements.
const (
	viewsTopic    = "page-views"
	profilesTopic = "profile-edits"
	copyTopic     = "page-views-copy"
)

// cluster is a broker under measurement and a client for its care.
type cluster struct {
	addr string
	cl   *kgo.Client
	adm  *kadm.Client
}

func connect(addr string) (*cluster, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return &cluster{addr, cl, kadm.NewClient(cl)}, nil
}

func (c *cluster) close() { c.cl.Close() }

// createTopic makes a topic that keeps everything: the events' time lies in 2014.
func (c *cluster) createTopic(ctx context.Context, name string, partitions int, cleanup string) error {
	forever := "-1"
	configs := map[string]*string{"cleanup.policy": &cleanup, "retention.ms": &forever}
	_, err := c.adm.CreateTopic(ctx, int32(partitions), 1, configs, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return nil
}

// load fills the topics of views and profiles and returns the size of a view.
func (c *cluster) load(ctx context.Context, o options) (viewBytes int, err error) {
	if err := c.createTopic(ctx, viewsTopic, o.partitions, "delete"); err != nil {
		return 0, err
	}
	if err := c.createTopic(ctx, profilesTopic, o.partitions, "compact"); err != nil {
		return 0, err
	}
	data := testkit.NewData(testkit.DataConfig{Seed: 1, Profiles: o.profiles})
	var failed error
	send := func(topic string, m testkit.Message) {
		c.cl.Produce(ctx, &kgo.Record{Topic: topic, Key: m.Key, Value: m.Value, Timestamp: time.UnixMilli(m.Time)},
			func(_ *kgo.Record, err error) { // all promises run on one goroutine
				if err != nil && failed == nil {
					failed = err
				}
			})
	}
	for member := 1; member <= o.profiles; member++ {
		send(profilesTopic, data.Profile(member, 0))
	}
	total := 0
	for range o.views {
		m := data.View()
		total += len(m.Value)
		send(viewsTopic, m)
	}
	if err := c.cl.Flush(ctx); err != nil {
		return 0, fmt.Errorf("load: %w", err)
	}
	if failed != nil {
		return 0, fmt.Errorf("load: %w", failed)
	}
	return total / o.views, nil
}

// count reads a topic to its end as committed, and returns the number of its
// records and of those whose value contains needle.
func (c *cluster) count(ctx context.Context, topic, needle string) (records, matching int64, err error) {
	ends, err := c.adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0, 0, fmt.Errorf("list ends of %s: %w", topic, err)
	}
	left := make(map[int32]int64)
	from := make(map[int32]kgo.Offset)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
			from[o.Partition] = kgo.NewOffset().AtStart()
		}
	})
	if len(left) == 0 {
		return 0, 0, nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return 0, 0, err
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				if r.Offset+1 >= left[p.Partition] {
					delete(left, p.Partition)
				}
				if r.Attrs.IsControl() {
					continue
				}
				records++
				if needle != "" && strings.Contains(string(r.Value), needle) {
					matching++
				}
			}
		})
	}
	return records, matching, nil
}

// firstRecord waits for the first committed record of a topic that exists and
// calls seen when it has come; ctx ends the watch.
func (c *cluster) firstRecord(ctx context.Context, topic string, seen func()) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeTopics(topic), kgo.FetchMaxBytes(1<<16), kgo.FetchMaxPartitionBytes(1<<12),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		if cl.PollRecords(ctx, 1).NumRecords() > 0 {
			seen()
			return nil
		}
	}
	return nil
}
