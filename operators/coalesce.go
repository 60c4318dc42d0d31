package operators

import (
	"encoding/binary"
	"fmt"

	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/state"
)

// emit: {every: ...} sends of each group that has changed its last state, as
// often as the wall clock says. What is still to be sent is part of the row: a
// row that has changed since it was told holds what was told too. So it is
// committed with the change itself, and neither a crash nor a move loses it or
// sends it twice.

// told is the row of a group as those behind know it, when it has changed since.
type told struct {
	there bool // false: they know of no row
	row   value.Row
}

// appendTo appends the aggregates as they were told, null = nothing was.
func (t *told) appendTo(dst []byte, keys int) []byte {
	if !t.there {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i, v := range t.row.Slots[keys:] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendKept(dst, v)
	}
	return append(dst, ']')
}

// decodeTold reads a row that is still to be told.
func (g *Groups) decodeTold(row *groupRow, stored []byte) error {
	v, err := value.ParseJSON(stored)
	if err != nil {
		return err
	}
	now, was := v.Get("now"), v.Get("told")
	if !now.IsList() {
		return fmt.Errorf("%s is no row of a group", v.Short())
	}
	row.told = &told{}
	row.told.row.Slots = make([]value.Value, len(row.row.Slots))
	copy(row.told.row.Slots, row.row.Slots)
	if !was.IsNull() {
		row.told.there = true
		items := was.Expand()
		for i := range g.Aggregations {
			if v := items.Index(i); v.Kind != value.Absent {
				row.told.row.Slots[g.Keys+i] = parseKept(v)
			}
		}
	}
	return row.cells.decode(g.Aggregations, []byte(now.Text))
}

// known is the row that those behind have been told, nil when they know of none.
func (g *groupRow) known() *value.Row {
	switch {
	case g.told == nil:
		return &g.row
	case g.told.there:
		return &g.told.row
	}
	return nil
}

// pending is what an aggregate has still to tell.
type pending struct {
	event *Event
	in    record.Record
	keys  []string // of the rows to tell, in the order in which they changed
	spare []*told
	// found says that the rows have been found that were to be told when the task
	// began to run.
	found bool
	buf   []byte
}

// coalesce asks for the clock.
func (a *aggregate) coalesce() {
	a.pending.event = a.task.event()
	a.task.Timers.OnStart(func(int64) error { // with whatever state there is then
		a.pending.keys, a.pending.found = nil, false
		return nil
	})
	a.task.Timers.OnWallClock(WallTimer{Every: a.spec.Every, Fire: a.fire})
}

// later remembers that a group is to be told.
func (a *aggregate) later(group *groupRow, stored *state.Row, key []byte, wrong error) error {
	if group.told == nil {
		t := &told{}
		if n := len(a.pending.spare); n > 0 {
			t, a.pending.spare = a.pending.spare[n-1], a.pending.spare[:n-1]
		}
		t.there = stored != nil && !group.cells.invalid(a.old.Slots[a.spec.Keys:])
		t.row.Slots = append(t.row.Slots[:0], a.old.Slots...)
		group.told = t
	}
	if err := a.store(group, stored, key); err != nil {
		return err
	}
	if !group.listed {
		group.listed = true
		if stored != nil {
			a.pending.keys = append(a.pending.keys, stored.Key())
		} else {
			a.pending.keys = append(a.pending.keys, string(key))
		}
	}
	return wrong
}

// fire tells all groups that have changed.
func (a *aggregate) fire(int64) error {
	p := &a.pending
	if !p.found {
		if err := a.find(); err != nil {
			return err
		}
	}
	for i, key := range p.keys {
		if err := a.tellKey(key); err != nil {
			p.keys = append(p.keys[:0], p.keys[i:]...) // the rest stays to be told
			return err
		}
	}
	clear(p.keys)
	p.keys = p.keys[:0]
	return nil
}

// find lists the rows that were to be told when the task began to run here.
func (a *aggregate) find() error {
	err := a.table.Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
		if group, ok := row.Decoded.(*groupRow); ok {
			if group.told == nil || group.listed {
				return true, nil
			}
			group.listed = true
		} else if _, n := binary.Varint(row.Value); n <= 0 || n >= len(row.Value) || row.Value[n] != '{' {
			return true, nil
		}
		a.pending.keys = append(a.pending.keys, string(key))
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("find rows of table %s that are to be sent: %w", a.spec.Name, err)
	}
	a.pending.found = true
	return nil
}

// tellKey tells the row of a key, if it is still to be told.
func (a *aggregate) tellKey(key string) error {
	p := &a.pending
	p.buf = append(p.buf[:0], key...)
	stored, err := a.table.Get(p.buf)
	if stored == nil || err != nil {
		return err
	}
	group, err := a.spec.groupRow(a.table, stored)
	if err != nil {
		return err
	}
	group.listed = false
	was := group.told
	if was == nil {
		return nil
	}
	group.told = nil
	if err := a.store(group, stored, p.buf); err != nil {
		return err
	}
	// There is no record that this answers: what goes wrong shows the group.
	p.in = record.Record{Key: p.buf, Time: group.time}
	e := p.event
	e.In, e.Time = &p.in, group.time
	e.Origin.Topic, e.Origin.Partition, e.Origin.Offset = a.table.Changelog(), a.task.Partition, -1
	a.task.begin(e)
	err = a.tell(e, group, &was.row, was.there)
	clear(was.row.Slots)
	p.spare = append(p.spare, was)
	return err
}
