package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// Topics: what there is, making them, and changing their settings.

// topicConfigs are the settings that anybody here wants to know.
var topicConfigs = []string{"cleanup.policy", "retention.ms", "max.message.bytes", "message.timestamp.type", "delete.retention.ms", "min.insync.replicas"}

// Topics implements engine.Admin.
func (a *Admin) Topics(ctx context.Context, names []string) (map[string]engine.TopicInfo, error) {
	out := make(map[string]engine.TopicInfo)
	if len(names) == 0 {
		return out, nil
	}
	err := a.c.retry(ctx, "describe topics", func(ctx context.Context) error {
		resp, err := a.c.metadata(ctx, names)
		if err != nil {
			return err
		}
		clear(out)
		for _, t := range resp.Topics {
			switch t.Err {
			case sarama.ErrNoError:
				out[t.Name] = engine.TopicInfo{Name: t.Name, ID: topicID(t), Partitions: int32(len(t.Partitions)), Configs: make(map[string]string)}
			case sarama.ErrUnknownTopicOrPartition:
			default:
				return fmt.Errorf("topic %s: %w", t.Name, permission(t.Err, subject{operation: "Describe", topic: t.Name}))
			}
		}
		return a.addConfigs(ctx, out)
	})
	return out, err
}

// topicID is the id that a broker gives a topic, "" from those that give none.
func topicID(t *sarama.TopicMetadata) string {
	if t.Uuid == (sarama.Uuid{}) {
		return ""
	}
	return t.Uuid.String()
}

// addConfigs fills in the settings of topics. Who may read a topic but not its
// settings is not refused: the settings are then not known.
func (a *Admin) addConfigs(ctx context.Context, topics map[string]engine.TopicInfo) error {
	if len(topics) == 0 {
		return nil
	}
	resp, err := anyone(ctx, a.c, (*sarama.Broker).DescribeConfigs, func() *sarama.DescribeConfigsRequest {
		req := &sarama.DescribeConfigsRequest{Version: 4}
		for name := range topics {
			req.Resources = append(req.Resources, &sarama.ConfigResource{Type: sarama.TopicResource, Name: name, ConfigNames: topicConfigs})
		}
		return req
	})
	if err != nil {
		return fmt.Errorf("ask for settings of topics: %w", err)
	}
	for _, r := range resp.Resources {
		code := sarama.KError(r.ErrorCode)
		if code != sarama.ErrNoError {
			if retriable(code) {
				return fmt.Errorf("settings of topic %s: %w", r.Name, code)
			}
			continue
		}
		for _, entry := range r.Configs {
			topics[r.Name].Configs[entry.Name] = entry.Value
		}
	}
	return nil
}

// TopicNames lists all topics there are, without Kafka's internal ones.
func (a *Admin) TopicNames(ctx context.Context) ([]string, error) {
	var names []string
	err := a.c.retry(ctx, "list topics", func(ctx context.Context) error {
		resp, err := a.c.describe(ctx, nil)
		if err != nil {
			return err
		}
		names = names[:0]
		for _, t := range resp.Topics {
			if !t.IsInternal {
				names = append(names, t.Name)
			}
		}
		slices.Sort(names)
		return nil
	})
	return names, err
}

// CreateTopic implements engine.Admin: with the cluster's default replication,
// returning when the topic has leaders. A topic that exists already is an
// error that wraps engine.ErrTopicExists.
func (a *Admin) CreateTopic(ctx context.Context, name string, partitions int32, configs map[string]string) error {
	what := "create topic " + name
	asked := false
	err := a.c.retry(ctx, what, func(ctx context.Context) error {
		resp, err := atController(ctx, a.c, (*sarama.Broker).CreateTopics, func() *sarama.CreateTopicsRequest {
			detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: -1, ConfigEntries: make(map[string]*string)}
			for k, v := range configs {
				detail.ConfigEntries[k] = &v
			}
			return sarama.NewCreateTopicsRequest(protocolVersion, map[string]*sarama.TopicDetail{name: detail}, a.c.set.RequestTimeout, false)
		})
		if err != nil {
			asked = true // it may have been created
			return err
		}
		if e := resp.TopicErrors[name]; e != nil && e.Err != sarama.ErrNoError {
			if e.Err == sarama.ErrTopicAlreadyExists {
				if asked {
					return nil
				}
				return engine.ErrTopicExists
			}
			if e.Err == sarama.ErrNotController {
				_, _ = a.c.metadata(ctx, nil)
			}
			return permission(e, subject{operation: "Create", topic: name})
		}
		return nil
	})
	if errors.Is(err, engine.ErrTopicExists) {
		// Somebody else may have created it just now, with whatever partitions.
		return errors.Join(err, a.awaitLeaders(ctx, name, 1))
	}
	if err != nil {
		return err
	}
	return a.awaitLeaders(ctx, name, partitions)
}

// awaitLeaders waits until metadata shows the topic with all its leaders.
func (a *Admin) awaitLeaders(ctx context.Context, name string, partitions int32) error {
	return a.c.retry(ctx, "await leaders of topic "+name, func(ctx context.Context) error {
		resp, err := a.c.metadata(ctx, []string{name})
		if err != nil {
			return err
		}
		for _, t := range resp.Topics {
			if t.Err != sarama.ErrNoError {
				return t.Err
			}
		}
		for p := range partitions {
			if _, ok := a.c.cached(record.TopicPartition{Topic: name, Partition: p}); !ok {
				return sarama.ErrLeaderNotAvailable
			}
		}
		return nil
	})
}

// SetTopicConfig changes one setting of a topic, and leaves the others.
func (a *Admin) SetTopicConfig(ctx context.Context, topic, key, value string) error {
	return a.c.retry(ctx, "configure topic "+topic, func(ctx context.Context) error {
		resp, err := atController(ctx, a.c, (*sarama.Broker).IncrementalAlterConfigs, func() *sarama.IncrementalAlterConfigsRequest {
			return &sarama.IncrementalAlterConfigsRequest{Resources: []*sarama.IncrementalAlterConfigsResource{{
				Type: sarama.TopicResource, Name: topic,
				ConfigEntries: map[string]sarama.IncrementalAlterConfigsEntry{key: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}},
			}}}
		})
		if err != nil {
			return err
		}
		for _, r := range resp.Resources {
			if code := sarama.KError(r.ErrorCode); code != sarama.ErrNoError {
				return permission(code, subject{operation: "AlterConfigs", topic: topic})
			}
		}
		return nil
	})
}
