package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
// told, and the engine tells them. What it would refuse over the topics as they
// are going to be is refused before anything is made or changed.
func makeTopics(ctx context.Context, s session, top *operators.Topology, log *slog.Logger) error {
	var names []string
	for _, sub := range top.Subs {
		for _, in := range sub.Inputs {
			names = append(names, in.Topic)
		}
		for _, out := range sub.Outputs {
			names = append(names, out.Topic)
		}
	}
	for _, topic := range top.Internal {
		names = append(names, topic.Name)
	}
	found, err := s.Admin().Topics(ctx, names)
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	plan := planOuterTopics(top, found)
	if err := engine.CheckTopics(top, plan.found); err != nil {
		return err
	}
	for _, topic := range plan.missing {
		// That it exists by now is the doing of a process that started at the same time.
		if err := s.Admin().CreateTopic(ctx, topic.Name, topic.Partitions, topic.Configs); err != nil && !errors.Is(err, engine.ErrTopicExists) {
			return fmt.Errorf("create topic %s on the embedded broker: %w", topic.Name, err)
		}
		log.Info("topic created on the embedded broker", "topic", topic.Name, "partitions", topic.Partitions)
	}
	for _, topic := range plan.compact {
		if err := s.SetTopicConfig(ctx, topic.Name, cleanupPolicy, compacted); err != nil {
			return fmt.Errorf("set %s of topic %s on the embedded broker: %w", cleanupPolicy, topic.Name, err)
		}
		log.Info("topic keeps the last record of every key from now on: a table is restored from it",
			"topic", topic.Name, cleanupPolicy, compacted, "before", topic.Configs[cleanupPolicy])
	}
	return nil
}

// outerTopics is what makeTopics has to do.
type outerTopics struct {
	found   map[string]engine.TopicInfo // the topics as they are going to be
	missing []engine.TopicInfo          // to be made
	compact []engine.TopicInfo          // to be compacted from now on, as they were
	widest  int32                       // most partitions of any topic so far
}

// planOuterTopics says what to do so that the outer topics of a topology are there.
// found, the topics that there are, becomes what there is going to be.
func planOuterTopics(top *operators.Topology, found map[string]engine.TopicInfo) *outerTopics {
	plan := &outerTopics{found: found}
	for _, sub := range top.Subs {
		for _, in := range sub.Inputs {
			if in.Internal {
				continue
			}
			configs := map[string]string{}
			if in.Table != "" {
				configs[cleanupPolicy] = compacted // the table is restored from it
			}
			plan.ensure(in.Topic, newTopicPartitions, configs)
			info := found[in.Topic]
			if policy := info.Configs[cleanupPolicy]; in.Table != "" && policy != "" && !strings.Contains(policy, compacted) {
				plan.compact = append(plan.compact, info)
				info.Configs = maps.Clone(info.Configs)
				info.Configs[cleanupPolicy] = compacted
				found[in.Topic] = info
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
				partitions = plan.widest
			}
			plan.ensure(out.Topic, partitions, nil)
		}
	}
	return plan
}

// ensure notes a topic that has to be there.
func (p *outerTopics) ensure(topic string, partitions int32, configs map[string]string) {
	info, there := p.found[topic]
	if !there {
		info = engine.TopicInfo{Name: topic, Partitions: partitions, Configs: configs}
		p.found[topic] = info
		p.missing = append(p.missing, info)
	}
	p.widest = max(p.widest, info.Partitions)
}
