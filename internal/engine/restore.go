package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// Where a task's state comes from, at every start:
//
//   - a table fed by a topic is loaded from its own position to the group's
//     committed offset (what the lost process had seen), and at first start on to
//     the end of the topic as taken at start, before any stream record;
//   - a table with a changelog of its own is loaded from its changelog position
//     to the end of the changelog, which holds committed changes only.
//
// A position that the store has means that only the tail is read.

// bootMark is the name under which a finished first load is recorded with the state.
func bootMark(topic string) string { return "loaded:" + topic }

// restoring is one table on its way to where it has to be.
type restoring struct {
	tp     record.TopicPartition
	in     *input // nil for a changelog of the table's own
	table  *state.Table
	loader *state.Loader
	from   int64
	pos    int64
	target int64  // load up to here; -1 = not known yet
	boot   bool   // target comes from the bounds: the end as taken at first start
	full   bool   // nothing of it was in the store
	seen   stamps // of a changelog: rows that have seen more than this are not the task's
	life   int64  // likewise: of the rows that were read, those of former ones are not
	over   *passedOver
	rows   int64
	// beyond holds what has been fetched past the target: it is processed later.
	beyond []*Fetched
}

// startInfo is what the engine found out at the broker before a task starts.
type startInfo struct {
	id        TaskID
	committed map[record.TopicPartition]int64
	times     map[record.TopicPartition]int64  // stream times committed with them
	promises  map[record.TopicPartition]string // and what was known of the tasks upstream
	empty     map[TaskID]bool                  // those of them that have nothing
	starts    map[record.TopicPartition]int64
	ends      map[record.TopicPartition]int64 // high watermarks of changelogs, and at least once of inputs
}

// offsetStart says where an input goes on: the committed offset, else the
// first one there. Under at-least-once the store may know more than the group.
func (w *worker) offsetStart(t *task, in *input, info *startInfo) int64 {
	pos, ok := info.committed[in.tp]
	if !ok {
		pos = info.starts[in.tp]
	}
	if stored, found := t.store.Position(in.tp); found && !w.engine.opts.ExactlyOnce && stored > pos {
		pos = stored
	}
	return pos
}

// checkAhead refuses a task whose aggregates hold more than the group has
// committed: somebody has set offsets back without clearing the state, and
// every record in between would count twice. Under exactly-once the store is
// never ahead by itself.
func (w *worker) checkAhead(t *task, in *input) error {
	stored, found := t.store.Position(in.tp)
	if in.isTable() || !found || stored <= in.pos || !w.engine.opts.ExactlyOnce || !t.aggregates() {
		return nil
	}
	return fmt.Errorf("start task %s: its state holds %s/%d up to offset %d, but the group's committed offset is %d: what lies between would count twice; "+
		"run reset-offsets, which clears the state as well", t.id, in.tp.Topic, in.tp.Partition, stored, in.pos)
}

// checkOrphaned refuses a task whose changelog holds rows although its group
// has never committed anything: it is the state of a group whose offsets were
// deleted or have expired.
func (w *worker) checkOrphaned(t *task, r *restoring) error {
	if r.in != nil || r.rows == 0 || !w.engine.opts.ExactlyOnce {
		return nil
	}
	for _, in := range t.inputs {
		if in.committed >= 0 {
			return nil
		}
	}
	return fmt.Errorf("start task %s: its changelog %s holds %d changes, but the group has no committed offset (deleted, or expired): the input would count twice; "+
		"run reset-offsets, which clears the state as well", t.id, r.tp.Topic, r.rows)
}

// aggregates says whether the task has tables of its own making.
func (t *task) aggregates() bool {
	for _, spec := range t.sub.Tables {
		if spec.Changelog != "" {
			return true
		}
	}
	return false
}

// startTask opens a task and begins to restore it.
func (w *worker) startTask(info *startInfo) error {
	if w.tasks[info.id] != nil {
		return nil // asked twice
	}
	t, err := w.openOrPromote(info)
	if err != nil {
		return err
	}
	w.tasks[info.id] = t
	w.order = append(w.order, t)
	if err := t.transition(taskRestoring); err != nil {
		return err
	}
	if err := w.beginRestore(t, info); err != nil {
		return err
	}
	return w.finishRestore(t)
}

