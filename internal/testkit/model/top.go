package model

import (
	"cmp"
	"slices"
)

// candidate is a row that may be among the first of its group.
type candidate struct {
	key, value any
	group, by  any
	time       int64
}

// rank takes a row into a table's top, or out of it, and tells what has changed
// among the first of each group.
func (m *Model) rank(d *definition, f flow, value any) {
	t := m.tables[d]
	if t.candidates == nil {
		t.candidates, t.shown = map[string]*candidate{}, map[string]int64{}
	}
	var fresh *candidate
	if value != nil {
		e := env{"": {value: value, key: f.key}}
		if len(d.columns) == 1 && d.columns[0].spread == "*" {
			e[d.from[0].alias] = e[""]
		}
		fresh = &candidate{key: f.key, value: value, time: f.time}
		var err error
		if fresh.by, err = d.top.by.eval(e); err == nil && d.top.per != nil {
			fresh.group, err = d.top.per.eval(e)
		}
		if err != nil {
			m.refuse(d, f.change, "expression", err)
			return
		}
		if d.top.per != nil && nullKey(fresh.group) {
			m.drop(d, "null-key")
			fresh = nil
		}
	}
	delete(t.candidates, canon(f.key))
	if fresh != nil {
		t.candidates[canon(f.key)] = fresh
	}
	m.showTop(d, f)
}

// showTop makes the table what its candidates say.
func (m *Model) showTop(d *definition, f flow) {
	if d.top.list != "" {
		m.showLists(d, f)
		return
	}
	t, want, own := m.tables[d], map[string]*row{}, map[string]int64{}
	for _, c := range t.candidates {
		place, rank := 0, 1 // of c among its group
		for _, o := range t.candidates {
			if canon(o.group) != canon(c.group) || o == c {
				continue
			}
			if d.top.better(o.by, c.by) {
				place++
				rank++
			} else if !d.top.better(c.by, o.by) && compareKeys(o.key, c.key) < 0 {
				place++
			}
		}
		if place >= d.top.n {
			continue
		}
		key := c.key
		if d.top.grouped {
			key = append(slices.Clone(asList(c.group)), asList(c.key)...)
		}
		value := object{}
		for name, v := range c.value.(object) {
			value[name] = v
		}
		value["rank"] = int64(rank)
		want[canon(key)] = &row{key: key, value: value, time: max(f.time, c.time)}
		own[canon(key)] = c.time
	}
	for id, r := range t.rows {
		if want[id] == nil {
			m.set(d, f, r.key, nil, max(f.time, t.shown[id]))
			delete(t.shown, id)
		}
	}
	for id, r := range want {
		if old := t.rows[id]; old == nil || !equal(old.value, r.value) {
			m.set(d, f, r.key, r.value, r.time)
		}
		t.shown[id] = own[id]
	}
}

// showLists makes the table one with a row per group: the list of its first rows.
func (m *Model) showLists(d *definition, f flow) {
	t, groups := m.tables[d], map[string][]*candidate{}
	for _, c := range t.candidates {
		groups[canon(c.group)] = append(groups[canon(c.group)], c)
	}
	for id, r := range t.rows {
		if len(groups[id]) == 0 {
			m.set(d, f, r.key, nil, max(f.time, t.shown[id]))
			delete(t.shown, id)
		}
	}
	for id, list := range groups {
		slices.SortFunc(list, func(a, b *candidate) int {
			switch {
			case d.top.better(a.by, b.by):
				return -1
			case d.top.better(b.by, a.by):
				return 1
			}
			return compareKeys(a.key, b.key)
		})
		first, time, was := []any{}, list[0].time, f.time
		if shown, ok := t.shown[id]; ok {
			was = max(was, shown)
		}
		for _, c := range list[:min(d.top.n, len(list))] {
			first, time = append(first, c.value), max(time, c.time)
		}
		t.shown[id] = time
		value := object{d.top.list: first}
		if old := t.rows[id]; old == nil || !equal(old.value, value) {
			m.set(d, f, list[0].group, value, max(time, was))
		}
	}
}

func asList(key any) []any {
	if list, ok := key.([]any); ok {
		return list
	}
	return []any{key}
}

// better says that a comes before b; nulls come last.
func (t *top) better(a, b any) bool {
	if a == nil || b == nil {
		return a != nil
	}
	sign := compareValues(a, b)
	return sign > 0 && !t.asc || sign < 0 && t.asc
}

func compareKeys(a, b any) int {
	x, y := asList(a), asList(b)
	for i := range min(len(x), len(y)) {
		if sign := compareValues(x[i], y[i]); sign != 0 {
			return sign
		}
	}
	return cmp.Compare(len(x), len(y))
}

// compareValues orders all values: bools, numbers, strings, then the rest by its text.
func compareValues(a, b any) int {
	family := func(v any) int {
		switch v.(type) {
		case bool:
			return 1
		case int64, float64:
			return 2
		case string:
			return 3
		}
		return 4
	}
	if x, y := family(a), family(b); x != y {
		return cmp.Compare(x, y)
	}
	if sign, ok := order(a, b); ok {
		return sign
	}
	return cmp.Compare(canon(a), canon(b))
}
