package kafka

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"

	"streamctl/internal/record"
)

// DeleteGroupOffsets forgets committed offsets of the settings' group, from
// outside. A group or an offset that is not there is no error; while the group
// has members, nothing changes and it is ErrGroupActive.
func (a *Admin) DeleteGroupOffsets(ctx context.Context, tps []record.TopicPartition) error {
	if len(tps) == 0 {
		return nil
	}
	group := a.c.set.Group
	return a.c.retryOn(ctx, "delete offsets of group "+group, sarama.CoordinatorGroup, group, func(ctx context.Context, l *link) error {
		req := &sarama.DeleteOffsetsRequest{Group: group}
		for _, tp := range tps {
			req.AddPartition(tp.Topic, tp.Partition)
		}
		resp, err := call(ctx, l, (*sarama.Broker).DeleteOffsets, req)
		if err != nil {
			return err
		}
		if resp.ErrorCode == sarama.ErrGroupIDNotFound {
			return nil
		}
		if resp.ErrorCode != sarama.ErrNoError {
			return groupActive(resp.ErrorCode)
		}
		for topic, parts := range resp.Errors {
			for part, code := range parts {
				if code == sarama.ErrNoError || code == sarama.ErrUnknownTopicOrPartition {
					continue
				}
				return fmt.Errorf("%s/%d: %w", topic, part, groupActive(code))
			}
		}
		return nil
	})
}
