package model

import (
	"errors"
	"fmt"
	"slices"
)

var errNullKey = errors.New("the key is null")

// flow is a row on its way through a definition: what the aliases stand for
// now and, of a change of a table, stood for before. nil = there is, or was, no row.
type flow struct {
	change
	now, before env
}

// query takes a change of input number of into a derived definition.
func (m *Model) query(d *definition, of int, c change) {
	alias := d.from[of].alias
	f := flow{change: c}
	if c.has || !c.isChange {
		f.now = env{alias: {value: c.now, key: c.key}}
	}
	if c.had {
		f.before = env{alias: {value: c.before, key: c.key}}
	}
	if d.unnest != nil {
		m.elements(d, f)
		return
	}
	m.begin(d, f)
}

// begin is where, as far as it is decided here, and what comes behind it.
func (m *Model) begin(d *definition, f flow) {
	if d.where != nil && !d.whereLate && !m.filter(d, &f) {
		return
	}
	m.join(d, 0, f)
}

// elements makes one record of every element of a list.
func (m *Model) elements(d *definition, f flow) {
	if f.null {
		m.drop(d, "null-value")
		return
	}
	v, err := d.unnest.list.eval(f.now)
	list, ok := v.([]any)
	switch {
	case err != nil || v != nil && !ok:
		m.refuse(d, f.change, "expression", err)
		return
	case len(list) == 0:
		m.drop(d, "empty-list")
		return
	}
	for i, item := range list {
		g := f
		g.now = f.now.with(d.unnest.alias, binding{value: item}).with(d.unnest.alias+"_index", binding{value: int64(i)})
		m.begin(d, g)
	}
}

// filter decides where; false = nothing is left.
func (m *Model) filter(d *definition, f *flow) bool {
	for _, e := range []*env{&f.now, &f.before} {
		if *e == nil {
			continue
		}
		holds, err := d.where.holds(*e)
		if err != nil && !m.without(d, f, e, err) {
			return false
		}
		if !holds {
			*e = nil
		}
	}
	return f.now != nil || f.before != nil
}

// without is a row that an error has: of facts it is dropped; of a table's changes
// there is no such version of the row, so that the one before it goes. That the one
// before had an error has been told when it came.
func (m *Model) without(d *definition, f *flow, e *env, cause error) (goesOn bool) {
	if !f.isChange || e == &f.now {
		m.refuse(d, f.change, "expression", cause)
	}
	*e = nil
	return f.isChange && m.err == nil
}

// join looks up the rows of join number i and those behind it, then goes on.
func (m *Model) join(d *definition, i int, f flow) {
	if i == len(d.joins) {
		if d.where != nil && d.whereLate && !m.filter(d, &f) {
			return
		}
		if d.dedup != nil {
			m.first(d, f)
			return
		}
		if d.match != nil {
			m.search(d, f)
			return
		}
		m.shape(d, f)
		return
	}
	j := d.joins[i]
	if f.null {
		m.drop(d, "null-value")
		return
	}
	if _, hops := m.layout.Hops[Hop(d.name, j.input.alias)]; j.wait > 0 && !hops {
		m.wait(d, i, f) // where it lies: what it is joined by is looked at when it goes on
		return
	}
	keys, null, ok := m.joinKeys(d, j, f)
	if !ok {
		return
	}
	m.hop(Hop(d.name, j.input.alias), f.change, joined(keys), func(c change) {
		f.change = c
		if j.bounds != nil {
			m.meet(d, i, &waiting{keys: keys, null: null, env: f.now, change: c})
			return
		}
		if j.wait > 0 {
			m.wait(d, i, f)
			return
		}
		m.found(d, i, f, keys, null)
	})
}

// joinKeys is what a record is joined by; a null matches nothing, and ends it in an inner join.
func (m *Model) joinKeys(d *definition, j *join, f flow) (keys []any, null, ok bool) {
	keys, null, err := j.keys(f.now)
	switch {
	case err != nil:
		m.refuse(d, f.change, "expression", err)
		return nil, false, false
	case null && j.kind == "inner":
		m.drop(d, "null-key")
		return nil, true, false
	}
	return keys, null, true
}

