package differential

import (
	"context"
	"fmt"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
)

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
