package operators_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Aggregates over joins of tables take back what a change replaces: that is right
// only if every change says exactly what the join gave before it, also where one
// record changes several of the joined tables, and where answers are on their way.
func TestAggregatesOverJoinsOfTables(t *testing.T) {
	const src = `
pipeline: p
tables:
  a: {topic: a}
  b: {topic: b}
  users: {topic: users}
  ab: {from: a x, join: [{left: b y, on: x.key == y.key}], select: [{g: x.g}, {s: 'x.v + (y.v ?? 0)'}, {user: x.user}]}
  z: {from: ab x, join: [{inner: a y, on: x.key == y.key}, {outer: b w, on: x.key == w.key}], select: [{g: 'x.g ?? "none"'}, {s: '(x.s ?? 0) + (y.v ?? 0) + (w.v ?? 0)'}]}
  owned: {from: ab x, join: [{left: users u, on: x.user == u.key}], select: [{g: 'u.g ?? "none"'}, {s: 'x.s'}]}
  byz: {from: z r, group_by: r.g, having: n > 0, select: [{n: count()}, {s: sum(r.s)}]}
  byowner: {from: owned r, group_by: r.g, having: n > 0, select: [{n: count()}, {s: sum(r.s)}]}
sinks:
  z_out: {from: byz, topic: zs}
  o_out: {from: byowner, topic: owners}
`
	type row struct {
		g, user string
		v       int
	}
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 21))
		r := newRig(t, src, map[string]int{"a": 2, "b": 2, "users": 3, "zs": 1, "owners": 1})
		a, b, users := map[string]row{}, map[string]int{}, map[string]string{}
		for at := range int64(150) {
			key, gone := fmt.Sprint("k", rnd.IntN(4)), rnd.IntN(4) == 0
			switch rnd.IntN(3) {
			case 0:
				value := "-"
				if delete(a, key); !gone {
					a[key] = row{fmt.Sprint("g", rnd.IntN(2)), fmt.Sprint("u", rnd.IntN(3)), rnd.IntN(50)}
					value = fmt.Sprintf(`{"g":%q,"user":%q,"v":%d}`, a[key].g, a[key].user, a[key].v)
				}
				r.produce("a", key, value, at)
			case 1:
				value := "-"
				if delete(b, key); !gone {
					b[key] = rnd.IntN(50)
					value = fmt.Sprintf(`{"v":%d}`, b[key])
				}
				r.produce("b", key, value, at)
			case 2:
				user, value := fmt.Sprint("u", rnd.IntN(3)), "-"
				if delete(users, user); !gone {
					users[user] = fmt.Sprint("h", rnd.IntN(2))
					value = fmt.Sprintf(`{"g":%q}`, users[user])
				}
				r.produce("users", user, value, at)
			}
			for range rnd.IntN(10) {
				if _, err := r.tasks[rnd.IntN(len(r.tasks))].stepAny(rnd); err != nil {
					t.Fatal(err)
				}
			}
			if rnd.IntN(40) == 0 {
				r.reopen()
			}
		}
		r.mustRun()
		zs, owners := map[string][2]int{}, map[string][2]int{}
		add := func(m map[string][2]int, g string, s int) { m[g] = [2]int{m[g][0] + 1, m[g][1] + s} }
		for i := range 4 {
			key := fmt.Sprint("k", i)
			x, inA := a[key]
			v, inB := b[key]
			switch {
			case inA:
				add(zs, x.g, x.v+v+x.v+v)
				g, known := users[x.user]
				if !known {
					g = "none"
				}
				add(owners, g, x.v+v)
			case inB:
				add(zs, "none", v)
			}
		}
		lines := func(m map[string][2]int, groups ...string) (out []string) {
			for _, g := range groups {
				if n, ok := m[g]; ok {
					out = append(out, fmt.Sprintf(`%s {"n":%d,"s":%d}`, g, n[0], n[1]))
				}
			}
			return out
		}
		expect(t, fmt.Sprintf("by z, seed %d", seed), finalRows(r, "zs"), lines(zs, "g0", "g1", "none")...)
		expect(t, fmt.Sprintf("by owner, seed %d", seed), finalRows(r, "owners"), lines(owners, "h0", "h1", "none")...)
	}
}
