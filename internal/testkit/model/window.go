package model

import (
	"cmp"
	"slices"

	"streamctl/internal/syntax"
)

// window is `window:` with `emit:`, in ms. Windows of a grid are [start, end);
// sessions and sliding windows have both ends in them.
type window struct {
	kind        string // tumbling | hopping | session | sliding
	size, every int64
	offset      int64
	grace       int64
	final       bool
	latePolicy  string    // drop | dead_letter | the name of a stream
	calendar    *calendar // nil = ms since the epoch
}

func readWindow(n, emit *syntax.Node) *window {
	if n == nil {
		return nil
	}
	w := &window{final: textOf(emit) == "final", grace: duration(textOf(n.Get("grace"))), offset: duration(textOf(n.Get("offset")))}
	w.latePolicy = textOf(n.Get("late"))
	for _, kind := range []string{"tumbling", "hopping", "session", "sliding"} {
		if size := n.Get(kind); size != nil {
			w.kind = kind
			if w.calendar = readCalendar(n, size.Value); w.calendar != nil {
				return w
			}
			w.size = duration(size.Value)
		}
	}
	w.every = w.size
	if every := n.Get("every"); every != nil {
		w.every = duration(every.Value)
	}
	return w
}

// hold is how long a definition holds its rows back, beside its joins.
func (d *definition) hold() int64 {
	switch w := d.window; {
	case w == nil || !w.final:
		return 0
	case w.calendar != nil:
		return w.calendar.longest() + w.grace
	case w.kind == "tumbling" || w.kind == "hopping":
		return w.size + w.grace
	default:
		return w.size + 1 + w.grace
	}
}

// closing is the stream time at which a window [start, end] is closed.
func (w *window) closing(end int64) int64 {
	switch w.kind {
	case "session":
		end += w.size + 1 // until then, a record may come that belongs to it
	case "sliding":
		end++
	}
	return end + w.grace
}

// windows are the windows of one group in its task.
type windows struct {
	parts []any
	at    place
	lag   int64
	taken []member // all records that were not late
	open  []*oneWindow
}

// oneWindow is a window that has not closed.
type oneWindow struct {
	start, end int64
	row        any // nil = nothing has been told of it
	time       int64
}

// toWindows takes a record into the windows of its group.
func (m *Model) toWindows(d *definition, parts []any, f flow) {
	t := m.tables[d]
	g := t.windows[canon(parts)]
	if g == nil {
		g = &windows{parts: parts, at: f.at, lag: m.lagIn(d, len(d.joins))}
		t.windows[canon(parts)] = g
	}
	f.lag = g.lag
	now := m.now(f.change)
	if d.window.late(g, f.time, now) {
		m.tooLate(d, f)
		return
	}
	before := g.taken
	g.taken = append(slices.Clone(before), member{env: f.now, time: f.time})
	g.reach(d.window, now)
	was := g.open
	fresh := d.window.cut(g, now)
	for _, w := range fresh {
		for _, o := range was {
			if o.start == w.start {
				w.row, w.time = o.row, o.time
			}
		}
	}
	told, err := d.tellWindows(g, fresh, f.time)
	if err != nil {
		g.taken = before
		m.refuse(d, f.change, "expression", err)
		return
	}
	g.open = fresh
	if d.window.final {
		return
	}
	for _, o := range was { // a session that has become part of another one
		if !slices.ContainsFunc(fresh, func(w *oneWindow) bool { return w.start == o.start }) && o.row != nil {
			m.publish(d, change{at: f.at, origin: f.origin, lag: g.lag, time: max(f.time, o.time), key: g.key(o), isChange: true, before: o.row, had: true})
		}
	}
	for _, u := range told {
		m.publish(d, u(f))
	}
}

// tooLate is a record whose windows are all closed.
func (m *Model) tooLate(d *definition, f flow) {
	m.drop(d, "late")
	switch policy := d.window.latePolicy; policy {
	case "", "drop":
	case "dead_letter":
		m.letter(d, "late", f.change)
	default:
		m.publish(m.find(policy), f.change)
	}
}

// key is that of a window's row.
func (g *windows) key(w *oneWindow) any { return append(slices.Clone(g.parts), w.start) }

// tellWindows computes the windows that a record at t has changed, and gives what is to be told.
func (d *definition) tellWindows(g *windows, fresh []*oneWindow, t int64) (told []func(flow) change, err error) {
	for _, w := range fresh {
		if w.row != nil && (t < w.start || t > w.end || d.window.grid() && t == w.end) {
			continue
		}
		row, time, err := d.windowRow(g, w)
		if err != nil {
			return nil, err
		}
		old := w.row
		w.row, w.time = row, time
		told = append(told, func(f flow) change {
			return change{at: f.at, origin: f.origin, lag: g.lag, time: time, key: g.key(w), isChange: true, now: row, has: row != nil, before: old, had: old != nil}
		})
	}
	return told, nil
}

