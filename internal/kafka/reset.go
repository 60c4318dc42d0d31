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

// ErrGroupActive means that a group has members: its offsets are theirs.
var ErrGroupActive = errors.New("the group has active members")

// GroupState is what the coordinator knows of a group.
type GroupState struct {
	State   string // Dead (there is no such group), Empty, Stable, PreparingRebalance, CompletingRebalance
	Members []GroupMember
}

// Active says whether the group has members.
func (g GroupState) Active() bool { return len(g.Members) > 0 }

// GroupMember is one member of a group.
type GroupMember struct {
	ID       string
	Instance string
	ClientID string
	Host     string
}

// Group describes the settings' group.
func (a *Admin) Group(ctx context.Context) (GroupState, error) {
	group := a.c.set.Group
	var out GroupState
	err := a.c.retryOn(ctx, "describe group "+group, sarama.CoordinatorGroup, group, func(ctx context.Context, l *link) error {
		resp, err := call(ctx, l, (*sarama.Broker).DescribeGroups, &sarama.DescribeGroupsRequest{Version: 5, Groups: []string{group}})
		if err != nil {
			return err
		}
		if len(resp.Groups) != 1 {
			return fmt.Errorf("%d groups in the answer", len(resp.Groups))
		}
		g := resp.Groups[0]
		if g.Err == sarama.ErrGroupIDNotFound {
			out = GroupState{State: "Dead"}
			return nil
		}
		if g.Err != sarama.ErrNoError {
			return g.Err
		}
		out = GroupState{State: g.State}
		for _, m := range g.Members {
			member := GroupMember{ID: m.MemberId, ClientID: m.ClientId, Host: m.ClientHost}
			if m.GroupInstanceId != nil {
				member.Instance = *m.GroupInstanceId
			}
			out.Members = append(out.Members, member)
		}
		slices.SortFunc(out.Members, func(x, y GroupMember) int {
			return slices.Compare([]string{x.Instance, x.ID}, []string{y.Instance, y.ID})
		})
		return nil
	})
	return out, err
}

// GroupOffsets gives all committed offsets of the settings' group.
func (a *Admin) GroupOffsets(ctx context.Context) (map[record.TopicPartition]int64, error) {
	with, err := a.readOffsets(ctx, nil, true)
	return offsetsOf(with), err
}

// SetGroupOffsets commits offsets for the settings' group from outside. While
// the group has members, it changes nothing and returns ErrGroupActive.
func (a *Admin) SetGroupOffsets(ctx context.Context, offsets map[record.TopicPartition]int64) error {
	if len(offsets) == 0 {
		return nil
	}
	at := make(map[record.TopicPartition]position, len(offsets)) // without a stream time: what was seen is to be seen anew
	for tp, offset := range offsets {
		at[tp] = position{offset: offset}
	}
	group := a.c.set.Group
	return a.c.retryOn(ctx, "set offsets of group "+group, sarama.CoordinatorGroup, group, func(ctx context.Context, l *link) error {
		resp, err := call(ctx, l, (*sarama.Broker).CommitOffset, offsetCommit(engine.GroupMeta{Group: group}, at))
		if err != nil {
			return err
		}
		return groupActive(offsetCommitError(resp))
	})
}

// groupActive translates what a coordinator says to an outsider.
func groupActive(err error) error {
	if isExpelled(err) || errors.Is(err, sarama.ErrNonEmptyGroup) || errors.Is(err, sarama.ErrRebalanceInProgress) {
		return fmt.Errorf("%w: %w", ErrGroupActive, err)
	}
	return err
}

// DeleteGroup forgets the settings' group with all its offsets. A group that is
// not there is no error; one with members is ErrGroupActive.
func (a *Admin) DeleteGroup(ctx context.Context) error {
	group := a.c.set.Group
	return a.c.retryOn(ctx, "delete group "+group, sarama.CoordinatorGroup, group, func(ctx context.Context, l *link) error {
		req := &sarama.DeleteGroupsRequest{Version: 2}
		req.AddGroup(group)
		resp, err := call(ctx, l, (*sarama.Broker).DeleteGroups, req)
		if err != nil {
			return err
		}
		code := resp.GroupErrorCodes[group]
		if code == sarama.ErrNoError || code == sarama.ErrGroupIDNotFound {
			return nil
		}
		return groupActive(code)
	})
}

// OffsetsAt gives, per partition, the first offset whose record has the given
// Kafka timestamp (ms) or a later one; -1 where there is none.
func (a *Admin) OffsetsAt(ctx context.Context, times map[record.TopicPartition]int64) (map[record.TopicPartition]int64, error) {
	tps := make([]record.TopicPartition, 0, len(times))
	for tp, t := range times {
		if t < 0 {
			return nil, fmt.Errorf("read offsets by time: %s/%d: time %d is negative", tp.Topic, tp.Partition, t)
		}
		tps = append(tps, tp)
	}
	return a.offsets(ctx, "read offsets by time", tps, engine.ReadCommitted, func(tp record.TopicPartition) int64 { return times[tp] })
}

// DeleteTopics deletes topics; one that is not there is no error.
func (a *Admin) DeleteTopics(ctx context.Context, names []string) error {
	left := slices.Clone(names)
	return a.c.retry(ctx, "delete topics", func(ctx context.Context) error {
		if len(left) == 0 {
			return nil
		}
		resp, err := atController(ctx, a.c, (*sarama.Broker).DeleteTopics, func() *sarama.DeleteTopicsRequest {
			return sarama.NewDeleteTopicsRequest(protocolVersion, left, a.c.set.RequestTimeout)
		})
		if err != nil {
			return err
		}
		var again []string
		var last error
		for _, name := range left {
			code := resp.TopicErrorCodes[name]
			if code == sarama.ErrNoError || code == sarama.ErrUnknownTopicOrPartition {
				continue
			}
			last = fmt.Errorf("topic %s: %w", name, code)
			if !retriable(code) {
				return last
			}
			again = append(again, name)
		}
		left = again
		return last
	})
}