// found joins a record with the row that its keys name.
func (m *Model) found(d *definition, i int, f flow, keys []any, null bool) {
	j := d.joins[i]
	{
		var found *row
		if !null {
			found = m.lookUp(j, keys)
			if j.asOf {
				found = m.lookBack(j, keys, f)
			}
		}
		if found == nil && j.kind == "inner" {
			m.drop(d, "no-match")
			return
		}
		b := binding{blank: j.table.blank()}
		if found != nil {
			b = binding{value: found.value, key: found.key}
		}
		f.now = f.now.with(j.input.alias, b)
		m.join(d, i+1, f)
	}
}

// joined is a key of its components.
func joined(keys []any) any {
	if len(keys) == 1 {
		return keys[0]
	}
	return keys
}

// keys evaluates our side of a join's equalities.
func (j *join) keys(e env) (keys []any, null bool, err error) {
	for _, c := range j.on {
		v, err := c.ours.eval(e)
		if err != nil {
			return nil, false, err
		}
		keys = append(keys, v)
		null = null || v == nil
	}
	return keys, null, nil
}

// lookUp finds the row for which all equalities hold: by looking at all.
func (m *Model) lookUp(j *join, keys []any) *row {
	for _, r := range m.tables[j.table].all() {
		matches := true
		for i, c := range j.on {
			v, err := c.theirs.eval(env{j.input.alias: {value: r.value, key: r.key}})
			matches = matches && err == nil && v != nil && equal(v, keys[i])
		}
		if matches {
			return r
		}
	}
	return nil
}

// shape is select, or group_by.
func (m *Model) shape(d *definition, f flow) {
	switch {
	case len(d.groups) > 0:
		m.aggregate(d, f)
		return
	case d.isTable():
		m.materialise(d, f)
		return
	}
	c := change{at: f.at, time: f.time, key: f.key, isChange: f.isChange, null: f.null, lag: f.lag, origin: f.origin}
	for _, e := range []*env{&f.now, &f.before} {
		if *e == nil {
			continue
		}
		row, err := d.project(*e)
		switch {
		case err == nil && e == &f.now:
			c.now, c.has = row, true
		case err == nil:
			c.before, c.had = row, true
		case !m.without(d, &f, e, err):
			return
		}
	}
	if c.isChange && !c.has && !c.had {
		return
	}
	m.publish(d, c)
}

// project evaluates select.
func (d *definition) project(e env) (any, error) {
	out := object{}
	for _, c := range d.columns {
		if c.expr != nil {
			v, err := (&scope{env: e}).plain(c.expr.node)
			if err != nil {
				return nil, err
			}
			out[c.name] = v
			continue
		}
		for _, alias := range d.aliases() {
			b, ok := e[alias]
			if !ok || c.spread != "*" && c.spread != alias {
				continue
			}
			if c.spread == "*" && d.match != nil {
				out[matchedKeys] = e[matchedKeys].value
			}
			if len(d.columns) == 1 && len(e) == 1 && len(c.except) == 0 {
				return b.value, nil // as it is
			}
			row := b.value
			if row == nil && b.blank != nil {
				row = b.blank
			}
			if err := spread(out, row, c.except); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// aliases lists the aliases in the order in which they are given.
func (d *definition) aliases() []string {
	list := []string{d.from[0].alias}
	if d.unnest != nil {
		list = append(list, d.unnest.alias)
	}
	for _, j := range d.joins {
		list = append(list, j.input.alias)
	}
	return list
}

func spread(out object, v any, except []string) error {
	switch v := v.(type) {
	case nil:
		return nil
	case object:
		for name, member := range v {
			if !slices.Contains(except, name) {
				out[name] = member
			}
		}
		return nil
	}
	return fmt.Errorf("%s has no fields", canon(v))
}

// blank is what a spread gives of a row that was not found: of a table by
// group_by, whose fields are all named, nulls; of any other one nothing.
func (d *definition) blank() object {
	if len(d.groups) == 0 {
		return nil
	}
	out := object{}
	for _, c := range d.columns {
		if c.expr != nil {
			out[c.name] = nil
			continue
		}
		for _, g := range d.groups {
			if g.name != "" {
				out[g.name] = nil
			}
		}
	}
	return out
}
