package operators

import (
	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/state"
)

// expires lets groups expire that get no records any more.
func (a *aggregate) expires() {
	out, in := a.task.event(), new(record.Record)
	x := newExpiry(a.task, a.table, a.spec.TTL)
	x.timeOf = groupTime
	x.expire = func(key []byte) error {
		stored, err := a.table.Get(key)
		if stored == nil || err != nil {
			return err
		}
		group, err := a.spec.groupRow(a.table, stored)
		if err != nil {
			return err
		}
		x.begin(out, in, group.time)
		return a.expire(out, key, group)
	}
	a.expiry = x
}

// expire deletes a group and tells those behind, as far as they know of it.
func (a *aggregate) expire(e *Event, key []byte, group *groupRow) error {
	if err := a.table.Delete(key); err != nil {
		return err
	}
	old := group.row
	if group.told != nil {
		if old = group.told.row; !group.told.there {
			return nil
		}
	}
	if group.cells.invalid(old.Slots[a.spec.Keys:]) {
		return nil
	}
	none := value.Row{Slots: make([]value.Value, len(old.Slots))}
	copy(none.Slots, old.Slots[:a.spec.Keys])
	e.Change, e.Delete, e.Before = true, true, &a.before
	e.Frame.Rows[a.spec.Row] = &none
	a.before.Rows[a.spec.Row], a.before.Now = &old, e.Frame.Now
	return a.next.Process(e)
}

// admit says whether a record may be taken into a group: one that would be over
// at once is not begun, which counts.
func (a *aggregate) admit(group *groupRow, stored *state.Row, key []byte) bool {
	if stored == nil && a.expiry.past(group.time) {
		a.task.Counters.Drop(a.spec.Policy.Operator, ReasonExpired)
		return false
	}
	if stored == nil { // later its time only grows
		a.expiry.touch(key, group.time)
	}
	return true
}
