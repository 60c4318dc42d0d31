package model

import (
	"cmp"
	"maps"
	"slices"
)

// table is the rows of a table, by the canonical text of their keys.
type table struct {
	rows       map[string]*row
	groups     map[string]*groupState // of a table by group_by
	windows    map[string]*windows    // of a windowed table
	keys       map[string]any         // of a re-keyed table: the key that each record key had last
	history    map[string][]*row      // of a versioned table: all rows by key, in the order they came; nil values delete
	candidates map[string]*candidate  // of a top: all rows that come in, by their key
	shown      map[string]int64       // of a top: the times that its rows came with
}

type row struct {
	key, value any
	time       int64
	at         place
}

func newTable() *table {
	return &table{rows: map[string]*row{}, groups: map[string]*groupState{}, windows: map[string]*windows{}, history: map[string][]*row{}, keys: map[string]any{}}
}

// all lists the rows in the order of their keys.
func (t *table) all() []*row {
	var keys []string
	for k := range t.rows {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var rows []*row
	for _, k := range keys {
		rows = append(rows, t.rows[k])
	}
	return rows
}

// set changes a row, nil deletes it, and tells those who read the table. What
// was not there is not deleted.
func (m *Model) set(d *definition, f flow, key, value any, time int64) {
	t, at := m.tables[d], f.at
	if d.versioned > 0 {
		t.history[canon(key)] = append(t.history[canon(key)], &row{key, value, time, at})
		return
	}
	old := t.rows[canon(key)]
	if d.ttl > 0 && value != nil && time+d.ttl <= m.timeAt(d, at) {
		m.drop(d, "expired")
		value = nil
	}
	if value == nil && old == nil {
		return
	}
	c := change{at: at, origin: f.origin, time: time, key: key, isChange: true, now: value, has: value != nil}
	if old != nil {
		c.before, c.had = old.value, true
	}
	if value == nil {
		delete(t.rows, canon(key))
	} else {
		t.rows[canon(key)] = &row{key, value, time, at}
	}
	m.publish(d, c)
}

// takeInto brings a record of a topic into a source or table.
func (m *Model) takeInto(d *definition, r source) {
	raw := change{origin: r}
	var key, value any
	if r.Key != nil {
		key = string(r.Key)
	}
	if r.Value != nil {
		var err error
		if value, err = decode(r.Value); err != nil {
			m.refuse(d, raw, "invalid-value", err)
			return
		}
	}
	switch {
	case value == nil:
	case d.envelope == "old_new":
		value = value.(object)["new"]
	case d.envelope == "debezium":
		value = value.(object)["after"]
	}
	time := r.Time
	if d.timeOf != nil {
		at, err := d.timeOf.eval(env{"": {value: value, key: key}})
		ms, ok := at.(int64)
		switch {
		case at == nil && d.isTable() && value == nil: // a deletion has the record's own time
		case err != nil || !ok || ms < 0:
			m.refuse(d, raw, "invalid-timestamp", err)
			return
		default:
			time = ms
		}
	}
	at := place{m.layout.Sub[d.name], r.Partition}
	if d.kind == "source" {
		m.arrivals = append(m.arrivals, arrival{at: at, time: time, do: func() {
			m.publish(d, change{at: at, time: time, key: key, origin: r, now: value, null: value == nil})
		}})
		return
	}
	m.takeRow(d, raw, at, key, value, time)
}

// takeRow is a record of a table's topic: its row lies under the table's key.
func (m *Model) takeRow(d *definition, raw change, at place, recordKey, value any, time int64) {
	key, t := recordKey, m.tables[d]
	last, known := t.keys[canon(recordKey)]
	if d.key != nil {
		if value == nil && d.keyFromValue {
			if !known {
				return // nothing was there
			}
			key = last
		} else {
			var err error
			if key, err = d.key.eval(env{"": {value: value, key: recordKey}}); err != nil {
				m.refuse(d, raw, "expression", err)
				return
			}
		}
	}
	if nullKey(key) {
		m.refuse(d, raw, "null-key", errNullKey)
		return
	}
	if d.value != nil && value != nil {
		var err error
		if value, err = d.value.eval(env{"": {value: value, key: recordKey}}); err != nil {
			m.refuse(d, raw, "expression", err)
			return
		}
	}
	if d.queries != nil && value != nil {
		text, err := field(value, d.queries.field)
		if words, ok := text.(string); err == nil && ok {
			_, err = parseSearch(words)
		} else {
			err = errNoQuery
		}
		if err != nil { // the row has no query
			m.refuse(d, raw, "invalid-query", err)
		}
	}
	put := func(key, value any) {
		if m.layout.Partition != nil && d.key != nil {
			at.partition = m.layout.Partition(Hop(d.name, ""), []byte(keyText(key)))
		}
		to := at
		m.arrivals = append(m.arrivals, arrival{at: to, time: time, do: func() { m.set(d, flow{change: change{at: to, time: time, origin: raw.origin}}, key, value, time) }})
	}
	if d.keyFromValue {
		delete(t.keys, canon(recordKey))
		if value != nil {
			t.keys[canon(recordKey)] = key
		}
		if known && !equal(last, key) {
			put(last, nil)
		}
	}
	put(key, value)
}

// nullKey says that a key, or a component of it, is null.
func nullKey(key any) bool {
	parts, ok := key.([]any)
	return key == nil || ok && slices.Contains(parts, nil)
}

// timeAt is the stream time of a task as a definition sees it whose rows live for a time.
func (m *Model) timeAt(d *definition, at place) int64 {
	return m.task(at).streamTime - m.lagIn(d, len(d.joins))
}

// dueRows lists the rows of a task that live only for a time, with the times when they go.
func (m *Model) dueRows(at place) (list []due) {
	for _, d := range m.order {
		if d.ttl == 0 {
			continue
		}
		t := m.tables[d]
		rows := t.all()
		if len(d.groups) > 0 { // those too that having leaves out
			rows = nil
			for _, id := range slices.Sorted(maps.Keys(t.groups)) {
				rows = append(rows, &row{key: t.groups[id].key, time: t.groups[id].time, at: t.groups[id].at})
			}
		}
		for _, r := range rows {
			if r.at == at {
				list = append(list, due{r.time + d.ttl + m.lagIn(d, len(d.joins)), d.rank, func() {
					delete(t.groups, canon(asList(r.key)))
					m.set(d, flow{change: change{at: at}}, r.key, nil, r.time+d.ttl)
				}})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b due) int { return cmp.Compare(a.at, b.at) })
	return list
}