// openOrPromote returns the task of a standby that is kept here, or opens one.
func (w *worker) openOrPromote(info *startInfo) (*task, error) {
	s := w.standbyOf(info.id)
	if s == nil {
		return w.openTask(info.id)
	}
	t, err := w.promote(s)
	// The standby has read on since the ends were asked for: a marker of a
	// transaction that was aborted meanwhile moves its position, too.
	info.ends = maps.Clone(info.ends)
	for _, f := range s.tables {
		if end, asked := info.ends[f.tp]; asked {
			info.ends[f.tp] = max(end, f.pos)
		}
	}
	return t, err
}

// beginRestore decides for every input and changelog from where to where it is
// read, and starts the fetches of those that have something to load.
func (w *worker) beginRestore(t *task, info *startInfo) error {
	if err := w.dropOutdated(t, info); err != nil {
		return err
	}
	t.streamTime = t.store.StreamTime()
	for _, in := range t.inputs {
		if committed := info.times[in.tp]; committed > 0 {
			t.streamTime = max(t.streamTime, committed) // the store may be behind, or lost
		}
		if in.upstream != nil {
			in.upstream.recall(info.promises[in.tp], info.empty)
		}
		in.pos = w.offsetStart(t, in, info)
		in.committed = -1
		if c, ok := info.committed[in.tp]; ok {
			in.committed = c
		}
		if !w.engine.opts.ExactlyOnce {
			in.again = info.ends[in.tp]
		}
		if err := errors.Join(w.checkAhead(t, in), w.checkPurged(t, in, info)); err != nil {
			return err
		}
		if in.spec.Awaited {
			t.gated = w.firstLoad(t, in, info) || t.gated
		}
		if !in.isTable() {
			continue
		}
		boot := w.firstLoad(t, in, info)
		t.gated = t.gated || boot
		r := &restoring{tp: in.tp, in: in, table: t.store.Table(in.spec.Table), target: in.pos, boot: boot && !in.spec.Feeds}
		r.from, r.full = info.starts[in.tp], true
		if stored, ok := t.store.Position(in.tp); ok {
			r.from, r.full = stored, false
		} else if err := w.checkTableGap(t, in, info); err != nil {
			return err
		}
		if r.boot {
			r.target = -1
		}
		w.beginTable(t, r)
	}
	t.own, t.promise, t.told = t.streamTime, t.streamTime, t.streamTime
	for _, spec := range t.sub.Tables {
		if spec.Changelog == "" {
			continue
		}
		tp := record.TopicPartition{Topic: spec.Changelog, Partition: t.id.Partition}
		r := &restoring{tp: tp, table: t.store.Table(spec.Name), target: info.ends[tp], from: info.starts[tp], full: true, seen: t.stamps(), life: t.storedLife(tp)}
		t.life = max(t.life, r.life)
		if stored, ok := t.store.Position(tp); ok {
			r.from, r.full = stored, false
		}
		w.beginTable(t, r)
	}
	return nil
}

// firstLoad says whether the table input has never been read to its end
// before streams. The store remembers it; where the store was lost, streams
// that have been committed say the same, since they waited for it.
func (w *worker) firstLoad(t *task, in *input, info *startInfo) bool {
	if t.store.Marked(bootMark(in.tp.Topic)) {
		return false
	}
	if _, ok := info.committed[in.tp]; !ok {
		return true
	}
	for _, other := range t.inputs {
		if _, ok := info.committed[other.tp]; ok && !other.first() {
			t.mark(in)
			return false
		}
	}
	return true
}

// beginTable starts to load one table, unless it is there already.
func (w *worker) beginTable(t *task, r *restoring) {
	r.pos = r.from
	if r.target >= 0 && r.pos >= r.target {
		if r.in != nil {
			r.in.pos = r.pos
		}
		return
	}
	r.loader = r.table.Loader()
	r.loader.Tell(w.source.Wake)
	t.restore = append(t.restore, r)
	w.fetch(r.tp, r.pos, t)
	w.source.Rush(r.tp)
	w.log.Debug("restore begins", "task", t.id.String(), "topic", r.tp.Topic, "from", r.from, "to", r.target)
}

// restoreOf finds the load that reads tp.
func (t *task) restoreOf(tp record.TopicPartition) *restoring {
	for _, r := range t.restore {
		if r.tp == tp {
			return r
		}
	}
	return nil
}

