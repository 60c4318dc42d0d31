package operators

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/value"
)

// cells are the aggregates of one group: a slot for each, which is what
// expressions read, and an accumulator for those of which a value is not all
// there is to know. They belong to the row of the group.
type cells struct {
	slots []value.Value
	accs  []accumulator // nil when no aggregate has one
}

// freshCells makes the cells of a group that has no records in slots, one per
// aggregate.
func freshCells(list []Aggregation, slots []value.Value) cells {
	c := cells{slots: slots}
	for i := range list {
		acc := list[i].accumulator()
		switch {
		case acc != nil:
			if c.accs == nil {
				c.accs = make([]accumulator, len(list))
			}
			c.accs[i], slots[i] = acc, acc.result()
		case list[i].Kind == Count:
			slots[i] = value.OfInt(0)
		default:
			slots[i] = value.NullV()
		}
	}
	return c
}

// aggregator takes records into the cells of groups, those of aggregate and
// window alike: read evaluates the arguments of a record, then add or undo
// brings them into the cells of one group or of several, and settle the slots
// up to date. One per operator and task.
type aggregator struct {
	list []Aggregation
	args [][]value.Value
	skip []bool // by aggregate: the record has no part in it
	next []value.Value
}

func newAggregator(list []Aggregation) *aggregator {
	a := &aggregator{list: list, skip: make([]bool, len(list)), next: make([]value.Value, len(list))}
	for i := range list {
		a.args = append(a.args, make([]value.Value, len(list[i].Args)))
	}
	return a
}

// read evaluates the arguments of a record. An error is one of the record's.
func (a *aggregator) read(f *expr.Frame) error {
	for i := range a.list {
		g, args := &a.list[i], a.args[i]
		for j, p := range g.Args {
			v, err := p.Eval(f)
			if err != nil {
				return err
			}
			args[j] = v
		}
		var err error
		if a.skip[i], err = g.valid(args); err != nil {
			return err
		}
	}
	return nil
}

// add takes the record last read into c: into all aggregates or, when one
// refuses it, into none. Slots of accumulators are only right after settle.
func (a *aggregator) add(c *cells, time int64) error {
	for i := range a.list {
		if a.skip[i] {
			a.next[i] = c.slots[i]
			continue
		}
		if c.accs != nil && c.accs[i] != nil {
			if err := c.accs[i].room(a.args[i]); err != nil {
				return err
			}
			continue
		}
		v, err := a.list[i].add(c.slots[i], a.args[i])
		if err != nil {
			return err
		}
		if v.Text != "" && v.Text != c.slots[i].Text {
			v = v.Clone() // it points into the record
		}
		a.next[i] = v
	}
	if c.accs == nil {
		copy(c.slots, a.next)
		return nil
	}
	for i, acc := range c.accs {
		switch {
		case acc == nil:
			c.slots[i] = a.next[i]
		case !a.skip[i]:
			acc.add(a.args[i], time)
		}
	}
	return nil
}

// undo takes the record last read out of c, which it is in.
func (a *aggregator) undo(c *cells) error {
	for i := range a.list {
		switch {
		case a.skip[i]:
		case c.accs != nil && c.accs[i] != nil:
			c.accs[i].undo(a.args[i])
		default: // a count: nothing else is undone without an accumulator
			v, err := value.Sub(c.slots[i], value.OfInt(1))
			if err != nil {
				return err
			}
			c.slots[i] = v
		}
	}
	return nil
}

// merge takes all that later has taken in into c: as if c had seen its records
// too, after its own.
func (a *aggregator) merge(c, later *cells) error {
	for i := range a.list {
		switch {
		case c.accs != nil && c.accs[i] != nil:
			c.accs[i].merge(later.accs[i])
		case a.list[i].Kind == Count || a.list[i].Kind == Sum && !c.slots[i].IsNull() && !later.slots[i].IsNull():
			v, err := value.Add(c.slots[i], later.slots[i])
			if err != nil {
				return err
			}
			c.slots[i] = v
		case !later.slots[i].IsNull():
			v, err := a.list[i].add(c.slots[i], later.slots[i:i+1])
			if err != nil {
				return err
			}
			c.slots[i] = v
		}
	}
	return nil
}

// settle brings the slots up to date. An error says that an aggregate has no
// right value: its slot is then an Invalid.
func (c *cells) settle() (err error) {
	for i, acc := range c.accs {
		if acc == nil {
			continue
		}
		c.slots[i] = acc.result()
		if e := c.slots[i].Err(); e != nil && err == nil {
			err = &fault{ReasonExpression, e}
		}
	}
	return err
}

// invalid says whether one of slots, those of c or older ones, has no right value.
func (c *cells) invalid(slots []value.Value) bool {
	if c.accs == nil {
		return false
	}
	for i := range slots {
		if slots[i].Kind == value.Invalid {
			return true
		}
	}
	return false
}

// appendTo appends the cells as a JSON array.
func (c *cells) appendTo(dst []byte) []byte {
	dst = append(dst, '[')
	for i, v := range c.slots {
		if i > 0 {
			dst = append(dst, ',')
		}
		if c.accs != nil && c.accs[i] != nil {
			dst = c.accs[i].appendState(dst)
		} else {
			dst = value.AppendJSON(dst, v)
		}
	}
	return append(dst, ']')
}

// decode fills fresh cells from what appendTo wrote. Aggregates that it does not
// have yet, at the end, stay as those of a group without records. The slots
// keep parts of stored.
func (c *cells) decode(list []Aggregation, stored []byte) error {
	v, err := value.ParseJSON(stored)
	if err != nil {
		return err
	}
	items := v.Expand()
	for i := range list {
		v := items.Index(i)
		switch {
		case v.IsNull():
		case c.accs != nil && c.accs[i] != nil:
			if err := c.accs[i].decode(v); err != nil {
				return fmt.Errorf("decode %s: %w", list[i].Kind, err)
			}
		case list[i].Kind == Sum && v.IsList(): // its argument was not known to be an int
			var s sumAccumulator
			if err := s.decode(v); err != nil {
				return fmt.Errorf("decode sum: %w", err)
			}
			c.slots[i] = s.result()
		default:
			c.slots[i] = v
		}
	}
	_ = c.settle() // an Invalid tells those who read it
	return nil
}

// memory estimates what the cells hold beside their slots' own, in bytes.
func (c *cells) memory() int {
	size := 16 * len(c.accs)
	for i := range c.slots {
		size += len(c.slots[i].Text)
	}
	for _, acc := range c.accs {
		if acc != nil {
			size += acc.memory()
		}
	}
	return size
}
