package model

// dedup is `dedup:`.
type dedup struct {
	by     *expression
	within int64 // ms
}

// passed is a record that was handed on.
type passed struct {
	key  string
	time int64
}

// DedupHop names the repartition before a dedup.
func DedupHop(definition string) string { return definition + "/dedup/" }

// first hands a record on unless one of its key was that lies near it in time.
func (m *Model) first(d *definition, f flow) {
	if f.null {
		m.drop(d, "null-value")
		return
	}
	key, err := d.dedup.by.eval(f.now)
	if b, ok := key.(binding); ok {
		key = b.value
	}
	if err != nil {
		m.refuse(d, f.change, "expression", err)
		return
	}
	m.hop(DedupHop(d.name), f.change, key, func(c change) {
		f.change = c
		if nullKey(key) {
			m.shape(d, f)
			return
		}
		for _, p := range m.seen[d] {
			near := max(p.time-f.time, f.time-p.time) <= d.dedup.within
			if near && p.key == canon(key) && m.now(f.change) <= p.time+2*d.dedup.within {
				m.drop(d, "duplicate")
				return
			}
		}
		m.seen[d] = append(m.seen[d], passed{canon(key), f.time})
		m.shape(d, f)
	})
}
