package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"streamctl/internal/engine"
	"streamctl/operators"
)

const (
	cleanupPolicy = "cleanup.policy"
	compacted     = "compact"
)

// makeTopics makes the pipeline's outer topics that the embedded broker does
// not have yet, and lets it keep the rows of tables that were written before somebody
// said that they are ones: nobody else would. On a cluster both are mistakes to be
// told, and the engine tells them.
func makeTopics(ctx context.Context, s session, top *operators.Topology, log *slog.Logger) error {
	admin := s.Admin()
	var names []string
	for _, sub := range top.Subs {
		for _, in := range sub.Inputs {
			names = append(names, in.Topic)
		}
		for _, out := range sub.Outputs {
			names = append(names, out.Topic)
		}
	}
	found, err := admin.Topics(ctx, names)
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	widest := int32(0)
	ensure := func(topic string, partitions int32, configs map[string]string) error {
		if info, there := found[topic]; there {
			widest = max(widest, info.Partitions)
			return nil
		}
		// That it exists by now is the doing of a process that started at the same time.
		if err := admin.CreateTopic(ctx, topic, partitions, configs); err != nil && !errors.Is(err, engine.ErrTopicExists) {
			return fmt.Errorf("create topic %s on the embedded broker: %w", topic, err)
		}
		found[topic] = engine.TopicInfo{Name: topic, Partitions: partitions}
		widest = max(widest, partitions)
		log.Info("topic created on the embedded broker", "topic", topic, "partitions", partitions)
		return nil
	}
	for _, sub := range top.Subs {
		for _, in := range sub.Inputs {
			if in.Internal {
				continue
			}
			configs := map[string]string{}
			if in.Table != "" {
				configs[cleanupPolicy] = compacted // the table is restored from it
			}
			if err := ensure(in.Topic, newTopicPartitions, configs); err != nil {
				return err
			}
			if policy := found[in.Topic].Configs[cleanupPolicy]; in.Table != "" && policy != "" && !strings.Contains(policy, compacted) {
				if err := s.SetTopicConfig(ctx, in.Topic, cleanupPolicy, compacted); err != nil {
					return fmt.Errorf("set %s of topic %s on the embedded broker: %w", cleanupPolicy, in.Topic, err)
				}
				log.Info("topic keeps the last record of every key from now on: a table is restored from it",
					"topic", in.Topic, cleanupPolicy, compacted, "before", policy)
			}
		}
	}
	for _, sub := range top.Subs {
		for _, out := range sub.Outputs {
			if out.Internal {
				continue
			}
			partitions := out.Partitions
			if partitions == 0 {
				partitions = widest
			}
			if err := ensure(out.Topic, partitions, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
