package engine

import (
	"errors"
	"fmt"

	"streamctl/operators"
)

// A gap: records are gone from a topic, by retention or by hand, before they
// were processed. What a stream does then is its on_gap. A table is a view of
// its topic: it is built anew from what the topic holds, so that it is what a
// new process would have; only if its changes go on to others is a gap in them a gap.

// fetchFailed says what a partition's failure means.
func (w *worker) fetchFailed(t *task, f *Fetched) error {
	if !errors.Is(f.Err, ErrOffsetOutOfRange) {
		return fmt.Errorf("read %s/%d: %w", f.TP.Topic, f.TP.Partition, f.Err)
	}
	in := t.input(f.TP)
	at := f.Next
	if in != nil && in.started {
		at = max(at, in.fetchedTo)
	}
	switch {
	case f.LogStart < 0:
		return fmt.Errorf("read %s/%d: offset %d is not there, and the first one cannot be found out: %w", f.TP.Topic, f.TP.Partition, at, f.Err)
	case at >= f.LogStart:
		return fmt.Errorf("read %s/%d: offset %d is beyond the end of the log (%d): the topic was deleted and created anew, or has lost data; "+
			"run reset-offsets", f.TP.Topic, f.TP.Partition, at, f.End)
	case t.restoreOf(f.TP) != nil || in == nil || in.isTable() && !in.spec.Feeds:
		// Read on, it would keep rows that its topic has not.
		return fmt.Errorf("read %s/%d: records %d to %d, of which a table is made, are gone: %w", f.TP.Topic, f.TP.Partition, at, f.LogStart-1, errTopicsChanged)
	}
	if in.spec.Purge {
		w.log.Warn("task was overtaken: going back to what is committed", "task", t.id.String(), "topic", in.tp.Topic, "position", at, "first", f.LogStart)
		w.overtaken = true
		return nil
	}
	if err := w.gap(t, in, at, f.LogStart); err != nil {
		return err
	}
	w.resume(t, in, f)
	return nil
}

// gap counts and tells that an input goes on at offset to, behind records from
// offset from on that are gone, or refuses it as the input's policy says.
func (w *worker) gap(t *task, in *input, from, to int64) error {
	if in.spec.OnGap == operators.GapFail {
		return fmt.Errorf("%sread %s/%d: offset %d is no longer there: records %d to %d were deleted before they were processed; "+
			"keep them longer, or go on behind the gap with on_gap: earliest, or once with reset-offsets --to earliest",
			at(in.spec), in.tp.Topic, in.tp.Partition, from, from, to-1)
	}
	w.lost(in, to-from)
	w.engine.opts.incidents.Add(IncidentSourceTruncated)
	w.log.Error("records were deleted before they were processed: going on behind them", "task", t.id.String(), "topic", in.tp.Topic,
		"partition", in.tp.Partition, "first", from, "last", to-1, "on_gap", in.spec.OnGap.String())
	return nil
}

// lost counts records that are passed over.
func (w *worker) lost(in *input, records int64) {
	c := &w.stats.Counters
	if c.Drops == nil {
		c.Drops = make(map[operators.DropKey]int64)
	}
	c.Drops[operators.DropKey{Operator: in.spec.Name, Reason: operators.ReasonGap}] += records
}

// resume reads on at the first record there is. The empty fetch moves the
// position behind the gap when what was fetched before it has been processed.
func (w *worker) resume(t *task, in *input, f *Fetched) {
	in.skipToEnd = in.spec.OnGap == operators.GapLatest
	in.queue = append(in.queue, &Fetched{TP: f.TP, Next: f.LogStart, End: f.End, LogStart: f.LogStart, Err: f.Err})
	in.fetchedTo, in.answered = f.LogStart, false
	w.source.Release(f)
	w.fetch(in.tp, f.LogStart, t)
}

// skipToEnd makes the input go on at the end of the topic, which f tells.
func (w *worker) skipToEnd(t *task, in *input, f *Fetched) {
	in.skipToEnd = false
	if f.End <= in.fetchedTo {
		in.accept(f)
		return
	}
	w.lost(in, f.End-in.fetchedTo)
	w.log.Error("going on at the end of the topic", "task", t.id.String(), "topic", in.tp.Topic, "partition", in.tp.Partition,
		"first", in.fetchedTo, "last", f.End-1, "on_gap", in.spec.OnGap.String())
	in.queue = append(in.queue, &Fetched{TP: f.TP, Next: f.End, End: f.End, LogStart: f.LogStart, Err: ErrOffsetOutOfRange})
	in.fetchedTo = f.End
	w.source.Release(f)
	w.fetch(in.tp, f.End, t)
}

// checkTableGap looks for a gap in the changes of a table that go on to others,
// where the table itself is built anew.
func (w *worker) checkTableGap(t *task, in *input, info *startInfo) error {
	committed, known := info.committed[in.tp]
	if first := info.starts[in.tp]; in.spec.Feeds && known && committed < first {
		return w.gap(t, in, committed, first)
	}
	return nil
}
