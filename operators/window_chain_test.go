package operators_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What a window gives out when it closes belongs to the window behind it that is
// open by then, although the record that closed the first has closed the second, too.
func TestWindowsBehindWindows(t *testing.T) {
	src := `
pipeline: p
sources:
  views: {topic: views, fields: {n: int}}
tables:
  seconds:
    from: views v
    group_by: {who: v.key}
    window: {tumbling: 1s}
    emit: final
    select: ['*', {c: count()}]
  minutes:
    from: seconds s
    group_by: {who: s.who}
    window: {tumbling: 1m}
    emit: final
    select: ['*', {seconds: count()}, {c: sum(s.c)}, {most: max(s.c)}]
sinks:
  out: {from: minutes, topic: out}
`
	script := []feedAt{
		{"a", 0, 1}, {"a", 100, 1}, {"a", 1000, 1}, {"b", 59_999, 1}, {"a", 59_999, 1},
		{"a", 60_000, 1}, // closes the last second of the first minute, and may not lose it
		{"a", 200_000, 1},
		{"a", 600_000, 1},
	}
	// The first minute closes when nothing of it can still come out of a second.
	atEveryRestart(t, src, script,
		`0 ["a",0] {"who":"a","seconds":3,"c":4,"most":2} @59999`,
		`0 ["b",0] {"who":"b","seconds":1,"c":1,"most":1} @59999`,
		`0 ["a",60000] {"who":"a","seconds":1,"c":1,"most":1} @60000`,
		`0 ["a",180000] {"who":"a","seconds":1,"c":1,"most":1} @200000`,
	)
}

// sumsOfSeconds counts by seconds, and sums the counts in tumbling windows of another key.
func sumsOfSeconds(size string) string {
	return `
pipeline: p
sources:
  views: {topic: views, fields: {n: int}}
tables:
  seconds:
    from: views v
    group_by: {who: v.key, n: v.n}
    window: {tumbling: 1s}
    emit: final
    select: ['*', {c: count()}]
  sums:
    from: seconds s
    group_by: {n: s.n}
    window: {tumbling: ` + size + `}
    emit: final
    select: ['*', {c: sum(s.c)}, {from: window.start}]
sinks:
  out: {from: sums, topic: out}
`
}

// A window behind a partition of its own takes what comes there by the time of the rows.
func TestWindowsBehindWindowsOfAnotherKey(t *testing.T) {
	r := newRig(t, sumsOfSeconds("10s"), map[string]int{"views": 1, "out": 1})
	for i := range 40 {
		for _, who := range []string{"a", "b"} {
			feedAt{who, int64(i) * 500, int64(i % 2)}.to(r, "views")
		}
	}
	r.mustRun()
	expect(t, "out", r.show("out"),
		`0 [0,0] {"n":0,"c":20,"from":0} @9000`,
		`0 [1,0] {"n":1,"c":20,"from":0} @9500`,
	)
	expect(t, "drops", r.drops())
}

// Rows of windows that close together have different times. What stands behind a
// partition of its own does not take those for late that come behind later ones.
func TestShortWindowsBehindLongOnesOfAnotherKey(t *testing.T) {
	r := newRig(t, sumsOfSeconds("100ms"), map[string]int{"views": 1, "out": 1})
	for _, f := range []feedAt{{"a", 900, 1}, {"b", 100, 1}, {"c", 1500, 1}, {"c", 9000, 1}, {"c", 20_000, 1}} {
		f.to(r, "views")
		r.mustRun()
	}
	expect(t, "out", r.show("out"),
		`0 [1,100] {"n":1,"c":1,"from":100} @100`,
		`0 [1,900] {"n":1,"c":1,"from":900} @900`,
		`0 [1,1500] {"n":1,"c":1,"from":1500} @1500`,
	)
	expect(t, "drops", r.drops())
}

