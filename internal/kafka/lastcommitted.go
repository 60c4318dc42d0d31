package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// LastCommitted implements engine.Admin. The committer is the metadata that
// our producers write beside every offset they commit.
func (a *Admin) LastCommitted(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]engine.LastCommit, error) {
	out := make(map[record.TopicPartition]engine.LastCommit)
	group := a.c.set.Group
	if group == "" {
		return nil, errors.New("read last commits: no group is set")
	}
	if len(tps) == 0 {
		return out, nil
	}
	topics := byTopic(tps)
	err := a.c.retryOn(ctx, "read last commits of group "+group, sarama.CoordinatorGroup, group, func(ctx context.Context, l *link) error {
		resp, err := call(ctx, l, (*sarama.Broker).FetchOffset, sarama.NewOffsetFetchRequest(protocolVersion, group, topics))
		if err != nil {
			return err
		}
		clear(out)
		switch code := resp.GroupError(); code {
		case sarama.ErrNoError:
		case sarama.ErrGroupIDNotFound: // brokers differ in how they say "none"
			return nil
		default:
			return code
		}
		blocks := resp.Blocks
		if g := resp.GetGroup(group); g != nil {
			blocks = g.Blocks
		}
		for topic, parts := range blocks {
			for partition, block := range parts {
				if block.Err != sarama.ErrNoError {
					return fmt.Errorf("%s/%d: %w", topic, partition, block.Err)
				}
				if block.Offset >= 0 {
					out[record.TopicPartition{Topic: topic, Partition: partition}] = engine.LastCommit{Offset: block.Offset, By: block.Metadata}
				}
			}
		}
		return nil
	})
	return out, err
}
