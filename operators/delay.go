package operators

import (
	"encoding/binary"
	"fmt"
	"math"

	"streamctl/internal/record"
	"streamctl/state"
)

// Delay holds records of a stream back until stream time has passed theirs by
// Wait, so that rows of a table that come late find them still there (KIP-923).
// They go on in the order of their times, at equal times in that of their coming.
// A record that is later than that already goes on at once. Rows of the state are
//
//	time (8 bytes) | number of its coming (8 bytes)  ->  what appendBlob writes, and the bindings
type Delay struct {
	Policy *Policy
	Name   string // of the state
	Wait   int64  // ms
	Doc    *Doc   // what is kept
	Kept   *Kept
	// Origins are the outer topics by their numbers in the state, Numbers the reverse.
	Origins []Origin
	Numbers map[string]int
	Next    []*Node
}

// Make implements Spec.
func (s *Delay) Make(t *Task, _ Operator) (Operator, error) {
	d := &delay{spec: s, task: t, table: t.Tables[s.Name], now: noTime, rows: s.Kept.open()}
	if d.table == nil {
		return nil, fmt.Errorf("open join: the task has no table %q", s.Name)
	}
	d.behind = newTimeline(t, s.Wait)
	next, err := makeAll(d.behind.task, s.Next)
	if err != nil {
		return nil, err
	}
	d.behind.passWallTimers(t)
	d.next, d.out = next, d.behind.task.event()
	t.Timers.OnStart(d.start)
	t.Timers.OnStreamTime(d.advance)
	return d, nil
}

type delay struct {
	spec   *Delay
	task   *Task
	next   Operator
	table  *state.Table
	behind *timeline
	now    int64 // stream time, ms
	seq    uint64
	rows   *keptRow
	out    *Event
	in     record.Record
	kept   kept
	blob   []byte
}

// start finds the number of the last record that came.
func (d *delay) start(now int64) error {
	d.now = now
	err := d.table.Scan(nil, nil, func(key []byte, _ *state.Row) (bool, error) {
		d.seq = max(d.seq, binary.BigEndian.Uint64(key[8:]))
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read state of join %s: %w", d.spec.Name, err)
	}
	return d.behind.start(now)
}

// Process keeps e, or hands it on if its time has come.
func (d *delay) Process(e *Event) error {
	if e.Null {
		d.task.Counters.Drop(d.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	blob := appendBlob(d.blob[:0], d.spec.Numbers[e.Origin.Topic], e)
	blob, _, err := d.spec.Doc.append(blob, e, &e.Frame)
	d.blob = blob
	if err != nil {
		return d.task.refuseEvent(d.spec.Policy, e, ReasonExpression, err)
	}
	if d.now != noTime && d.now-d.spec.Wait >= e.Time {
		return d.send(blob, e.Time)
	}
	d.seq++
	key := binary.BigEndian.AppendUint64(nil, uint64(e.Time))
	if _, err := d.table.Put(binary.BigEndian.AppendUint64(key, d.seq), blob); err != nil {
		return fmt.Errorf("write state of join %s: %w", d.spec.Name, err)
	}
	return nil
}

// dueAtOnce is how many records are taken out of the state at a time.
const dueAtOnce = 256

// advance hands on the records whose time has come. Time behind moves with them,
// so that a jump is as many small steps.
func (d *delay) advance(now int64) error {
	d.now = now
	due := earlier(now, d.spec.Wait)
	for due >= 0 {
		type held struct{ key, blob []byte }
		var batch []held
		err := d.table.Scan(nil, binary.BigEndian.AppendUint64(nil, uint64(min(due, math.MaxInt64-1))+1), func(key []byte, r *state.Row) (bool, error) {
			batch = append(batch, held{append([]byte(nil), key...), append([]byte(nil), r.Value...)})
			return len(batch) < dueAtOnce, nil
		})
		if err != nil {
			return fmt.Errorf("read state of join %s: %w", d.spec.Name, err)
		}
		for _, h := range batch {
			time := int64(binary.BigEndian.Uint64(h.key))
			if err := d.behind.moveTo(time + d.spec.Wait); err != nil {
				return err
			}
			if err := d.send(h.blob, time); err != nil {
				return err
			}
			if err := d.table.Delete(h.key); err != nil {
				return fmt.Errorf("write state of join %s: %w", d.spec.Name, err)
			}
		}
		if len(batch) < dueAtOnce {
			break
		}
	}
	return d.behind.moveTo(now)
}

// send hands on a record that was kept.
func (d *delay) send(blob []byte, time int64) error {
	t, out := d.behind.task, d.out
	if err := d.kept.read(blob); err != nil {
		return fmt.Errorf("read state of join %s: %w", d.spec.Name, err)
	}
	t.begin(out)
	t.revive(out, &d.in, &d.kept, d.spec.Origins, time)
	if err := d.rows.place(&out.Frame, d.kept.doc); err != nil {
		return t.refuseEvent(d.spec.Policy, out, ReasonInvalidValue, err)
	}
	return d.next.Process(out)
}

// revive makes out the event of a record that was kept in a state: in is memory
// for the record that dead letters come from.
func (t *Task) revive(out *Event, in *record.Record, k *kept, origins []Origin, time int64) {
	origin := origins[k.topic]
	out.Origin, out.Time = k.origin, time
	out.Origin.Topic = origin.Topic
	out.Key, out.KeyFormat, out.Headers = k.key, origin.KeyFormat, k.headers
	*in = record.Record{Key: k.key, Value: k.doc, Time: time, Offset: k.origin.Offset, Headers: k.headers}
	out.In = in
}
