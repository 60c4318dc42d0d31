package engine

import (
	"fmt"
	"time"

	"streamctl/internal/record"
)

// tombstoneMillis is how long Kafka keeps deletions in a compacted topic that
// says nothing else.
const tombstoneMillis = 24 * 60 * 60 * 1000

// dropOutdated drops a state that cannot be brought forward from its topics, all
// of it before any of it is used: its tables share positions and marks.
//
// One reason is age: a state that is older than one of the topics keeps deletions
// may have missed one that has come and gone, and its row would live for ever. The
// other is that a topic begins behind what the state has read of it: what
// was in between is gone, and with it, maybe, the news that a row is.
func (w *worker) dropOutdated(t *task, info *startInfo) error {
	topics := t.origins()
	if err := w.checkPartitions(t); err != nil {
		return err
	}
	if err := w.checkChangelogs(t, info); err != nil {
		return err
	}
	saved := t.store.SavedAt()
	for _, tp := range topics {
		kept, told := w.engine.tombstones[tp.Topic]
		if !told {
			kept = tombstoneMillis
		}
		stored, found := t.store.Position(tp)
		switch {
		case saved != 0 && w.nowMillis-saved > kept:
			w.log.Warn("state is older than its topic keeps deletions: it is rebuilt", "task", t.id.String(), "topic", tp.Topic,
				"saved", time.UnixMilli(saved).UTC(), "delete.retention.ms", kept)
		case found && stored < info.starts[tp]:
			w.log.Warn("state is older than its topic: it is rebuilt", "task", t.id.String(), "topic", tp.Topic,
				"position", stored, "first", info.starts[tp])
		default:
			continue
		}
		w.engine.opts.incidents.Add(IncidentStateStale)
		if err := t.store.Drop(); err != nil {
			return fmt.Errorf("drop state of task %s: %w", t.id, err)
		}
		return nil
	}
	return nil
}

// checkChangelogs refuses a task whose changelog ends before what the state has
// read of it. The changelog is what others would restore from: to go on beside it
// would give this process one truth and the next one another.
func (w *worker) checkChangelogs(t *task, info *startInfo) error {
	for _, spec := range t.sub.Tables {
		tp := record.TopicPartition{Topic: spec.Changelog, Partition: t.id.Partition}
		stored, found := t.store.Position(tp)
		if end, known := info.ends[tp]; spec.Changelog == "" || !found || !known || stored <= end {
			continue
		}
		return fmt.Errorf("start task %s: its state holds %s/%d up to offset %d, but the topic ends at %d: it was deleted and created anew, or has lost data; "+
			"table %q cannot be rebuilt from it: run reset-offsets --to earliest", t.id, tp.Topic, tp.Partition, stored, info.ends[tp], spec.Name)
	}
	return nil
}

// origins lists the topics that the task's tables come from.
func (t *task) origins() []record.TopicPartition {
	var tps []record.TopicPartition
	for _, in := range t.inputs {
		if in.isTable() {
			tps = append(tps, in.tp)
		}
	}
	for _, spec := range t.sub.Tables {
		if spec.Changelog != "" {
			tps = append(tps, record.TopicPartition{Topic: spec.Changelog, Partition: t.id.Partition})
		}
	}
	return tps
}
