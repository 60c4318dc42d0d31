package model

// delayed is a record that waits until the rows of its time are there.
type delayed struct {
	def  *definition
	join int
	flow flow
	gone bool
}

// wait holds a record of an as_of join back until stream time is later by the
// join's grace; one that is already so late goes on at once.
func (m *Model) wait(d *definition, i int, f flow) {
	f.lag = m.lagAt(d, i)
	w := &delayed{def: d, join: i, flow: f}
	if m.now(f.change)-d.joins[i].wait >= f.time {
		m.goOn(w)
		return
	}
	m.delayed = append(m.delayed, w)
}

func (m *Model) goOn(w *delayed) {
	w.gone = true
	f := w.flow
	f.lag += w.def.joins[w.join].wait
	if keys, null, ok := m.joinKeys(w.def, w.def.joins[w.join], f); ok {
		m.found(w.def, w.join, f, keys, null)
	}
}

// dueDelayed lists the records of a task that wait, with the times when they go on.
func (m *Model) dueDelayed(at place) (list []due) {
	for _, w := range m.delayed {
		if w.flow.at == at && !w.gone {
			list = append(list, due{w.flow.time + w.def.joins[w.join].wait + w.flow.lag, w.def.rank, func() { m.goOn(w) }})
		}
	}
	return list
}

// lookBack finds the row as it was at a record's time; before the table's history
// there is none.
func (m *Model) lookBack(j *join, keys []any, f flow) *row {
	// For what was held back before, history ends as much earlier.
	if f.time < m.now(f.change)+j.wait-j.table.versioned {
		return nil
	}
	var last *row
	for _, versions := range m.tables[j.table].history {
		for _, r := range versions {
			matches := r.time <= f.time && (last == nil || r.time >= last.time)
			for i, c := range j.on {
				v, err := c.theirs.eval(env{j.input.alias: {value: r.value, key: r.key}})
				matches = matches && err == nil && v != nil && equal(v, keys[i])
			}
			if matches {
				last = r
			}
		}
	}
	if last == nil || last.value == nil {
		return nil
	}
	return last
}
