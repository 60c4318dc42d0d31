package engine

import (
	"fmt"
	"slices"
)

// Of the topics between its sub-topologies the pipeline deletes what the group
// has committed (purge.go). So whoever misses records there has been overtaken:
// the group has given the task to somebody else, who has gone further, and the
// news of it are still on their way. That is no gap. All that the worker has done
// since its last commit is given up, and its tasks, as far as the group leaves them
// here, begin where Kafka says.

// giveUpOvertaken gives the worker's tasks up when one of them was overtaken. A
// commit that is under way comes to its end first: where to begin is known only then.
func (w *worker) giveUpOvertaken() error {
	if !w.overtaken || w.inflight != nil {
		return nil
	}
	w.overtaken = false
	return w.giveUp(causeAborted, w.group)
}

// giveUp closes all tasks of the worker, forgets what they did since the last
// commit, and tells the engine.
func (w *worker) giveUp(why cause, group GroupMeta) error {
	closing := w.closing
	var stay []TaskID // those that were not to be closed anyway
	for _, t := range w.order {
		if closing == nil || closing.ids != nil && !slices.Contains(closing.ids, t.id) {
			stay = append(stay, t.id)
		}
	}
	for _, info := range w.waiting { // for the producer that comes now
		if closing == nil || closing.ids != nil && !slices.Contains(closing.ids, info.id) {
			stay = append(stay, info.id)
		}
	}
	w.suspend(&closeRequest{})
	for len(w.order) > 0 {
		if err := w.closeTask(w.order[0], false); err != nil {
			return err
		}
	}
	w.producer.Discard()
	if closing != nil && closing.quit || len(stay) == 0 && why != causeFenced {
		return nil
	}
	w.fenced = why == causeFenced
	w.engine.notify(reassignEvent{worker: w, ids: stay, cause: why, group: group})
	return nil
}

// checkPurged refuses to begin behind records that are gone although nobody has
// committed them: that is not the pipeline's own doing.
func (w *worker) checkPurged(t *task, in *input, info *startInfo) error {
	committed, known := info.committed[in.tp]
	first := info.starts[in.tp]
	if !in.spec.Purge || !known || committed >= first {
		return nil
	}
	if err := w.gap(t, in, committed, first); err != nil {
		return fmt.Errorf("start task %s: %w", t.id, err)
	}
	in.pos = max(in.pos, first)
	return nil
}
