package testkit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What tests ask a cluster about itself: who leads, what is committed, which
// transactions are open.

// Leader is the number of the node that leads a partition.
func (c *Cluster) Leader(ctx context.Context, topic string, partition int32) (int, error) {
	topics, err := c.adm.ListTopics(ctx, topic)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("find leader of %s/%d: %w", topic, partition, err)
	}
	p, ok := topics[topic].Partitions[partition]
	if !ok {
		return 0, fmt.Errorf("find leader of %s/%d: there is no such partition", topic, partition)
	}
	if p.Err != nil {
		return 0, fmt.Errorf("find leader of %s/%d: %w", topic, partition, p.Err)
	}
	return int(p.Leader), nil
}

// GroupCoordinator is the number of the node that coordinates a group.
func (c *Cluster) GroupCoordinator(ctx context.Context, group string) (int, error) {
	return one(c.adm.FindGroupCoordinators(ctx, group))
}

// TransactionCoordinator is the number of the node that coordinates the
// transactions of a transactional id.
func (c *Cluster) TransactionCoordinator(ctx context.Context, id string) (int, error) {
	return one(c.adm.FindTxnCoordinators(ctx, id))
}

func one(found kadm.FindCoordinatorResponses) (int, error) {
	for _, f := range found {
		if f.Err != nil {
			return 0, fmt.Errorf("find coordinator of %s: %w", f.Name, f.Err)
		}
		return int(f.NodeID), nil
	}
	return 0, errors.New("find coordinator: no answer")
}

// Controller is the number of the node that leads the quorum of controllers.
// (What metadata call the controller is any node that lives.)
func (c *Cluster) Controller(ctx context.Context) (int, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic, partition := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, c.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return 0, fmt.Errorf("find controller: %w", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			return int(p.LeaderID), kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return 0, errors.New("find controller: no answer")
}

// Committed gives the offsets that a group has committed, per topic and
// partition, those of open transactions not counted.
func (c *Cluster) Committed(ctx context.Context, group string) (map[string]map[int32]int64, error) {
	offsets, err := c.adm.FetchOffsets(ctx, group)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	out := make(map[string]map[int32]int64)
	offsets.Each(func(o kadm.OffsetResponse) {
		if out[o.Topic] == nil {
			out[o.Topic] = make(map[int32]int64)
		}
		out[o.Topic][o.Partition] = o.At
	})
	return out, nil
}

// Group gives, per member of a group, the host, instance name and state of
// the group: what an operator sees.
func (c *Cluster) Group(ctx context.Context, group string) (kadm.DescribedGroup, error) {
	found, err := c.adm.DescribeGroups(ctx, group)
	if err == nil {
		err = found.Error()
	}
	if err != nil {
		return kadm.DescribedGroup{}, fmt.Errorf("describe group %s: %w", group, err)
	}
	return found[group], nil
}

// TopicsWith are the names of the topics that begin with one of the prefixes, sorted.
func (c *Cluster) TopicsWith(ctx context.Context, prefixes ...string) ([]string, error) {
	all, err := c.adm.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if hasPrefix(name, prefixes) {
			out = append(out, name)
		}
	}
	return out, nil
}

func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// TransactionalIDs are those of producers, in whatever state, that begin with a prefix.
func (c *Cluster) TransactionalIDs(ctx context.Context, prefix string) ([]string, error) {
	listed, err := c.adm.ListTransactions(ctx, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	var ids []string
	for _, id := range listed.TransactionalIDs() {
		if strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// OpenTransactions tells of every transaction that is not over: those the
// coordinators know, of ids that begin with one of the prefixes, and those that hold up the
// readers of a topic whose name does.
func (c *Cluster) OpenTransactions(ctx context.Context, prefixes ...string) ([]string, error) {
	listed, err := c.adm.ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort"})
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	var open []string
	for _, t := range listed.Sorted() {
		if hasPrefix(t.TxnID, prefixes) {
			open = append(open, fmt.Sprintf("transaction of %s is in state %s", t.TxnID, t.State))
		}
	}
	topics, err := c.TopicsWith(ctx, prefixes...)
	if err != nil || len(topics) == 0 {
		return open, err
	}
	ends, err := c.adm.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list ends: %w", err)
	}
	stable, err := c.adm.ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = stable.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list stable ends: %w", err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		if at, ok := stable.Lookup(end.Topic, end.Partition); !ok || at.Offset < end.Offset {
			open = append(open, fmt.Sprintf("%s/%d is stable up to %d of %d", end.Topic, end.Partition, at.Offset, end.Offset))
		}
	})
	return open, nil
}

// Producers tells of the producers that have a transaction open in a partition
// of the topics, as the partitions' leaders know it.
func (c *Cluster) Producers(ctx context.Context, topics ...string) ([]string, error) {
	set := make(kadm.TopicsSet)
	found, err := c.adm.ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	for _, t := range found {
		for p := range t.Partitions {
			set.Add(t.Topic, p)
		}
	}
	described, err := c.adm.DescribeProducers(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("describe producers: %w", err)
	}
	var open []string
	described.EachProducer(func(p kadm.DescribedProducer) {
		if p.CurrentTxnStartOffset >= 0 {
			open = append(open, fmt.Sprintf("producer %d has a transaction open in %s/%d from offset %d", p.ProducerID, p.Topic, p.Partition, p.CurrentTxnStartOffset))
		}
	})
	slices.Sort(open)
	return open, nil
}

// UnderReplicated tells of partitions, of all topics there are, that have fewer
// replicas in sync than replicas, or no leader.
func (c *Cluster) UnderReplicated(ctx context.Context) ([]string, error) {
	all, err := c.adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var out []string
	for _, t := range all.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			if p.Err != nil || p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
				out = append(out, fmt.Sprintf("%s/%d: leader %d, in sync %v of %v", t.Topic, p.Partition, p.Leader, p.ISR, p.Replicas))
			}
		}
	}
	return out, nil
}
