package tables

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

const streamJoins = `
pipeline: p
sources:
  orders: {topic: orders}
  payments: {topic: payments}
streams:
  once: {from: payments p, dedup: {by: p.id, within: 1h}}
  paid:
    from: orders o
    unnest: o.lines as line
    join:
      - outer: once p
        on: line.order == p.order
        within: 300ms
        grace: 1h
    select: [{l: line.n}, {p: p.id}]
sinks:
  out: {from: paid, topic: out}
`

// Elements of lists are joined with a stream that had duplicates, all over
// repartitions: over crashes and lost disks every pair is there once, every
// unmatched row once, and none of the rows that have been matched.
func TestStreamsAreJoinedOnce(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, streamJoins, map[string]int32{"orders": 3, "payments": 2, "out": 2}, seed, true)
			rng := rand.New(rand.NewPCG(seed, 11))
			type sent struct {
				order, id int
				at        int64
			}
			var lines, payments []sent
			for i := range 120 {
				at := int64(i) * 10
				if rng.IntN(2) == 0 {
					value := ""
					for range rng.IntN(3) {
						line := sent{rng.IntN(12), len(lines), at}
						lines = append(lines, line)
						value += fmt.Sprintf(`,{"order":%d,"n":%d}`, line.order, line.id)
					}
					w.produce("orders", fmt.Sprint("o", i), `{"lines":[`+value[min(1, len(value)):]+`]}`, at)
					continue
				}
				p := sent{rng.IntN(12), i, at}
				payments = append(payments, p)
				for range 1 + rng.IntN(2) {
					w.produce("payments", fmt.Sprint("p", p.id), fmt.Sprintf(`{"id":%d,"order":%d}`, p.id, p.order), at)
				}
			}
			w.run()
			for i := range 40 { // time moves on in every task
				w.produce("orders", fmt.Sprint("t", i), fmt.Sprintf(`{"lines":[{"order":%d,"n":-1}]}`, 100+i), 3*3_600_000)
				w.produce("payments", fmt.Sprint("t", i), fmt.Sprintf(`{"id":%d,"order":%d}`, 1000+i, 200+i), 3*3_600_000)
			}
			w.run()
			var want []string
			matched := map[string]bool{}
			for _, l := range lines {
				for _, p := range payments {
					if l.order == p.order && max(l.at-p.at, p.at-l.at) <= 300 {
						want = append(want, fmt.Sprintf(`{"l":%d,"p":%d}`, l.id, p.id))
						matched[fmt.Sprint("l", l.id)], matched[fmt.Sprint("p", p.id)] = true, true
					}
				}
			}
			for _, l := range lines {
				if !matched[fmt.Sprint("l", l.id)] {
					want = append(want, fmt.Sprintf(`{"l":%d,"p":null}`, l.id))
				}
			}
			for _, p := range payments {
				if !matched[fmt.Sprint("p", p.id)] {
					want = append(want, fmt.Sprintf(`{"l":null,"p":%d}`, p.id))
				}
			}
			var got []string
			for _, partition := range w.log.ReadCommitted("out") {
				for _, r := range partition {
					got = append(got, string(r.Value))
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				for _, v := range want {
					if !slices.Contains(got, v) {
						t.Errorf("missing %s", v)
					}
				}
				for i, v := range got {
					if !slices.Contains(want, v) || i > 0 && got[i-1] == v {
						t.Errorf("too much: %s", v)
					}
				}
				t.Errorf("%d results, want %d", len(got), len(want))
			}
		})
	}
}
