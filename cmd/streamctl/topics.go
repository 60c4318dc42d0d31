package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"streamctl/internal/engine"
	"streamctl/operators"
)

// makeTopics makes the pipeline's outer topics that the embedded broker does
// not have yet: nobody else would. On a cluster a missing topic is a mistake
// to be told, and the engine tells it.
func makeTopics(ctx context.Context, admin engine.Admin, top *operators.Topology, log *slog.Logger) error {
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
				configs["cleanup.policy"] = "compact" // the table is restored from it
			}
			if err := ensure(in.Topic, newTopicPartitions, configs); err != nil {
				return err
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
