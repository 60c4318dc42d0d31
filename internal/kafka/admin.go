package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// Admin is the control plane: what the engine asks for, and what resetting
// offsets needs (reset.go). Failures that may pass are retried until the
// context ends, or for the settings' retry timeout.
type Admin struct{ c *cluster }

var _ engine.Admin = (*Admin)(nil)

// atController sends a request to the controller.
func atController[Req, Resp any](ctx context.Context, c *cluster, do func(*sarama.Broker, Req) (Resp, error), req func() Req) (Resp, error) {
	addr, ok := c.controllerAddr()
	if !ok {
		if _, err := c.metadata(ctx, nil); err != nil {
			var none Resp
			return none, err
		}
		if addr, ok = c.controllerAddr(); !ok {
			return anyone(ctx, c, do, req)
		}
	}
	return callAt(ctx, c.links, addr, do, req())
}

// Ends implements engine.Admin.
func (a *Admin) Ends(ctx context.Context, tps []record.TopicPartition, iso engine.Isolation) (map[record.TopicPartition]int64, error) {
	return a.offsets(ctx, "read end offsets", tps, iso, func(record.TopicPartition) int64 { return sarama.OffsetNewest })
}

// Starts implements engine.Admin.
func (a *Admin) Starts(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	return a.offsets(ctx, "read first offsets", tps, engine.ReadUncommitted, func(record.TopicPartition) int64 { return sarama.OffsetOldest })
}

// offsets asks leaders for offsets by timestamp (or -1 and -2 for end and
// start). A partition in which nothing is that young gives -1.
func (a *Admin) offsets(ctx context.Context, what string, tps []record.TopicPartition, iso engine.Isolation, at func(record.TopicPartition) int64) (map[record.TopicPartition]int64, error) {
	out := make(map[record.TopicPartition]int64, len(tps))
	err := a.perLeader(ctx, what, tps, func(ctx context.Context, addr string, tps []record.TopicPartition) (map[record.TopicPartition]error, error) {
		req := &sarama.OffsetRequest{Version: 6}
		if iso == engine.ReadCommitted {
			req.IsolationLevel = sarama.ReadCommitted
		}
		for _, tp := range tps {
			req.AddBlock(tp.Topic, tp.Partition, at(tp), 1)
		}
		resp, err := callAt(ctx, a.c.links, addr, (*sarama.Broker).GetAvailableOffsets, req)
		if err != nil {
			return nil, err
		}
		errs := make(map[record.TopicPartition]error)
		for _, tp := range tps {
			block := resp.GetBlock(tp.Topic, tp.Partition)
			switch {
			case block == nil:
				errs[tp] = sarama.ErrUnknownTopicOrPartition
			case block.Err != sarama.ErrNoError:
				errs[tp] = block.Err
			default:
				out[tp] = block.Offset
			}
		}
		return errs, nil
	})
	return out, err
}

// perLeader sends requests grouped by leader, again for those partitions whose
// leader has moved or is not there yet. do returns the errors by partition.
func (a *Admin) perLeader(ctx context.Context, what string, tps []record.TopicPartition,
	do func(ctx context.Context, addr string, tps []record.TopicPartition) (map[record.TopicPartition]error, error),
) error {
	left := slices.Clone(tps)
	began := time.Now()
	operation := "Describe"
	if what == deletingRecords {
		operation = "Delete"
	}
	return a.c.retry(ctx, what, func(ctx context.Context) error {
		groups, err := a.byLeader(ctx, left)
		if err != nil {
			if errors.Is(err, sarama.ErrUnknownTopicOrPartition) && time.Since(began) > unknownTopicLimit {
				return fmt.Errorf("%v (for %s)", err, unknownTopicLimit) // not retriable any more
			}
			return err
		}
		var again []record.TopicPartition
		var last error
		for addr, group := range groups {
			errs, err := do(ctx, addr, group)
			for _, tp := range group {
				if e := cmpErr(err, errs[tp]); e != nil {
					last = fmt.Errorf("%s/%d: %w", tp.Topic, tp.Partition, permission(e, subject{operation: operation, topic: tp.Topic}))
					if !retriable(e) {
						return last
					}
					a.c.forget(tp)
					again = append(again, tp)
				}
			}
		}
		left = again
		return last
	})
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// byLeader groups partitions by the address of their leader.
func (a *Admin) byLeader(ctx context.Context, tps []record.TopicPartition) (map[string][]record.TopicPartition, error) {
	var ask []string
	for _, tp := range tps {
		if _, ok := a.c.cached(tp); !ok && !slices.Contains(ask, tp.Topic) {
			ask = append(ask, tp.Topic)
		}
	}
	if len(ask) > 0 {
		resp, err := a.c.metadata(ctx, ask)
		if err != nil {
			return nil, err
		}
		for _, t := range resp.Topics {
			if t.Err != sarama.ErrNoError {
				return nil, fmt.Errorf("topic %s: %w", t.Name, permission(t.Err, subject{operation: "Describe", topic: t.Name}))
			}
		}
	}
	groups := make(map[string][]record.TopicPartition)
	for _, tp := range tps {
		l, ok := a.c.cached(tp)
		if !ok {
			return nil, fmt.Errorf("%s/%d: %w", tp.Topic, tp.Partition, sarama.ErrLeaderNotAvailable)
		}
		groups[l.addr] = append(groups[l.addr], tp)
	}
	return groups, nil
}

// Committed implements engine.Admin.
func (a *Admin) Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	with, err := a.CommittedWith(ctx, tps)
	return offsetsOf(with), err
}