// Windows that are given once become records, for which there is what there is for records.
func TestFinalWindowsAsRecords(t *testing.T) {
	src := `
pipeline: p
sources:
  views: {topic: views, fields: {n: int}}
  asks: {topic: asks, fields: {who: string}}
tables:
  seconds:
    from: views v
    group_by: {who: v.key}
    window: {tumbling: 1s}
    emit: final
    select: [{who: who}, {c: count()}]
streams:
  facts: {from: seconds s, unnest: '[{who: s.who, c: s.c}] as r', select: [r.*]}
  all: {from: [facts, asks]}
  first: {from: facts f, dedup: {by: f.who, within: 1m}}
  near: {from: asks a, join: [{left: facts f, on: a.who == f.who, within: 10s}], select: [{who: a.who}, {c: f.c}]}
sinks:
  out_all: {from: all, topic: all, key: who}
  out_first: {from: first, topic: first, key: who}
  out_near: {from: near, topic: near, key: who}
`
	script := []func(*rig){
		func(r *rig) { feedAt{"a", 1000, 1}.to(r, "views") },
		func(r *rig) { feedAt{"a", 1500, 1}.to(r, "views") },
		func(r *rig) { feedAt{"a", 2000, 1}.to(r, "views") },
		func(r *rig) { r.produce("asks", "x", `{"who":"a"}`, 2500) },
		func(r *rig) { r.produce("asks", "x", `{"who":"b"}`, 2600) },
		func(r *rig) { feedAt{"c", 3100, 1}.to(r, "views"); r.produce("asks", "x", `{"who":"c"}`, 3200) },
		func(r *rig) { feedAt{"d", 4500, 1}.to(r, "views") },
		func(r *rig) { feedAt{"d", 30_000, 1}.to(r, "views"); r.produce("asks", "x", `{"who":"d"}`, 30_000) },
	}
	for restart := -1; restart < len(script); restart++ {
		r := newRig(t, src, map[string]int{"views": 1, "asks": 1, "all": 1, "first": 1, "near": 1})
		for i, step := range script {
			step(r)
			r.mustRun()
			if i == restart {
				r.reopen()
			}
		}
		when := fmt.Sprint(" with a restart behind ", restart)
		expect(t, "facts among all"+when, matching(r.show("all"), `"c":`), `0 a {"who":"a","c":2} @1500`, `0 a {"who":"a","c":1} @2000`, `0 c {"who":"c","c":1} @3100`, `0 d {"who":"d","c":1} @4500`)
		expect(t, "first"+when, r.show("first"), `0 a {"who":"a","c":2} @1500`, `0 c {"who":"c","c":1} @3100`, `0 d {"who":"d","c":1} @4500`)
		expect(t, "near"+when, r.show("near"), `0 a {"who":"a","c":2} @2500`, `0 a {"who":"a","c":1} @2500`, `0 c {"who":"c","c":1} @3200`, `0 b {"who":"b","c":null} @2600`)
	}
}

// matching are the lines that have part in them.
func matching(lines []string, part string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, part) })
}

// Groups over the rows of windows take back what a window was.
func TestGroupsOverWindows(t *testing.T) {
	src := `
pipeline: p
sources:
  views: {topic: views, fields: {n: int}}
tables:
  sessions:
    from: views v
    group_by: {who: v.key}
    window: {session: 1s, grace: 10s}
    select: ['*', {c: count()}]
  lengths:
    from: sessions s
    group_by: {views: s.c}
    select: ['*', {sessions: count()}]
sinks:
  out: {from: lengths, topic: out}
`
	r := newRig(t, src, map[string]int{"views": 1, "out": 1})
	for _, f := range []feedAt{
		{"a", 1000, 1}, // one session of one view
		{"b", 1000, 1}, // two
		{"a", 3000, 1}, // three
		{"a", 2000, 1}, // two of them are one of three views
		{"c", 60_000, 1},
	} {
		f.to(r, "views")
		r.mustRun()
	}
	expect(t, "out", r.show("out"),
		`0 1 {"views":1,"sessions":1} @1000`,
		`0 1 {"views":1,"sessions":2} @1000`,
		`0 1 {"views":1,"sessions":3} @3000`,
		`0 1 {"views":1,"sessions":2} @3000`,
		`0 1 {"views":1,"sessions":1} @3000`,
		`0 3 {"views":3,"sessions":1} @3000`,
		`0 1 {"views":1,"sessions":2} @60000`,
	)
}

