package operators_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

const everyPipeline = `
pipeline: p
sources:
  views: {topic: views, fields: {n: int}}
tables:
  counts:
    from: views v
    group_by: {who: v.key}
    window: %s
    select: ['*', {c: count()}, {s: sum(v.n)}, {from: window.start}, {to: window.end}]
    %s
sinks:
  out: {from: counts, topic: out}
`

// folded is what a reader of the output has: the last row of each key.
func folded(lines []string) map[string]string {
	rows := map[string]string{}
	for _, line := range lines {
		fields := strings.SplitN(line, " ", 3)
		if rows[fields[1]] = fields[2]; strings.HasPrefix(fields[2], "- ") {
			delete(rows, fields[1])
		}
	}
	return rows
}

// Windows are sent as they are then, and for the last time before they close.
func TestWindowsSentEverySoOften(t *testing.T) {
	counts := map[string]int{"views": 1, "out": 1}
	for restart := -1; restart < 6; restart++ {
		r := newRig(t, fmt.Sprintf(everyPipeline, "{tumbling: 10ms}", "emit: {every: 1s}"), counts)
		for i, step := range []func(){
			func() { feedAt{"a", 100, 1}.to(r, "views") },
			func() { feedAt{"a", 105, 2}.to(r, "views") },
			func() { r.wall(1000) },
			func() { feedAt{"a", 103, 4}.to(r, "views"); feedAt{"b", 104, 1}.to(r, "views") },
			func() { feedAt{"a", 110, 1}.to(r, "views") }, // closes the first, which is told before
			func() { r.wall(1000); r.wall(1000) },
		} {
			step()
			r.mustRun()
			if i == restart {
				r.reopen()
			}
		}
		expect(t, fmt.Sprint("out with a restart behind ", restart), r.show("out"),
			`0 ["a",100] {"who":"a","c":2,"s":3,"from":100,"to":110} @105`,
			`0 ["a",100] {"who":"a","c":3,"s":7,"from":100,"to":110} @105`,
			`0 ["b",100] {"who":"b","c":1,"s":1,"from":100,"to":110} @104`,
			`0 ["a",110] {"who":"a","c":1,"s":1,"from":110,"to":120} @110`,
		)
	}
}

// Whenever what has changed has been sent, readers have what they would have if
// every change were; whatever is restarted, merged and closed in between.
func TestWindowsSentEverySoOftenRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	windows := []string{"{tumbling: 10ms, grace: 5ms}", "{hopping: 12ms, every: 5ms}", "{session: 6ms, grace: 4ms}", "{sliding: 8ms, grace: 3ms}"}
	for n := range 120 {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		window, having := windows[n%4], []string{"", "having: c != 2"}[r.IntN(2)]
		counts := map[string]int{"views": 1, "out": 1}
		each := newRig(t, fmt.Sprintf(everyPipeline, window, having), counts)
		often := newRig(t, fmt.Sprintf(everyPipeline, window, having+"\n    emit: {every: 1s}"), counts)
		now := int64(1000)
		for step := range 60 {
			now += r.Int64N(8) * int64(r.IntN(2))
			f := feedAt{string('a' + rune(r.IntN(3))), now - r.Int64N(12)*int64(r.IntN(2)), 1 + r.Int64N(100)}
			f.to(each, "views")
			f.to(often, "views")
			each.mustRun()
			often.mustRun()
			if r.IntN(8) == 0 {
				often.reopen()
			}
			if r.IntN(5) > 0 && step < 59 {
				continue
			}
			often.wall(1000)
			if want, got := folded(each.show("out")), folded(often.show("out")); !maps.Equal(want, got) {
				t.Fatalf("case %d %s %s, step %d:\n got  %v\n want %v", n, window, having, step, got, want)
			}
		}
		if a, b := len(each.show("out")), len(often.show("out")); b > a {
			t.Errorf("case %d %s: %d rows were sent where all changes are %d", n, window, b, a)
		}
	}
}