// load takes a fetch for a table that is being loaded.
func (w *worker) load(t *task, r *restoring, f *Fetched) error {
	if r.in != nil {
		r.in.answered = true
		r.in.fetchedTo, r.in.end = max(r.in.fetchedTo, f.Next), max(r.in.end, f.End)
	}
	if r.target >= 0 && r.pos >= r.target {
		r.beyond = append(r.beyond, f)
		return nil
	}
	again := true // nobody but the loader, who says so, keeps anything of the fetch
	for i := range f.Records {
		rec := &f.Records[i]
		if rec.Offset < r.pos {
			continue
		}
		if r.target >= 0 && rec.Offset >= r.target {
			r.pos = r.target
			r.beyond = append(r.beyond, f)
			return nil
		}
		kept, err := w.loadRecord(r, rec, f.Memory)
		again = again && !kept
		if err != nil {
			return fmt.Errorf("restore table from %s/%d at offset %d: %w", r.tp.Topic, r.tp.Partition, rec.Offset, err)
		}
		r.pos = rec.Offset + 1
	}
	if f.Next > r.pos {
		r.pos = f.Next
	}
	r.loader.Progress(r.pos-r.from, max(r.target, f.End)-r.from)
	w.source.Release(f)
	if again {
		f.Memory.LetGo()
	}
	return nil
}

// loadRecord adds one record, which lies in memory, to the table. kept says that somebody else may
// have it still, as a dead letter for one.
func (w *worker) loadRecord(r *restoring, rec *record.Record, memory *record.Memory) (kept bool, err error) {
	r.rows++
	w.stats.Restored++
	if r.in == nil {
		return false, w.loadChange(r, rec, memory)
	}
	key, row, skip, err := r.in.loader.Load(rec, r.tp, rec.Offset < r.in.committed)
	if err != nil || skip {
		return true, err
	}
	return false, addRow(r.loader, key, row, rec, memory)
}

// loadChange is loadRecord for a changelog of the table's own.
func (w *worker) loadChange(r *restoring, rec *record.Record, memory *record.Memory) error {
	stamp, row := stampOf(rec), []byte(nil)
	if rec.Value != nil {
		var err error
		if row, stamp, err = state.DecodeStamped(rec.Value); err != nil {
			return err
		}
	}
	ahead, life, err := r.seen.passedBy(stamp)
	switch {
	case err != nil:
		return err
	case ahead || life != 0 && life < r.life:
		r.passOver(rec)
		r.life = max(r.life, life)
		return nil
	}
	r.life = max(r.life, life)
	if row == nil {
		return r.loader.Add(rec.Key, nil)
	}
	return r.loader.AddShared(rec.Key, row, memory)
}

// addRow adds a row to a load; one that is the record's value as it stands need
// not be copied.
func addRow(l *state.Loader, key, row []byte, rec *record.Record, memory *record.Memory) error {
	if len(row) > 0 && len(row) == len(rec.Value) && &row[0] == &rec.Value[0] {
		return l.AddShared(key, row, memory)
	}
	return l.Add(key, row)
}

// finishRestore completes those loads that have reached their target and whose rows
// are written, and lets the task run when none is left. It does not wait: the worker's other
// tables are to be loaded meanwhile.
func (w *worker) finishRestore(t *task) error {
	left := t.restore[:0]
	for _, r := range t.restore {
		if r.target < 0 {
			if target, ok := w.engine.bounds.at(r.tp); ok {
				r.target = target
			}
		}
		if r.target < 0 || r.pos < r.target {
			left = append(left, r)
			continue
		}
		if written, err := r.loader.Flush(); err != nil {
			return fmt.Errorf("restore table from %s/%d: %w", r.tp.Topic, r.tp.Partition, err)
		} else if !written {
			left = append(left, r)
			continue
		}
		if err := w.finishTable(t, r); err != nil {
			return err
		}
	}
	t.restore = left
	if len(left) > 0 || t.state != taskRestoring {
		return nil
	}
	return w.startInputs(t)
}