func (w *window) grid() bool { return w.kind == "tumbling" || w.kind == "hopping" }

// windowRow computes a window's row from its records.
func (d *definition) windowRow(g *windows, w *oneWindow) (row any, time int64, err error) {
	state := &groupState{key: joined(g.parts), parts: g.parts, window: object{"start": w.start, "end": w.end}}
	for i, r := range g.taken {
		if r.time >= w.start && (r.time < w.end || r.time == w.end && !d.window.grid()) {
			state.members = append(state.members, r)
			if time = max(time, r.time); i == 0 {
				time = r.time
			}
		}
	}
	row, err = d.rowOf(state)
	return row, time, err
}

// late says that all windows are closed that a record at t could be in.
func (w *window) late(g *windows, t, now int64) bool {
	switch w.kind {
	case "session":
		for _, o := range g.open {
			if o.start-w.size <= t && t <= o.end+w.size && w.closing(o.end) > now {
				return false
			}
		}
		return w.closing(t) <= now
	case "sliding":
		return w.closing(t+w.size) <= now
	}
	for _, o := range w.around(t) {
		if w.closing(o.end) > now {
			return false
		}
	}
	return true
}

// around are the windows of the grid that t lies in.
func (w *window) around(t int64) (list []*oneWindow) {
	if w.calendar != nil {
		return w.calendar.around(t)
	}
	shift := w.offset % w.every
	last := t - ((t-shift)%w.every+w.every)%w.every
	for start := last; start > t-w.size; start -= w.every {
		list = append(list, &oneWindow{start: start, end: start + w.size})
	}
	slices.Reverse(list)
	return list
}

// reach forgets the records of sessions that have closed: nothing joins them any more.
func (g *windows) reach(w *window, now int64) {
	if w.kind != "session" {
		return
	}
	g.open = slices.DeleteFunc(slices.Clone(g.open), func(o *oneWindow) bool {
		closed := w.closing(o.end) <= now
		if closed {
			g.taken = slices.DeleteFunc(g.taken, func(r member) bool { return o.start <= r.time && r.time <= o.end })
		}
		return closed
	})
}

// cut gives the windows of a group that hold records and are open.
func (w *window) cut(g *windows, now int64) (list []*oneWindow) {
	var times []int64
	for _, r := range g.taken {
		times = append(times, r.time)
	}
	slices.Sort(times)
	times = slices.Compact(times)
	add := func(start, end int64) {
		if w.closing(end) > now && !slices.ContainsFunc(list, func(o *oneWindow) bool { return o.start == start }) {
			list = append(list, &oneWindow{start: start, end: end})
		}
	}
	for i, t := range times {
		switch w.kind {
		case "session":
			if last := len(list) - 1; last >= 0 && list[last].end+w.size >= t {
				list[last].end = t
			} else {
				list = append(list, &oneWindow{start: t, end: t})
			}
		case "sliding":
			add(t-w.size, t)
			if i+1 < len(times) && times[i+1] <= t+1+w.size {
				add(t+1, t+1+w.size)
			}
		default:
			for _, o := range w.around(t) {
				add(o.start, o.end)
			}
		}
	}
	slices.SortFunc(list, func(a, b *oneWindow) int { return cmp.Compare(a.start, b.start) })
	return list
}

// dueWindows lists the windows of a task that are open, with the times when they close.
func (m *Model) dueWindows(at place) (list []due) {
	for _, d := range m.order {
		if d.window == nil {
			continue
		}
		t := m.tables[d]
		var ids []string
		for id := range t.windows {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			g := t.windows[id]
			if g.at != at {
				continue
			}
			for _, w := range g.open {
				list = append(list, due{d.window.closing(w.end) + g.lag, d.rank, func() { m.closeWindow(d, g, w) }})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b due) int { return cmp.Compare(a.at, b.at) })
	return list
}

// closeWindow ends a window: one that is given once is given now.
func (m *Model) closeWindow(d *definition, g *windows, w *oneWindow) {
	if d.window.kind == "session" {
		g.reach(d.window, d.window.closing(w.end))
	}
	g.open = slices.DeleteFunc(slices.Clone(g.open), func(o *oneWindow) bool { return o == w })
	if d.window.final && w.row != nil {
		m.publish(d, change{at: g.at, lag: g.lag + d.hold(), time: w.time, key: g.key(w), isChange: true, now: w.row, has: true})
	}
}
