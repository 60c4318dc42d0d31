package model

import (
	"maps"
	"slices"
	"strings"
)

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
	keys := s.keys(c.key)
	type result struct {
		env   env
		times []int64
	}
	before := map[string]result{}
	for _, key := range keys {
		e, times, _ := m.combine(d, s, key, of)
		before[canon(key)] = result{e, times}
	}
	for i, alias := range d.aliases() {
		if d.reads(i) != of {
			continue
		}
		delete(s[alias].rows, canon(c.key))
		if c.has {
			s[alias].rows[canon(c.key)] = &row{key: c.key, value: c.now, time: c.time}
		}
	}
	for _, key := range keys {
		was := before[canon(key)]
		f := flow{change: c, before: was.env}
		var times []int64
		f.now, times, _ = m.combine(d, s, key, of)
		if !m.involved(d, of, c.key, was.env) && !m.involved(d, of, c.key, f.now) {
			continue
		}
		if f.now == nil {
			times = was.times
		}
		f.key, f.time = key, slices.Max(append(times, c.time))
		if d.where != nil && !m.filter(d, &f) {
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

// keys lists the keys of all rows there are, and one more.
func (s sides) keys(more any) []any {
	all := map[string]any{canon(more): more}
	for _, t := range s {
		for id, r := range t.rows {
			all[id] = r.key
		}
	}
	var keys []any
	for _, id := range slices.Sorted(maps.Keys(all)) {
		keys = append(keys, all[id])
	}
	return keys
}

// involved says that a row of a table is in a result.
func (m *Model) involved(d *definition, of *definition, key any, e env) bool {
	for i, alias := range d.aliases() {
		if b := e[alias]; d.reads(i) == of && b.key != nil && canon(b.key) == canon(key) {
			return true
		}
	}
	return false
}

// combine is the row of the join for a key: what the aliases stand for, nil =
// there is none, and the times of the rows in it that are not of the table except.
func (m *Model) combine(d *definition, s sides, key any, except *definition) (e env, times []int64, there bool) {
	e = env{}
	take := func(i int, r *row) {
		alias := d.aliases()[i]
		if r == nil {
			e[alias] = binding{}
			if !d.byForeignKey(i) { // through the answers of a foreign key a row comes as it is
				e[alias] = binding{blank: d.reads(i).blank()}
			}
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
		r := m.partner(j, s[j.input.alias], e, key, there)
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

// byForeignKey says that what alias number i stands for is asked for: behind a foreign
// key all is.
func (d *definition) byForeignKey(i int) bool {
	for _, j := range d.joins[:i] {
		for _, c := range j.on {
			key, _, _ := strings.Cut(c.ours.node.String(), "[")
			if !strings.HasSuffix(key, ".key") && !d.inputs[0].hasKey(key, d.from[0].alias) {
				return true
			}
		}
	}
	return false
}

// hasKey says that an expression over a row under an alias is what makes the key of a
// table, or a component of it.
func (d *definition) hasKey(text, alias string) bool {
	if d.key == nil {
		return false
	}
	components := strings.Split(strings.Trim(d.key.node.String(), "[]"), ", ")
	return slices.Contains(components, "value."+strings.TrimPrefix(text, alias+"."))
}

// partner is the row of a table that belongs to what is joined before it: of a
// join by the key that with this key, of one by a foreign key that which it names.
func (m *Model) partner(j *join, t *table, e env, key any, there bool) *row {
	if !there {
		return t.rows[canon(key)]
	}
	ours, null, err := j.keys(e)
	if err == nil && null && j.kind == "outer" {
		return t.rows[canon(key)] // the side that on names is missing
	}
	for _, r := range t.all() {
		matches := err == nil && !null
		for i, c := range j.on {
			v, err := c.theirs.eval(env{j.input.alias: {value: r.value, key: r.key}})
			matches = matches && err == nil && v != nil && equal(v, ours[i])
		}
		if matches {
			return r
		}
	}
	return nil
}

// materialise keeps the changes of a table as a table, or brings them to its top.
func (m *Model) materialise(d *definition, f flow) {
	var value any
	if f.now != nil {
		var err error
		if value, err = d.project(f.now); err != nil && !m.without(d, &f, &f.now, err) {
			return
		}
	}
	if d.top == nil {
		m.set(d, f, f.key, value, f.time)
		return
	}
	m.rank(d, f, value)
}
