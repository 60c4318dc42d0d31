package model

import "slices"

// sides are the rows of the tables that a definition joins, by alias: as their
// changes have told it so far.
type sides map[string]*table

// joinTables takes a change of one of the tables that d joins: what the join
// gave for the key before becomes what it gives now.
func (m *Model) joinTables(d *definition, of *definition, c change) {
	s := m.sides[d]
	if s == nil {
		s = sides{}
		for _, alias := range d.aliases() {
			s[alias] = newTable()
		}
		m.sides[d] = s
	}
	keys := m.touched(d, s, of, c)
	before := make([]env, len(keys))
	var others []int64
	for i, key := range keys {
		var times []int64
		before[i], times, _ = m.combine(d, s, key, of)
		others = append(others, slices.Max(append(times, c.time)))
	}
	for i, alias := range d.aliases() {
		if d.reads(i) != of {
			continue
		}
		delete(s[alias].rows, canon(c.key))
		if c.has {
			s[alias].rows[canon(c.key)] = &row{c.key, c.now, c.time}
		}
	}
	for i, key := range keys {
		f := flow{change: c, before: before[i]}
		f.key, f.time = key, others[i]
		var times []int64
		if f.now, times, _ = m.combine(d, s, key, of); f.now != nil {
			f.time = slices.Max(append(times, c.time))
		}
		if f.now == nil && f.before == nil || d.where != nil && !m.filter(d, &f) {
			continue
		}
		m.shape(d, f)
	}
}

// reads is the definition behind alias number i.
func (d *definition) reads(i int) *definition {
	if i == 0 {
		return d.inputs[0]
	}
	return d.joins[i-1].table
}

// touched lists the keys of the rows of the join that a change may change.
func (m *Model) touched(_ *definition, _ sides, _ *definition, c change) []any { return []any{c.key} }

// combine is the row of the join for a key: what the aliases stand for, nil =
// there is none, and the times of the rows in it that are not of the table except.
func (m *Model) combine(d *definition, s sides, key any, except *definition) (e env, times []int64, there bool) {
	e = env{}
	take := func(i int, r *row) {
		alias := d.aliases()[i]
		if r == nil {
			e[alias] = binding{blank: d.reads(i).blank()}
			return
		}
		e[alias] = binding{value: r.value, key: r.key}
		if d.reads(i) != except {
			times = append(times, r.time)
		}
	}
	first := s[d.aliases()[0]].rows[canon(key)]
	there = first != nil
	take(0, first)
	for i, j := range d.joins {
		r := s[j.input.alias].rows[canon(key)]
		switch {
		case j.kind == "inner" && (r == nil || !there), j.kind == "left" && !there:
			there, times = false, nil
			for before := range i + 2 {
				take(before, nil)
			}
			continue
		case j.kind == "outer" && r != nil:
			there = true
		}
		take(i+1, r)
	}
	if !there {
		return nil, times, false
	}
	return e, times, true
}

// materialise keeps the changes of a table as a table, or brings them to its top.
func (m *Model) materialise(d *definition, f flow) {
	var value any
	if f.now != nil {
		var err error
		if value, err = d.project(f.now); err != nil {
			m.refuse(d, "expression", err)
			return
		}
	}
	if d.top == nil {
		m.set(d, f.at, f.key, value, f.time)
		return
	}
	m.rank(d, f, value)
}
