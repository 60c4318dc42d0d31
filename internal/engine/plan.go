package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"streamctl/internal/record"
)

// A pipeline may change between two runs. What that means is decided before
// the engine starts; three things of it are done here. State lies under the
// name of its sub-topology, which another plan may have renamed: it is put where the
// topology looks for it. Rows of a table that begins anew are dropped, on whichever
// disk they come to light. And processes of different plans must not share a
// group: it refuses them by the plan's name.

// ErrOtherPlan: the group's members run another plan, or another version of
// it; this process must not run beside them.
var ErrOtherPlan = errors.New("the group runs another plan")

// rowsMark begins the mark by which a task knows whose rows its tables hold.
const rowsMark = "rows:"

// arrangeState puts stored tables under the sub-topologies that have them now.
func (e *Engine) arrangeState() error {
	keeps := make(map[string][]string)
	for _, sub := range e.opts.Topology.Subs {
		for _, t := range sub.Tables {
			keeps[sub.Name] = append(keeps[sub.Name], t.Name)
		}
	}
	moved, err := e.opts.State.Arrange(keeps)
	if err != nil {
		return err
	}
	if len(moved) > 0 {
		e.log.Info("tables have moved to other sub-topologies with their state", "tables", moved)
	}
	return nil
}

// planJoined tells the first time that the group has taken the process in.
func (e *Engine) planJoined(ctx context.Context) error {
	if e.joined || e.opts.Joined == nil {
		return nil
	}
	return e.opts.Joined(ctx)
}

// dropForeign drops tables of a task whose rows belong to another form of the
// pipeline, as this process has missed the change, or is the one that makes it.
func (w *worker) dropForeign(t *task) error {
	for _, spec := range t.sub.Tables {
		want, known := w.engine.opts.Rows[spec.Name]
		if !known {
			continue
		}
		mark := rowsMark + spec.Name + "=" + want
		have := t.store.Marks(rowsMark + spec.Name + "=")
		if len(have) == 1 && have[0] == mark {
			continue
		}
		if err := w.dropRows(t, spec.Name, spec.Changelog, have); err != nil {
			return fmt.Errorf("start task %s: %w", t.id, err)
		}
		if err := t.store.MarkNow(mark); err != nil {
			return fmt.Errorf("start task %s: %w", t.id, err)
		}
	}
	return nil
}

// dropRows drops what is stored of a table, if anything is. have are the marks
// that say whose rows it holds; without one they are nobody's.
func (w *worker) dropRows(t *task, table, changelog string, have []string) error {
	var tps []record.TopicPartition
	marks := slices.Clone(have)
	if changelog != "" {
		tps = append(tps, record.TopicPartition{Topic: changelog, Partition: t.id.Partition})
	}
	for _, in := range t.inputs {
		if in.spec.Table == table {
			tps = append(tps, in.tp)
			marks = append(marks, bootMark(in.tp.Topic))
		}
	}
	stored := len(have) > 0
	for _, tp := range tps {
		_, found := t.store.Position(tp)
		stored = stored || found
	}
	if !stored {
		return nil
	}
	w.log.Warn("state of table belongs to another form of the pipeline: it is rebuilt", "task", t.id.String(), "table", table)
	w.engine.opts.incidents.add(IncidentStateStale)
	return t.store.DropTable(table, tps, marks)
}
