package model

import (
	"cmp"
	"slices"
)

// waiting is a record in a join of two streams. All are kept for ever, and looked
// through from the beginning every time.
type waiting struct {
	def      *definition
	join     int
	right    bool
	keys     []any
	null     bool // the key is
	env      env
	change   change
	deadline int64 // the last time, at the join, at which it can be joined
	matched  bool
	left     bool // it has left unmatched
}

// kept says that the join gives unmatched records of a side.
func (j *join) kept(right bool) bool { return j.kind == "outer" || j.kind == "left" && !right }

// late is how long behind its time a record can be joined.
func (b *bounds) late(right bool) int64 {
	if right {
		return b.before + b.grace
	}
	return b.after + b.grace
}

// hold is how long a join of streams holds records back at most.
func (j *join) hold() (ms int64) {
	if j.wait > 0 {
		return j.wait
	}
	for _, right := range []bool{false, true} {
		if j.bounds != nil && j.kept(right) {
			ms = max(ms, j.bounds.late(right)+1)
		}
	}
	return ms
}

// lagIn is how much later than the task's time runs where join number i of d
// is, and behind all of them for i = their number. What was held back comes late
// in the task behind a repartition too, so there it is the same.
func (m *Model) lagIn(d *definition, i int) (ms int64) {
	if i > 0 {
		return m.lagAt(d, i-1) + d.joins[i-1].hold()
	}
	for _, in := range d.inputs {
		ms = max(ms, m.lagOut(in))
	}
	return ms
}

// lagAt is lagIn at the join itself, of the later side.
func (m *Model) lagAt(d *definition, i int) int64 {
	ms := m.lagIn(d, i)
	if j := d.joins[i]; j.bounds != nil {
		ms = max(ms, m.lagOut(j.table))
	}
	return ms
}

// lagOut is how much later time runs behind a definition.
func (m *Model) lagOut(d *definition) int64 {
	if !d.derived() {
		return 0
	}
	return m.lagIn(d, len(d.joins)) + d.hold()
}

// joinRight takes a record of the right side of join number i.
func (m *Model) joinRight(d *definition, i int, c change) {
	j := d.joins[i]
	if c.null {
		m.drop(d, "null-value")
		return
	}
	w := &waiting{right: true, env: env{j.input.alias: {value: c.now, key: c.key}}}
	for _, cond := range j.on {
		v, err := cond.theirs.eval(w.env)
		if err != nil {
			m.refuse(d, c, "expression", err)
			return
		}
		w.keys, w.null = append(w.keys, v), w.null || v == nil
	}
	if w.null && !j.kept(true) {
		m.drop(d, "null-key")
		return
	}
	m.hop(RightHop(d.name, j.input.alias), c, joined(w.keys), func(c change) {
		w.change = c
		m.meet(d, i, w)
	})
}

// meet lets a record meet all of the other side that have come before it.
func (m *Model) meet(d *definition, i int, w *waiting) {
	j := d.joins[i]
	w.def, w.join = d, i
	w.change.lag = m.lagAt(d, i)
	w.deadline = w.change.time + j.bounds.late(w.right)
	if w.null {
		m.unmatched(w)
		return
	}
	now := m.now(w.change)
	if w.deadline < now {
		m.drop(d, "late")
		return
	}
	var partners []*waiting
	for _, o := range m.waiting {
		if o.def == d && o.join == i && o.right != w.right && canon(o.keys) == canon(w.keys) && o.deadline >= now && j.bounds.near(o, w) {
			partners = append(partners, o)
		}
	}
	slices.SortStableFunc(partners, func(a, b *waiting) int { return cmp.Compare(a.change.time, b.change.time) })
	for _, o := range partners {
		w.matched, o.matched = true, true
		l, r := o, w
		if w.right == o.right || !w.right {
			l, r = w, o
		}
		m.pair(d, i, l, r)
	}
	m.waiting = append(m.waiting, w)
}

// near says whether two records lie within the bounds.
func (b *bounds) near(x, y *waiting) bool {
	if x.right {
		x, y = y, x
	}
	return x.change.time-b.before <= y.change.time && y.change.time <= x.change.time+b.after
}

// pair hands on two records that belong together.
func (m *Model) pair(d *definition, i int, l, r *waiting) {
	f := flow{change: l.change, now: l.env.with(d.joins[i].input.alias, r.env[d.joins[i].input.alias])}
	f.lag = l.change.lag + d.joins[i].hold()
	f.time = max(l.change.time, r.change.time)
	m.join(d, i+1, f)
}

// unmatched hands on a record that has found none.
func (m *Model) unmatched(w *waiting) {
	d, j := w.def, w.def.joins[w.join]
	f := flow{change: w.change, now: w.env.with(j.input.alias, binding{blank: j.table.blank()})}
	if w.right {
		f.now = w.env
		for _, alias := range d.aliases()[:w.join+1] {
			f.now = f.now.with(alias, binding{})
		}
	}
	f.lag += j.hold()
	m.join(d, w.join+1, f)
}

// dueJoins lists the unmatched records of a task with the times when they leave.
func (m *Model) dueJoins(at place) (list []due) {
	for _, w := range m.waiting {
		j := w.def.joins[w.join]
		if w.change.at != at || w.matched || w.left || !j.kept(w.right) {
			continue
		}
		list = append(list, due{w.deadline + 1 + w.change.lag, w.def.rank, func() {
			w.left = true
			m.unmatched(w)
		}})
	}
	return list
}
