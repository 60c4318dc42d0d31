package operators_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"streamctl/operators"
)

// windowed is a pipeline that counts and sums by key and window.
func windowed(window, more string) string {
	return `
pipeline: p
sources:
  views: {topic: views, fields: {n: int}, key_format: string}
tables:
  counts:
    from: views v
    group_by: {who: v.key}
    window: ` + window + `
    select: ['*', {c: count()}, {s: sum(v.n)}, {from: window.start}, {to: window.end}]
` + more + `
sinks:
  out: {from: counts, topic: out}
`
}

const finalOnly = "    emit: final\n"

// feedAt is a record of a script: key, event time and value.
type feedAt struct {
	key  string
	time int64
	n    int64
}

func (f feedAt) to(r *rig, topic string) {
	r.produce(topic, f.key, fmt.Sprintf(`{"n":%d}`, f.n), f.time)
}

// runWindows runs a script in one partition, record by record. reopen says behind
// which record all tasks begin anew; -1 = never.
func runWindows(t *testing.T, src string, script []feedAt, reopen int) *rig {
	t.Helper()
	r := newRig(t, src, map[string]int{"views": 1, "out": 1})
	for i, f := range script {
		f.to(r, "views")
		r.mustRun()
		if i == reopen {
			r.reopen()
		}
	}
	return r
}

// atEveryRestart runs a script as it is and with a restart behind each of its
// records: all must give the same.
func atEveryRestart(t *testing.T, src string, script []feedAt, want ...string) *rig {
	t.Helper()
	r := runWindows(t, src, script, -1)
	expect(t, "out", r.show("out"), want...)
	for i := range script {
		again := runWindows(t, src, script, i)
		if got := again.show("out"); !slices.Equal(got, r.show("out")) {
			t.Errorf("with a restart behind record %d:\n got  %s\n want %s", i, strings.Join(got, "\n      "), strings.Join(r.show("out"), "\n      "))
		}
		if got := again.drops(); !slices.Equal(got, r.drops()) {
			t.Errorf("with a restart behind record %d: drops %v, want %v", i, got, r.drops())
		}
	}
	return r
}

// rowsOf counts what the state of a table holds, over all tasks.
func (r *rig) rowsOf(table string) int {
	r.t.Helper()
	n := 0
	for _, t := range r.tasks {
		if s := t.tc.Tables[table]; s != nil {
			n += countRows(r.t, s)
		}
	}
	return n
}

func TestTumblingWindow(t *testing.T) {
	script := []feedAt{
		{"a", 1000, 1}, {"a", 1999, 2}, // the last moment of the first window
		{"b", 1500, 5},
		{"a", 2000, 3}, // the first of the next
		{"a", 1999, 9}, // late: the window has closed with the record before
		{"a", 5000, 4}, // nothing in between
	}
	r := atEveryRestart(t, windowed("{tumbling: 1s}", ""), script,
		`0 ["a",1000] {"who":"a","c":1,"s":1,"from":1000,"to":2000} @1000`,
		`0 ["a",1000] {"who":"a","c":2,"s":3,"from":1000,"to":2000} @1999`,
		`0 ["b",1000] {"who":"b","c":1,"s":5,"from":1000,"to":2000} @1500`,
		`0 ["a",2000] {"who":"a","c":1,"s":3,"from":2000,"to":3000} @2000`,
		`0 ["a",5000] {"who":"a","c":1,"s":4,"from":5000,"to":6000} @5000`,
	)
	expect(t, "drops", r.drops(), "counts late 1")
	if n := r.rowsOf("counts"); n != 1 {
		t.Errorf("%d rows are left, want the open window's", n)
	}
}

func TestGraceOfAWindow(t *testing.T) {
	script := []feedAt{
		{"a", 1000, 1},
		{"a", 2099, 1}, // 1 ms before the window closes
		{"a", 1500, 1}, // in time
		{"a", 2100, 1}, // end + grace: closed
		{"a", 1500, 1}, // late
		{"a", 2000, 1}, // the next one is open
	}
	r := atEveryRestart(t, windowed("{tumbling: 1s, grace: 100ms}", ""), script,
		`0 ["a",1000] {"who":"a","c":1,"s":1,"from":1000,"to":2000} @1000`,
		`0 ["a",2000] {"who":"a","c":1,"s":1,"from":2000,"to":3000} @2099`,
		`0 ["a",1000] {"who":"a","c":2,"s":2,"from":1000,"to":2000} @1500`,
		`0 ["a",2000] {"who":"a","c":2,"s":2,"from":2000,"to":3000} @2100`,
		`0 ["a",2000] {"who":"a","c":3,"s":3,"from":2000,"to":3000} @2100`,
	)
	expect(t, "drops", r.drops(), "counts late 1")
}

