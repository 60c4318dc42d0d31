package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/kafka"
	"streamctl/internal/record"
	"streamctl/internal/reset"
	"streamctl/pipeline"
)

// session is what commands need of a Kafka cluster: the engine's ports, and
// what a rewind of a group needs.
type session interface {
	engine.Transport
	Rewind() reset.Cluster
	// SetTopicConfig changes one setting of a topic.
	SetTopicConfig(ctx context.Context, topic, key, value string) error
	// Ping returns nil when the cluster answers now.
	Ping(ctx context.Context) error
}

// connect opens a session.
func connect(ctx context.Context, from pipeline.KafkaSettings, opts kafkaOptions, log *slog.Logger) (session, error) {
	set := kafka.Settings{
		Brokers: from.Brokers, ClientID: from.ClientID, Group: opts.group, Instance: opts.instance,
		Crash: opts.crash, Logger: log,
		SessionTimeout: from.Timeouts.Session, RebalanceTimeout: from.Timeouts.Rebalance, RequestTimeout: from.Timeouts.Request,
		RetryTimeout: from.Timeouts.Retry, TransactionTimeout: from.Timeouts.Transaction, CommitInterval: opts.commitInterval,
	}
	if t := from.TLS; t != nil {
		set.TLS = kafka.TLSSettings{
			Enabled: true, CAFile: t.CA, CertFile: t.Cert, KeyFile: t.Key,
			ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify,
		}
	}
	if s := from.SASL; s != nil {
		set.SASL = kafka.SASLSettings{
			Mechanism: s.Mechanism, User: s.Username.Reveal(),
			Password: kafka.Secret(s.Password.Reveal()), Token: kafka.Secret(s.Token.Reveal()),
		}
	}
	t, err := kafka.Open(ctx, set)
	if err != nil {
		return nil, err
	}
	return kafkaSession{t}, nil
}

type kafkaSession struct{ *kafka.Transport }

// Rewind gives the control plane of the session's group.
func (s kafkaSession) Rewind() reset.Cluster { return rewindCluster{s.Control()} }

// SetTopicConfig implements session.
func (s kafkaSession) SetTopicConfig(ctx context.Context, topic, key, value string) error {
	return s.Control().SetTopicConfig(ctx, topic, key, value)
}

// rewindCluster fits the Kafka control plane to what a rewind asks for.
type rewindCluster struct{ admin *kafka.Admin }

// deletePoll is how often it is looked whether a deleted topic is gone.
const deletePoll = 50 * time.Millisecond

func (c rewindCluster) Members(ctx context.Context) ([]string, error) {
	g, err := c.admin.Group(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range g.Members {
		names = append(names, fmt.Sprintf("%s of %s", m.ID, m.Host))
	}
	return names, nil
}

func (c rewindCluster) Partitions(ctx context.Context, topics []string) (map[string]int32, error) {
	found, err := c.admin.Topics(ctx, topics)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int32)
	for name, info := range found {
		counts[name] = info.Partitions
	}
	return counts, nil
}

func (c rewindCluster) Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	return c.admin.Committed(ctx, tps)
}

func (c rewindCluster) Starts(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	return c.admin.Starts(ctx, tps)
}

func (c rewindCluster) Ends(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	return c.admin.Ends(ctx, tps, engine.ReadUncommitted)
}

func (c rewindCluster) At(ctx context.Context, tps []record.TopicPartition, ms int64) (map[record.TopicPartition]int64, error) {
	times := make(map[record.TopicPartition]int64, len(tps))
	for _, tp := range tps {
		times[tp] = ms
	}
	found, err := c.admin.OffsetsAt(ctx, times)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(found, func(_ record.TopicPartition, offset int64) bool { return offset < 0 })
	return found, nil
}

func (c rewindCluster) SetCommitted(ctx context.Context, offsets map[record.TopicPartition]int64) error {
	return c.admin.SetGroupOffsets(ctx, offsets)
}

func (c rewindCluster) DeleteCommitted(ctx context.Context, tps []record.TopicPartition) error {
	return c.admin.DeleteGroupOffsets(ctx, tps)
}

func (c rewindCluster) Purge(ctx context.Context, below map[record.TopicPartition]int64) error {
	return c.admin.Purge(ctx, below)
}

// DeleteTopics deletes and waits: a broker answers before a topic is gone.
func (c rewindCluster) DeleteTopics(ctx context.Context, topics []string) error {
	if err := c.admin.DeleteTopics(ctx, topics); err != nil {
		return err
	}
	for {
		found, err := c.admin.Topics(ctx, topics)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %v to be gone: %w", slices.Sorted(maps.Keys(found)), ctx.Err())
		case <-time.After(deletePoll):
		}
	}
}
