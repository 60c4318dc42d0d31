package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"streamctl/internal/record"
	"streamctl/state"
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
	foreign := make(map[string]bool)
	own, all := false, true // the task keeps rows that have seen its streams; it keeps none at all
	for _, spec := range t.sub.Tables {
		foreign[spec.Name] = w.foreign(t, spec.Name)
		own = own || spec.Changelog != "" && !foreign[spec.Name]
		all = all && foreign[spec.Name]
	}
	for _, spec := range t.sub.Tables {
		if !foreign[spec.Name] {
			continue
		}
		if err := w.dropRows(t, spec, !own, all); err != nil {
			return fmt.Errorf("start task %s: %w", t.id, err)
		}
		if err := t.store.MarkNow(rowsMark + spec.Name + "=" + w.engine.opts.Rows[spec.Name]); err != nil {
			return fmt.Errorf("start task %s: %w", t.id, err)
		}
	}
	return nil
}

// foreign says whether a table's rows are not known to be those that it has now.
func (w *worker) foreign(t *task, table string) bool {
	want, known := w.engine.opts.Rows[table]
	return known && !slices.Equal(t.store.MarkedWith(rowsMark+table+"="), []string{want})
}

// dropRows drops what is stored of a table, if anything is. With streams, it is
// forgotten too how far the task has read its streams: no row knows of that any
// more. With partitions, it is forgotten how many partitions its topics had.
func (w *worker) dropRows(t *task, spec state.TableSpec, streams, partitions bool) error {
	var marks []string
	marked := func(prefix string) {
		for _, rest := range t.store.MarkedWith(prefix) {
			marks = append(marks, prefix+rest)
		}
	}
	marked(rowsMark + spec.Name + "=")
	stored := len(marks) > 0
	var tps []record.TopicPartition
	if spec.Changelog != "" {
		tps = append(tps, record.TopicPartition{Topic: spec.Changelog, Partition: t.id.Partition})
	}
	for _, in := range t.inputs {
		switch {
		case in.spec.Table == spec.Name:
			tps = append(tps, in.tp)
			marks = append(marks, bootMark(in.tp.Topic))
		case streams && !in.isTable() && spec.Changelog != "":
			tps = append(tps, in.tp)
		}
		if partitions || in.spec.Table == spec.Name {
			marked(partitionMark + in.tp.Topic + ":")
		}
	}
	for _, tp := range tps {
		_, found := t.store.Position(tp)
		stored = stored || found
	}
	if !stored {
		return nil
	}
	w.log.Warn("state of table belongs to another form of the pipeline: it is rebuilt", "task", t.id.String(), "table", spec.Name)
	w.engine.opts.incidents.Add(IncidentStateStale)
	return t.store.DropTable(spec.Name, tps, marks)
}
