package operators

import (
	"cmp"
	"fmt"
)

// joinExpiry lets rows leave a join: unmatched ones of a side that keeps them
// to those behind, in the order in which their time is up, and all of them out of the
// state when nothing can match them any more.
//
// What leaves is found bucket by bucket: when the first rows of a bucket may
// have to leave, its unmatched ones are put into a heap, and new ones of it
// from then on. So memory holds those of the oldest buckets only.
type joinExpiry struct {
	due    dueHeap
	loaded int64 // unmatched rows of buckets up to this one are in due
}

// dueRow is a record that leaves unmatched when its time is up.
type dueRow struct {
	deadline int64 // it leaves when time has passed this, ms
	seq      uint64
	in       *joinBucket
	slot     uint32
}

func (a dueRow) compare(b dueRow) int {
	return cmp.Or(cmp.Compare(a.deadline, b.deadline), cmp.Compare(a.seq, b.seq))
}

// dueHeap is a binary heap of rows, the first to leave at its top.
type dueHeap []dueRow

func (h *dueHeap) push(d dueRow) {
	*h = append(*h, d)
	rows := *h
	for i := len(rows) - 1; i > 0; {
		up := (i - 1) / 2
		if rows[up].compare(rows[i]) <= 0 {
			return
		}
		rows[up], rows[i] = rows[i], rows[up]
		i = up
	}
}

func (h *dueHeap) pop() dueRow {
	rows := *h
	top, last := rows[0], len(rows)-1
	rows[0] = rows[last]
	rows[last] = dueRow{}
	rows = rows[:last]
	*h = rows
	for i := 0; ; {
		least := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < last && rows[down].compare(rows[least]) < 0 {
				least = down
			}
		}
		if least == i {
			return top
		}
		rows[least], rows[i] = rows[i], rows[least]
		i = least
	}
}

// added notes a record that has been put into a row.
func (x *joinExpiry) added(j *streamJoin, e *joinEntry, in *joinBucket, slot uint32) {
	side := j.sides[e.side]
	if side.keep && !e.matched && in.number <= x.loaded {
		x.due.push(dueRow{e.time + side.late, e.seq, in, slot})
	}
}

// leave sends the rows whose time is up at now.
func (x *joinExpiry) leave(j *streamJoin, now int64) error {
	if err := x.load(j, now); err != nil {
		return fmt.Errorf("read state of join %s: %w", j.spec.Name, err)
	}
	if len(x.due) == 0 || x.due[0].deadline >= now {
		return nil
	}
	for len(x.due) > 0 && x.due[0].deadline < now {
		if err := x.send(j, x.due.pop()); err != nil {
			return err
		}
	}
	j.meta.emitted = now
	if err := j.noted(); err != nil {
		return fmt.Errorf("write state of join %s: %w", j.spec.Name, err)
	}
	return nil
}

// send sends one row, unless it has been matched.
func (x *joinExpiry) send(j *streamJoin, d dueRow) error {
	if d.in.slots[d.slot].flags&entryMatched != 0 {
		return nil
	}
	e, ok, err := j.buffer.entry(d.in, d.slot)
	if err != nil {
		return fmt.Errorf("read state of join %s: %w", j.spec.Name, err)
	}
	if !ok {
		return nil
	}
	j.now = d.deadline + 1
	if err := j.behind.moveTo(j.now); err != nil {
		return err
	}
	if err := j.recall(&j.self, &e); err != nil {
		return err
	}
	return j.alone(e.side, e.time)
}

// load puts the unmatched rows of the buckets into the heap in which some may
// have to leave at now.
func (x *joinExpiry) load(j *streamJoin, now int64) error {
	first, ok := j.firstDeadline()
	if !ok || now <= first {
		return nil
	}
	upTo := j.buffer.bucket(now - first - 1)
	if upTo <= x.loaded {
		return nil
	}
	for _, in := range j.buffer.live {
		if in.number <= x.loaded {
			continue
		}
		if in.number > upTo {
			break
		}
		if err := x.loadBucket(j, in); err != nil {
			return err
		}
	}
	x.loaded = upTo
	return nil
}

// firstDeadline is when a record of time 0 may have to leave first; ok is false
// when none ever does.
func (j *streamJoin) firstDeadline() (ms int64, ok bool) {
	for _, side := range j.sides {
		if side.keep && (!ok || side.late < ms) {
			ms, ok = side.late, true
		}
	}
	return ms, ok
}

func (x *joinExpiry) loadBucket(j *streamJoin, in *joinBucket) error {
	for i := in.gone; i < len(in.slots); i++ {
		s := &in.slots[i]
		side := j.sides[s.flags&entryRight]
		if !side.keep || s.flags&entryMatched != 0 {
			continue
		}
		e, ok, err := j.buffer.entry(in, uint32(i))
		if err != nil {
			return err
		}
		if ok && e.time+side.late >= j.meta.emitted {
			x.due.push(dueRow{e.time + side.late, e.seq, in, uint32(i)})
		}
	}
	return nil
}

// sweep deletes some of what nothing matches any more, and counts what an
// inner side had in it without a partner.
func (x *joinExpiry) sweep(j *streamJoin) error {
	late := max(j.sides[leftSide].late, j.sides[rightSide].late)
	err := j.buffer.sweep(earlier(j.now, late), func(gone []joinSlot) {
		for i := range gone {
			if s := &gone[i]; s.flags&entryMatched == 0 && !j.sides[s.flags&entryRight].keep {
				j.task.Counters.Drop(j.spec.Policy.Operator, ReasonNoMatch)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("delete old records of join %s: %w", j.spec.Name, err)
	}
	return nil
}