func TestFinalWindows(t *testing.T) {
	script := []feedAt{
		{"b", 1100, 1}, {"a", 1000, 1}, {"a", 1999, 2},
		{"a", 2500, 3}, {"b", 3500, 1}, {"a", 3100, 1},
		{"c", 99_000, 1}, // a jump over many windows
	}
	atEveryRestart(t, windowed("{tumbling: 1s}", finalOnly), script,
		`0 ["a",1000] {"who":"a","c":2,"s":3,"from":1000,"to":2000} @1999`,
		`0 ["b",1000] {"who":"b","c":1,"s":1,"from":1000,"to":2000} @1100`,
		`0 ["a",2000] {"who":"a","c":1,"s":3,"from":2000,"to":3000} @2500`,
		`0 ["a",3000] {"who":"a","c":1,"s":1,"from":3000,"to":4000} @3100`,
		`0 ["b",3000] {"who":"b","c":1,"s":1,"from":3000,"to":4000} @3500`,
	)
}

func TestHoppingWindow(t *testing.T) {
	script := []feedAt{
		{"a", 1000, 1}, // in [0, 2000) and [1000, 3000)
		{"a", 2000, 2}, // in [1000, 3000) and [2000, 4000); closes [0, 2000)
		{"a", 1500, 4}, // of its windows one is open
		{"a", 3000, 8},
		{"a", 1999, 16}, // late
	}
	r := atEveryRestart(t, windowed("{hopping: 2s, every: 1s}", ""), script,
		`0 ["a",0] {"who":"a","c":1,"s":1,"from":0,"to":2000} @1000`,
		`0 ["a",1000] {"who":"a","c":1,"s":1,"from":1000,"to":3000} @1000`,
		`0 ["a",1000] {"who":"a","c":2,"s":3,"from":1000,"to":3000} @2000`,
		`0 ["a",2000] {"who":"a","c":1,"s":2,"from":2000,"to":4000} @2000`,
		`0 ["a",1000] {"who":"a","c":3,"s":7,"from":1000,"to":3000} @2000`,
		`0 ["a",2000] {"who":"a","c":2,"s":10,"from":2000,"to":4000} @3000`,
		`0 ["a",3000] {"who":"a","c":1,"s":8,"from":3000,"to":5000} @3000`,
	)
	expect(t, "drops", r.drops(), "counts late 1")
}

// A record that one of its windows cannot take changes none of them.
func TestHoppingWindowTakesARecordWhollyOrNot(t *testing.T) {
	src := windowed("{hopping: 2s, every: 1s}", "    on_error: skip\n")
	script := []feedAt{{"a", 1000, 9_000_000_000_000_000_000}, {"a", 2000, 1}, {"a", 2500, 9_000_000_000_000_000_000}, {"a", 2500, 2}}
	r := atEveryRestart(t, src, script,
		`0 ["a",0] {"who":"a","c":1,"s":9000000000000000000,"from":0,"to":2000} @1000`,
		`0 ["a",1000] {"who":"a","c":1,"s":9000000000000000000,"from":1000,"to":3000} @1000`,
		`0 ["a",1000] {"who":"a","c":2,"s":9000000000000000001,"from":1000,"to":3000} @2000`,
		`0 ["a",2000] {"who":"a","c":1,"s":1,"from":2000,"to":4000} @2000`,
		`0 ["a",1000] {"who":"a","c":3,"s":9000000000000000003,"from":1000,"to":3000} @2500`,
		`0 ["a",2000] {"who":"a","c":2,"s":3,"from":2000,"to":4000} @2500`,
	)
	expect(t, "drops", r.drops(), "counts expression 1")
}

