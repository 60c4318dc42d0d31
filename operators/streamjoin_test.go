package operators_test

import (
	"testing"
)

// streamJoinPipeline joins orders with payments; KIND, BOUNDS are filled in.
const streamJoinPipeline = `
pipeline: p
sources:
  orders: {topic: orders}
  payments: {topic: payments}
streams:
  paid:
    from: orders o
    join: [{KIND: payments p, on: o.key == p.key, BOUNDS}]
    select: [{o: o.id}, {p: p.id}]
sinks:
  out: {from: paid, topic: out}
`

func streamRig(t *testing.T, kind, bounds string) *rig {
	t.Helper()
	return newRig(t, replaced(streamJoinPipeline, "KIND", kind, "BOUNDS", bounds), map[string]int{"orders": 1, "payments": 1, "out": 1})
}

func TestStreamJoinInner(t *testing.T) {
	r := streamRig(t, "inner", "within: 10ms")
	r.produce("orders", "a", `{"id":1}`, 1000)
	r.produce("payments", "a", `{"id":3}`, 990)
	r.produce("payments", "a", `{"id":2}`, 1010)
	r.produce("payments", "a", `{"id":4}`, 1011)
	r.produce("payments", "b", `{"id":5}`, 1000)
	r.mustRun()
	expect(t, "out", r.show("out"), `0 a {"o":1,"p":3} @1000`, `0 a {"o":1,"p":2} @1010`)
}
