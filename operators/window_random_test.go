package operators_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The models of this file keep every record that was not late and compute windows
// from them anew each time: slow, and as the definitions say it.

// windowModel is a kind of window.
type windowModel struct {
	kind        string
	size, every int64 // of sessions, size is the gap
	grace       int64
	final       bool

	now  int64
	kept map[string][]feedAt // per key, as they came
	rows map[modelWindow]modelRow
	shut map[modelWindow]bool // closed, and given out where that is wanted
	late int
	out  []string
}

type modelWindow struct {
	key        string
	start, end int64
}

type modelRow struct {
	count, sum, time int64
}

func (m *windowModel) clause() string {
	grace := ""
	if m.grace > 0 {
		grace = fmt.Sprintf(", grace: %dms", m.grace)
	}
	if m.kind == "hopping" {
		grace += fmt.Sprintf(", every: %dms", m.every)
	}
	return fmt.Sprintf("{%s: %dms%s}", m.kind, m.size, grace)
}

// closesAt is the stream time from which on a window is closed.
func (m *windowModel) closesAt(w modelWindow) int64 {
	switch m.kind {
	case "session":
		return w.end + m.size + 1 + m.grace
	case "sliding":
		return w.end + 1 + m.grace
	}
	return w.end + m.grace
}

func (m *windowModel) open(w modelWindow) bool { return m.closesAt(w) > m.now }

func (m *windowModel) take(f feedAt) {
	m.now = max(m.now, f.time)
	m.close()
	if !m.accepts(f) {
		m.late++
		return
	}
	m.kept[f.key] = append(m.kept[f.key], f)
	was := m.rows
	m.rows = map[modelWindow]modelRow{}
	for key := range m.kept {
		for w, row := range m.windows(key) {
			if m.shut[w] = m.shut[w] || !m.open(w); !m.shut[w] { // it may be closed from the first
				m.rows[w] = row
			}
		}
	}
	if !m.final {
		m.tell(was, f)
	}
}

