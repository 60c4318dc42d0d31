package differential

import (
	"context"
	"errors"
	"fmt"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/pipeline"
)

// awaitTime waits until the tasks that have a time have moved it to the clock's.
func (r *rig) awaitTime(clock time.Time) error {
	admin := r.log.Transport(memlog.TransportConfig{Group: r.pipe.topology.Pipeline}).Admin()
	var failed error
	behind := ""
	r.await(func() bool {
		if behind = r.lagging(); behind != "" {
			return false
		}
		for i, sub := range r.pipe.topology.Subs {
			if r.pipe.result.Plan.Subs[i].Inputs[0].Kind == pipeline.RekeyInput {
				continue // it only copies: nothing moves its time but records
			}
			for q := range r.set.Partitions {
				var tps []record.TopicPartition
				for _, in := range sub.Inputs {
					tps = append(tps, record.TopicPartition{Topic: in.Topic, Partition: q})
				}
				last, err := admin.LastCommitted(context.Background(), tps)
				if err != nil {
					failed = fmt.Errorf("look how far time is: %w", err)
					return true
				}
				at := int64(0)
				for _, commit := range last {
					at = max(at, commit.StreamTime)
				}
				if sub.Timely && at > 0 && at < clock.UnixMilli() {
					behind = fmt.Sprintf("time of %s/%d stands at %d", sub.Name, q, at)
				}
			}
		}
		return behind == ""
	})
	if failed == nil && behind != "" {
		failed = errors.New(behind)
	}
	return failed
}

// untold says who has not been told yet how far a task before it is, "" = nobody: time
// behind a repartition is the least of what all tasks before it have promised (ADR 90),
// so a record that came earlier would not find the time that it has in the model.
func (r *rig) untold() (string, error) {
	admin := r.log.Transport(memlog.TransportConfig{Group: r.pipe.topology.Pipeline}).Admin()
	var tps []record.TopicPartition
	for _, topic := range r.pipe.topics {
		for p := range r.set.Partitions {
			tps = append(tps, record.TopicPartition{Topic: topic, Partition: p})
		}
	}
	last, err := admin.LastCommitted(context.Background(), tps)
	if err != nil {
		return "", err
	}
	for topic, before := range r.pipe.carried() {
		for _, sub := range before {
			for q := range r.set.Partitions {
				by, reached := engine.TaskID{Sub: sub.Name, Partition: q}, int64(0)
				for _, in := range sub.Inputs {
					at := last[record.TopicPartition{Topic: in.Topic, Partition: q}].StreamTime
					if reached == 0 || at > reached {
						reached = at
					}
				}
				for p := range r.set.Partitions {
					promises := last[record.TopicPartition{Topic: topic, Partition: p}].Promises
					if known, ok := engine.Promised(promises, by); reached == 0 || !ok || known != reached {
						return fmt.Sprintf("%s/%d knows %d of %v (%v), which is at %d", topic, p, known, by, ok, reached), nil
					}
				}
			}
		}
	}
	return "", nil
}
