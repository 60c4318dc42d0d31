package operators

import (
	"encoding/binary"
	"fmt"

	"streamctl/expr"
)

// Dedup hands on the first record of each key and drops those that lie within
// a span of event time of one that it has handed on, before or behind it.
//
// It remembers a record for twice the span: one that comes late by up to the
// span may lie as far again before stream time as its first.
type Dedup struct {
	Policy *Policy
	State  *DedupState
	Keys   []*expr.Program
}

// DedupState is what the Dedups of a definition share in a task: one stands in
// each way of a union.
type DedupState struct {
	Name   string // of the state
	Within int64  // ms, inclusive
}

// Make implements Spec.
func (s *Dedup) Make(t *Task, next Operator) (Operator, error) {
	m, ok := t.shared[s.State].(*seen)
	if !ok {
		table := t.Tables[s.State.Name]
		if table == nil {
			return nil, fmt.Errorf("open dedup: the task has no table %q", s.State.Name)
		}
		within := s.State.Within
		m = &seen{within: within, now: noTime, buckets: buckets{table: table, width: max(within+1, minBucket)}}
		t.shared[s.State] = m
	}
	n := m.clock.side()
	t.Timers.OnStart(func(now int64) error {
		if !m.clock.start(n, now) {
			return nil
		}
		m.now = m.clock.now()
		return m.wrap(m.find())
	})
	t.Timers.OnStreamTime(func(now int64) error {
		m.clock.sides[n] = now
		m.now = max(m.now, m.clock.now())
		return nil
	})
	return &dedup{spec: s, task: t, next: next, seen: m}, nil
}

// dedup is a Dedup in one task.
type dedup struct {
	spec *Dedup
	task *Task
	next Operator
	seen *seen
	key  []byte
}

// Process hands e on if it is the first of its key. Nulls are equal to
// nothing, not to each other either.
func (d *dedup) Process(e *Event) error {
	if e.Null {
		d.task.Counters.Drop(d.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	key, null, err := appendKey(d.key[:0], d.spec.Keys, &e.Frame)
	d.key = key
	if err != nil {
		return d.task.refuseEvent(d.spec.Policy, e, ReasonExpression, err)
	}
	if null {
		return d.next.Process(e)
	}
	again, err := d.seen.before(key, e.Time)
	if err != nil {
		return err
	}
	if again {
		d.task.Counters.Drop(d.spec.Policy.Operator, ReasonDuplicate)
		return nil
	}
	return d.next.Process(e)
}

// seen is what the Dedups of a definition remember in one task: for each key and
// bucket the times of the records that were handed on, in ms behind the bucket's
// beginning, as uvarints.
type seen struct {
	buckets
	clock  meet
	now    int64 // stream time, ms
	within int64
	value  []byte
}

// before says whether a record near time has been seen; if not, this one is
// remembered.
func (m *seen) before(key []byte, time int64) (bool, error) {
	alive := earlier(m.now, 2*m.within)
	from, to := max(time-m.within, alive, 0), time+m.within
	for _, bucket := range m.between(from, to) {
		if m.unknown(bucket, key) {
			continue
		}
		row, err := m.table.Get(m.rowKey(bucket, key, 0))
		if err != nil {
			return false, m.wrap(err)
		}
		if row == nil {
			continue
		}
		start := bucket * m.width
		for times := row.Value; len(times) > 0; {
			t, n := binary.Uvarint(times)
			if n <= 0 {
				return false, m.wrap(errBucketKey)
			}
			if t := start + int64(t); t >= from && t <= to {
				return true, nil
			}
			times = times[n:]
		}
	}
	if time < alive {
		return false, nil // it could not be remembered
	}
	if err := m.remember(key, time); err != nil {
		return false, m.wrap(err)
	}
	return false, m.wrap(m.sweep(alive, nil, nil))
}

func (m *seen) remember(key []byte, time int64) error {
	bucket := m.bucket(time)
	m.add(bucket)
	rowKey := m.rowKey(bucket, key, 0)
	m.value = m.value[:0]
	if !m.unknown(bucket, key) {
		row, err := m.table.Get(rowKey)
		if err != nil {
			return err
		}
		if row != nil {
			m.value = append(m.value, row.Value...)
		}
	}
	m.name(bucket, key)
	m.value = binary.AppendUvarint(m.value, uint64(time-bucket*m.width))
	_, err := m.table.Put(rowKey, m.value)
	return err
}

func (m *seen) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("keep state of dedup %s: %w", m.table.Name(), err)
}