func TestLateRecordsAsDeadLetters(t *testing.T) {
	script := []feedAt{{"a", 1000, 1}, {"a", 5000, 1}, {"a", 1000, 2}}
	r := runWindows(t, windowed("{tumbling: 1s, late: dead_letter}", ""), script, -1)
	expect(t, "drops", r.drops(), "counts late 1")
	letters := r.topics["p.dead-letters"][0]
	if len(letters) != 1 || string(letters[0].Value) != `{"n":2}` || string(letters[0].Key) != "a" || letters[0].Time != 1000 {
		t.Fatalf("dead letters: %v", letters)
	}
	for _, h := range letters[0].Headers {
		if h.Key == operators.HeaderReason && string(h.Value) == operators.ReasonLate {
			return
		}
	}
	t.Errorf("the dead letter does not say why: %v", letters[0].Headers)
}

func TestNullsInWindows(t *testing.T) {
	r := newRig(t, windowed("{session: 1s}", ""), map[string]int{"views": 1, "out": 1})
	r.produce("views", "a", "-", 1000)
	r.produce("views", "-", `{"n":1}`, 1000)
	r.mustRun()
	expect(t, "out", r.show("out"))
	expect(t, "drops", r.drops(), "counts null-key 1", "counts null-value 1")
}

func TestSessionWindow(t *testing.T) {
	script := []feedAt{
		{"a", 10_000, 1},
		{"a", 11_000, 2},  // the gap is part of it
		{"a", 12_001, 4},  // one more is not: another session
		{"b", 10_500, 1},  // another key
		{"a", 9_500, 8},   // before the first: its start, and so its key, changes; it is open by grace
		{"a", 11_500, 16}, // between the two: one session
		{"a", 20_000, 1},
		{"a", 12_002, 1}, // late
	}
	r := atEveryRestart(t, windowed("{session: 1s, grace: 5s}", ""), script,
		`0 ["a",10000] {"who":"a","c":1,"s":1,"from":10000,"to":10000} @10000`,
		`0 ["a",10000] {"who":"a","c":2,"s":3,"from":10000,"to":11000} @11000`,
		`0 ["a",12001] {"who":"a","c":1,"s":4,"from":12001,"to":12001} @12001`,
		`0 ["b",10500] {"who":"b","c":1,"s":1,"from":10500,"to":10500} @10500`,
		`0 ["a",10000] - @11000`,
		`0 ["a",9500] {"who":"a","c":3,"s":11,"from":9500,"to":11000} @11000`,
		`0 ["a",12001] - @12001`,
		`0 ["a",9500] {"who":"a","c":5,"s":31,"from":9500,"to":12001} @12001`,
		`0 ["a",20000] {"who":"a","c":1,"s":1,"from":20000,"to":20000} @20000`,
	)
	expect(t, "drops", r.drops(), "counts late 1")
	if n := r.rowsOf("counts"); n != 2 { // the session, and its place in the order of time
		t.Errorf("%d rows are left, want 2", n)
	}
}

func TestBordersOfASession(t *testing.T) {
	atEveryRestart(t, windowed("{session: 1s}", finalOnly), []feedAt{
		{"a", 1000, 1}, {"b", 1500, 1},
		{"a", 2000, 2},                 // stream time is end + gap: still open
		{"b", 2501, 1},                 // b's first session closed with this very record
		{"c", 3000, 1}, {"c", 3001, 1}, // a closes with the second
		{"d", 90_000, 1},
	},
		`0 ["b",1500] {"who":"b","c":1,"s":1,"from":1500,"to":1500} @1500`,
		`0 ["a",1000] {"who":"a","c":2,"s":3,"from":1000,"to":2000} @2000`,
		`0 ["b",2501] {"who":"b","c":1,"s":1,"from":2501,"to":2501} @2501`,
		`0 ["c",3000] {"who":"c","c":2,"s":2,"from":3000,"to":3001} @3001`,
	)
}

func TestSlidingWindow(t *testing.T) {
	script := []feedAt{
		{"a", 10_000, 1},
		{"a", 11_000, 2}, // the window behind the first; both ends of its own are inclusive
		{"a", 11_001, 4}, // the first is out of reach
	}
	atEveryRestart(t, windowed("{sliding: 1s}", ""), script,
		`0 ["a",9000] {"who":"a","c":1,"s":1,"from":9000,"to":10000} @10000`,
		`0 ["a",10000] {"who":"a","c":2,"s":3,"from":10000,"to":11000} @11000`,
		`0 ["a",10001] {"who":"a","c":1,"s":2,"from":10001,"to":11001} @11000`,
		`0 ["a",10001] {"who":"a","c":2,"s":6,"from":10001,"to":11001} @11001`,
		`0 ["a",11001] {"who":"a","c":1,"s":4,"from":11001,"to":12001} @11001`,
	)
}