// CommittedWith implements engine.Admin.
func (a *Admin) CommittedWith(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]engine.LastCommit, error) {
	if len(tps) == 0 {
		return map[record.TopicPartition]engine.LastCommit{}, nil
	}
	return a.readOffsets(ctx, byTopic(tps), true)
}

// offsetsOf leaves out what was committed beside the offsets.
func offsetsOf(with map[record.TopicPartition]engine.LastCommit) map[record.TopicPartition]int64 {
	out := make(map[record.TopicPartition]int64, len(with))
	for tp, c := range with {
		out[tp] = c.Offset
	}
	return out
}

// byTopic groups partitions as requests want them.
func byTopic(tps []record.TopicPartition) map[string][]int32 {
	out := make(map[string][]int32)
	for _, tp := range tps {
		out[tp.Topic] = append(out[tp.Topic], tp.Partition)
	}
	return out
}

// readOffsets reads the group's offsets; nil = of all partitions. Stable ones are
// waited for where a transaction is open that has offsets in it.
func (a *Admin) readOffsets(ctx context.Context, topics map[string][]int32, stable bool) (map[record.TopicPartition]engine.LastCommit, error) {
	group := a.c.set.Group
	if group == "" {
		return nil, errors.New("read committed offsets: no group is set")
	}
	out := make(map[record.TopicPartition]engine.LastCommit)
	err := a.c.retryOn(ctx, "read committed offsets of group "+group, sarama.CoordinatorGroup, group, func(ctx context.Context, l *link) error {
		req := sarama.NewOffsetFetchRequest(protocolVersion, group, topics)
		req.RequireStable = stable
		resp, err := call(ctx, l, (*sarama.Broker).FetchOffset, req)
		if err != nil {
			return err
		}
		clear(out)
		switch code := resp.GroupError(); code {
		case sarama.ErrNoError:
		case sarama.ErrGroupIDNotFound: // brokers differ in how they say "none"
			return nil
		default:
			return permission(code, subject{group: group})
		}
		blocks := resp.Blocks
		if g := resp.GetGroup(group); g != nil {
			blocks = g.Blocks
		}
		for topic, parts := range blocks {
			for partition, block := range parts {
				if block.Err != sarama.ErrNoError {
					return fmt.Errorf("%s/%d: %w", topic, partition, permission(block.Err, subject{operation: "Describe", topic: topic, group: group}))
				}
				if block.Offset >= 0 {
					out[record.TopicPartition{Topic: topic, Partition: partition}] = lastCommit(block)
				}
			}
		}
		return nil
	})
	return out, err
}

// deletingRecords is what Purge does.
const deletingRecords = "delete records"

// Purge implements engine.Admin.
func (a *Admin) Purge(ctx context.Context, below map[record.TopicPartition]int64) error {
	tps := make([]record.TopicPartition, 0, len(below))
	for tp := range below {
		tps = append(tps, tp)
	}
	return a.perLeader(ctx, deletingRecords, tps, func(ctx context.Context, addr string, tps []record.TopicPartition) (map[record.TopicPartition]error, error) {
		req := &sarama.DeleteRecordsRequest{Version: 2, Topics: make(map[string]*sarama.DeleteRecordsRequestTopic), Timeout: a.c.set.RequestTimeout}
		for _, tp := range tps {
			if req.Topics[tp.Topic] == nil {
				req.Topics[tp.Topic] = &sarama.DeleteRecordsRequestTopic{PartitionOffsets: make(map[int32]int64)}
			}
			req.Topics[tp.Topic].PartitionOffsets[tp.Partition] = below[tp]
		}
		resp, err := callAt(ctx, a.c.links, addr, (*sarama.Broker).DeleteRecords, req)
		if err != nil {
			return nil, err
		}
		errs := make(map[record.TopicPartition]error)
		for topic, t := range resp.Topics {
			for partition, p := range t.Partitions {
				if p.Err != sarama.ErrNoError {
					errs[record.TopicPartition{Topic: topic, Partition: partition}] = p.Err
				}
			}
		}
		return errs, nil
	})
}
