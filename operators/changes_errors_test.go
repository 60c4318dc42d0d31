package operators_test

import "testing"

// A version of a row that cannot be processed is no version: the one before it
// goes, and the next one comes as a new row. (It used to take the next one with
// it, and to leave the one before it behind.)
func TestVersionsOfARowThatFailAreNone(t *testing.T) {
	for name, clause := range map[string]string{
		"in select":   "select: [{x: int(r.x)}, {y: r.y}]",
		"in where":    "where: int(r.x) > 0\n    select: [{x: r.x}, {y: r.y}]",
		"in group_by": "group_by: {x: int(r.x)}\n    select: [{n: count()}]",
		"in top":      "top: {n: 5, by: int(r.x), per: r.y}",
		"in a group":  "top: {n: 5, by: r.y, per: int(r.x)}",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, `pipeline: p
on_error: skip
tables:
  rows: {topic: rows, fields: {x: string, y: int}}
  made:
    from: rows r
    `+clause+`
  kept: {from: made}
sinks:
  out: {from: kept, topic: out, key_format: json}
`, nil)
			step := func(value string) int {
				r.produce("rows", "k", value, 1000)
				r.mustRun()
				return len(r.table("out"))
			}
			for i, x := range []struct {
				value string
				rows  int
			}{{`{"x":"1","y":1}`, 1}, {`{"x":"one","y":1}`, 0}, {`{"x":"two","y":1}`, 0}, {`{"x":"3","y":1}`, 1}, {`{"x":"4","y":1}`, 1}, {"-", 0}} {
				got := step(x.value)
				if name == "in group_by" { // a group stays, with nothing in it
					total := 0
					for _, row := range r.table("out") {
						if row != `{"n":0}` {
							total++
						}
					}
					got = total
				}
				if got != x.rows {
					t.Errorf("behind version %d there are %d rows, want %d", i, got, x.rows)
				}
			}
			expect(t, "drops", r.drops(), "made expression 2")
		})
	}
}