// accepts says whether a window that f belongs to is open.
func (m *windowModel) accepts(f feedAt) bool {
	switch m.kind {
	case "sliding":
		return m.open(modelWindow{f.key, f.time, f.time + m.size})
	case "session":
		if m.open(modelWindow{f.key, f.time, f.time}) {
			return true
		}
		for w := range m.rows {
			if w.key == f.key && w.start-m.size <= f.time && f.time <= w.end+m.size {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc(m.cover(f), m.open)
}

// cover lists the windows of a grid that f lies in.
func (m *windowModel) cover(f feedAt) (all []modelWindow) {
	for start := f.time - m.size + 1; start <= f.time; start++ {
		if math.Mod(float64(start), float64(m.every)) == 0 {
			all = append(all, modelWindow{f.key, start, start + m.size})
		}
	}
	return all
}

// windows computes all windows of a key, those with what they held when they closed.
func (m *windowModel) windows(key string) map[modelWindow]modelRow {
	out := map[modelWindow]modelRow{}
	add := func(w modelWindow, f feedAt) {
		row := out[w]
		out[w] = modelRow{row.count + 1, row.sum + f.n, max(row.time, f.time)}
	}
	records := m.kept[key]
	switch m.kind {
	case "sliding":
		for _, f := range records {
			for _, start := range []int64{f.time - m.size, f.time + 1} {
				w := modelWindow{key, start, start + m.size}
				if _, done := out[w]; done {
					continue
				}
				for _, g := range records {
					if w.start <= g.time && g.time <= w.end {
						add(w, g)
					}
				}
			}
		}
	case "session":
		sorted := slices.Clone(records)
		slices.SortStableFunc(sorted, func(a, b feedAt) int { return cmp.Compare(a.time, b.time) })
		for from := 0; from < len(sorted); {
			to := from + 1
			for to < len(sorted) && sorted[to].time-sorted[to-1].time <= m.size {
				to++
			}
			w := modelWindow{key, sorted[from].time, sorted[to-1].time}
			for _, f := range sorted[from:to] {
				add(w, f)
			}
			from = to
		}
	default:
		for _, f := range records {
			for _, w := range m.cover(f) {
				add(w, f)
			}
		}
	}
	return out
}

// close gives out what stream time has closed.
func (m *windowModel) close() {
	var closed []modelWindow
	for w := range m.rows {
		if !m.open(w) {
			closed = append(closed, w)
		}
	}
	slices.SortFunc(closed, func(a, b modelWindow) int {
		return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.start, b.start), cmp.Compare(a.key, b.key))
	})
	for _, w := range closed {
		if m.final {
			m.line(w, m.rows[w])
		}
		m.shut[w] = true
		delete(m.rows, w)
		if m.kind == "session" { // its records are part of nothing any more
			m.kept[w.key] = slices.DeleteFunc(m.kept[w.key], func(f feedAt) bool { return w.start <= f.time && f.time <= w.end })
		}
	}
}

// tell lists what f has changed.
func (m *windowModel) tell(was map[modelWindow]modelRow, f feedAt) {
	var gone, changed []modelWindow
	for w := range was {
		if _, still := m.at(w); !still {
			gone = append(gone, w)
		}
	}
	for w, row := range m.rows {
		if was[w] != row && m.open(w) {
			changed = append(changed, w)
		}
	}
	byStart := func(a, b modelWindow) int { return cmp.Compare(a.start, b.start) }
	slices.SortFunc(gone, byStart)
	slices.SortFunc(changed, byStart)
	for _, w := range gone {
		m.out = append(m.out, fmt.Sprintf(`0 ["%s",%d] - @%d`, w.key, w.start, max(f.time, was[w].time)))
	}
	for _, w := range changed {
		m.line(w, m.rows[w])
	}
}

// at finds the window of the same key as w: a session that only ends later is the same.
func (m *windowModel) at(w modelWindow) (modelRow, bool) {
	for other, row := range m.rows {
		if other.key == w.key && other.start == w.start {
			return row, true
		}
	}
	return modelRow{}, false
}

func (m *windowModel) line(w modelWindow, row modelRow) {
	m.out = append(m.out, fmt.Sprintf(`0 ["%s",%d] {"who":"%s","c":%d,"s":%d,"from":%d,"to":%d} @%d`, w.key, w.start, w.key, row.count, row.sum, w.start, w.end, row.time))
}

func TestWindowsRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for n := range 400 {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		m := &windowModel{kind: []string{"tumbling", "hopping", "session", "sliding"}[n%4], size: 1 + r.Int64N(20), grace: r.Int64N(2) * r.Int64N(30), final: r.IntN(2) == 0, now: math.MinInt64,
			kept: map[string][]feedAt{}, rows: map[modelWindow]modelRow{}, shut: map[modelWindow]bool{}}
		m.every = m.size
		if m.kind == "hopping" {
			m.every = 1 + r.Int64N(m.size)
		}
		more := ""
		if m.final {
			more = finalOnly
		}
		rig := newRig(t, windowed(m.clause(), more), map[string]int{"views": 1, "out": 1})
		var script []feedAt
		now := int64(1000)
		for range 60 {
			switch r.IntN(10) {
			case 0:
				now += r.Int64N(100)
			case 1, 2, 3:
				now += r.Int64N(6)
			}
			f := feedAt{string('a' + rune(r.IntN(3))), now - r.Int64N(1+m.size+m.grace)*int64(r.IntN(2)), 1 + r.Int64N(100)}
			script = append(script, f)
			m.take(f)
			f.to(rig, "views")
			rig.mustRun()
			if r.IntN(8) == 0 {
				rig.reopen()
			}
		}
		if got := rig.show("out"); !slices.Equal(got, m.out) {
			at := 0
			for at < min(len(got), len(m.out)) && got[at] == m.out[at] {
				at++
			}
			t.Fatalf("case %d %s final=%v: from line %d on\n got  %s\n want %s\n of %v", n, m.clause(), m.final, at,
				strings.Join(got[at:min(at+4, len(got))], "\n      "), strings.Join(m.out[at:min(at+4, len(m.out))], "\n      "), script)
		}
		want := []string(nil)
		if m.late > 0 {
			want = []string{fmt.Sprintf("counts late %d", m.late)}
		}
		expect(t, "drops", rig.drops(), want...)
	}
}