// having over windows retracts, and with emit: final decides once.
func TestHavingOverWindows(t *testing.T) {
	having := "    having: s > 5\n"
	script := []feedAt{{"a", 1000, 4}, {"a", 1001, 2}, {"a", 1002, -3}, {"a", 1003, 9}, {"b", 1004, 1}, {"a", 9000, 1}}
	atEveryRestart(t, windowed("{tumbling: 1s}", having), script,
		`0 ["a",1000] {"who":"a","c":2,"s":6,"from":1000,"to":2000} @1001`,
		`0 ["a",1000] - @1002`,
		`0 ["a",1000] {"who":"a","c":4,"s":12,"from":1000,"to":2000} @1003`,
	)
	atEveryRestart(t, windowed("{tumbling: 1s}", having+finalOnly), script,
		`0 ["a",1000] {"who":"a","c":4,"s":12,"from":1000,"to":2000} @1003`,
	)
}

// State and changelog do not grow with time: over 1000 windows, and many keys that
// never come again, what is left is that of the windows that are open.
func TestStateOfClosedWindowsIsGone(t *testing.T) {
	for kind, window := range map[string]string{
		"tumbling": "{tumbling: 1s}", "hopping": "{hopping: 4s, every: 1s}", "session": "{session: 500ms}", "sliding": "{sliding: 1s}",
	} {
		for _, emit := range []string{"", finalOnly} {
			r := newRig(t, windowed(window, emit), map[string]int{"views": 1, "out": 1})
			most, rows := 0, 0
			for i := range 1000 {
				for k := range 3 {
					feedAt{fmt.Sprintf("k%d", k), int64(i) * 1000, 1}.to(r, "views")
				}
				feedAt{fmt.Sprintf("once%d", i), int64(i) * 1000, 1}.to(r, "views")
				r.mustRun()
				if i%100 == 99 {
					r.reopen() // writes the changelog
				}
				if i%20 == 19 {
					rows = r.rowsOf("counts")
					most = max(most, rows)
				}
			}
			// Of each second four keys, and no more than those of the last few seconds.
			if most > 40 || rows == 0 {
				t.Errorf("%s windows%s: the state has up to %d rows", kind, emit, most)
			}
			live := r.liveKeys("counts")
			if live > 40 || live == 0 {
				t.Errorf("%s windows%s: the changelog has %d live keys", kind, emit, live)
			}
		}
	}
}

// Late records are a stream that others read; that it exists changes nothing for the windows.
func TestStreamOfLateRecords(t *testing.T) {
	for _, grouped := range []string{"v.key", "v.n"} { // as they lie, and through a repartition
		src := `
pipeline: p
sources:
  views: {topic: views, fields: {n: int}}
tables:
  counts:
    from: views v
    where: v.n > 0
    group_by: {k: ` + grouped + `}
    window: {tumbling: 1s, late: stragglers}
    select: [{c: count()}]
streams:
  many:
    from: stragglers l
    where: l.n > 1
    select: [{late: l.n}]
sinks:
  out: {from: counts, topic: out}
  late: {from: stragglers, topic: late}
  big: {from: many, topic: big, key: late}
`
		r := newRig(t, src, map[string]int{"views": 1, "out": 1, "late": 1, "big": 1})
		for _, f := range []feedAt{{"a", 1000, 1}, {"a", 5000, 1}, {"a", 1500, 2}, {"a", 1600, 0}, {"b", 1700, 1}, {"a", 5500, 1}} {
			f.to(r, "views")
		}
		r.mustRun()
		if n := len(r.show("out")); n != 3 {
			t.Errorf("by %s: %d updates, want 3: %v", grouped, n, r.show("out"))
		}
		expect(t, "late", r.show("late"), `0 a {"n":2} @1500`, `0 b {"n":1} @1700`)
		expect(t, "big", r.show("big"), `0 2 {"late":2} @1500`)
		expect(t, "drops", r.drops(), "counts late 2")
	}
}