// finishTable makes what was loaded durable, with its position.
func (w *worker) finishTable(t *task, r *restoring) error {
	if err := w.checkOrphaned(t, r); err != nil {
		return err
	}
	positions := map[record.TopicPartition]int64{r.tp: r.pos}
	if r.in == nil && r.life != 0 {
		positions[lifeOf(r.tp)] = r.life
		t.life = max(t.life, r.life)
	}
	if r.over != nil {
		positions[r.tp], positions[lifeOf(r.tp)] = r.over.first, r.over.life // what is passed over is looked at again, until its keys are restated
		t.over = append(t.over, r.over)
	}
	var marks []string
	if r.boot {
		marks = append(marks, bootMark(r.tp.Topic))
	}
	w.pulse.extend(w.engine.opts.Clock.Now(), longTurnLimit)
	if err := r.loader.Finish(positions, marks...); err != nil {
		return fmt.Errorf("restore table from %s/%d: %w", r.tp.Topic, r.tp.Partition, err)
	}
	w.engine.crash(CrashAfterRestore)
	t.marked = true // so that the time of the state is written, too
	t.restored += r.pos - r.from
	mode := "tail"
	if r.full {
		mode = "full"
	}
	w.log.Info("table restored", slog.String("task", t.id.String()), slog.String("topic", r.tp.Topic), slog.String("mode", mode),
		slog.Int64("records", r.rows), slog.Int64("from", r.from), slog.Int64("to", r.pos))
	if mode == "full" {
		w.stats.FullRestores++
	}
	if r.in == nil {
		w.source.Stop(r.tp) // with what lies beyond
		delete(w.routes, r.tp)
		return nil
	}
	r.in.pos = max(r.in.pos, r.pos)
	r.in.started = true
	r.in.queue = append(r.in.queue, r.beyond...)
	return nil
}

// startInputs begins to fetch what is not being fetched yet; the task runs.
func (w *worker) startInputs(t *task) error {
	for _, in := range t.inputs {
		if !in.started {
			in.started = true
			in.fetchedTo = in.pos
			w.fetch(in.tp, in.pos, t)
		}
	}
	t.life++
	if err := t.restate(); err != nil {
		return err
	}
	if err := t.transition(taskRunning); err != nil {
		return err
	}
	if err := w.startTimers(t); err != nil {
		return fmt.Errorf("start task %s: %w", t.id, err)
	}
	w.applyBounds(t)
	w.log.Debug("task runs", "task", t.id.String())
	return nil
}

// applyBounds tells a task's inputs what the engine has learnt of ends: how far
// a bounded run goes, whether it stops there, and whether the first load of its tables
// is complete.
func (w *worker) applyBounds(t *task) {
	gated := false
	for _, in := range t.inputs {
		target, known := w.engine.bounds.at(in.tp)
		if known && w.engine.opts.UntilEnd && in.stopAt < 0 {
			in.stopAt = target
		}
		in.onward = w.engine.shared.Load()
		if !t.gated || !in.first() || t.store.Marked(bootMark(in.tp.Topic)) {
			continue
		}
		if known && in.pos >= target {
			t.mark(in)
			continue
		}
		gated = true
	}
	t.gated = gated
}

// openTask builds the task's operators over its tables.
func (w *worker) openTask(id TaskID) (*task, error) {
	sub := w.engine.sub(id.Sub)
	if count := w.engine.partitionsOf(sub.Inputs[0].Topic); id.Partition >= count {
		return nil, fmt.Errorf("open task %s: %s had %d partitions when this process started: %w", id, sub.Inputs[0].Topic, count, errTopicsChanged)
	}
	store, err := w.engine.opts.State.OpenTask(sub.Name, id.Partition, sub.Tables)
	if err != nil {
		return nil, fmt.Errorf("open state of task %s: %w", id, err)
	}
	t := &task{id: id, sub: sub, store: store, streamTime: store.StreamTime()}
	tables := make(map[string]*state.Table, len(sub.Tables))
	for _, spec := range sub.Tables {
		tables[spec.Name] = store.Table(spec.Name)
	}
	t.context = &operators.TaskContext{
		Partition:  id.Partition,
		Tables:     tables,
		Emitter:    newEmitter(w, t),
		Counters:   &w.stats.Counters,
		StreamTime: func() int64 { return t.streamTime },
		Now:        func() int64 { return w.nowMillis },
		Partitions: w.engine.partitionsOf,
		Timers:     &operators.Timers{},
		Limit:      w.engine.limitOf,
		Size:       func(rec *record.Record) int { return w.producer.Size(rec) },
		Again:      t.repeats,
	}
	ops, err := sub.Build(t.context)
	if err != nil {
		return nil, fmt.Errorf("build task %s: %w", id, err)
	}
	for i, spec := range sub.Inputs {
		in := &input{spec: spec, op: ops[i], tp: record.TopicPartition{Topic: spec.Topic, Partition: id.Partition}, stopAt: -1, committed: -1}
		if spec.Table != "" {
			in.loader, _ = ops[i].(operators.Loader)
		}
		t.inputs = append(t.inputs, in)
	}
	sortTablesFirst(t.inputs)
	w.engine.listen(t)
	if err := w.dropForeign(t); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return t, nil
}
