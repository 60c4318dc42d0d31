package operators_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

const ttlOfTopic = `pipeline: p
tables:
  users: {topic: users, ttl: 10s, fields: {name: string}}
sources:
  ticks: {topic: ticks}
streams:
  seen:
    from: ticks t
    join: [{left: users u, on: t.key == u.key}]
    select: [{name: u.name}]
sinks:
  out: {from: seen, topic: out}
  users_out: {from: users, topic: users-out}
`

// one is a rig whose outer topics have one partition.
func one(t *testing.T, src string) *rig {
	t.Helper()
	return newRig(t, src, map[string]int{"users": 1, "users-out": 1, "ticks": 1, "facts": 1, "counts-out": 1, "kept-out": 1})
}

func TestTTLBorders(t *testing.T) {
	for _, x := range []struct {
		at   int64
		want string
	}{{10_999, `{"name":"Ada"}`}, {11_000, `{"name":null}`}, {11_001, `{"name":null}`}, {9_000_000, `{"name":null}`}} {
		r := one(t, ttlOfTopic)
		r.produce("users", "a", `{"name":"Ada"}`, 1000)
		r.mustRun()
		r.produce("ticks", "a", `{}`, x.at)
		r.mustRun()
		expect(t, fmt.Sprintf("at %d", x.at), r.values("out"), "a "+x.want)
	}
}

func TestTTLCountsFromTheLastUpdate(t *testing.T) {
	r := one(t, ttlOfTopic)
	step := func(topic, key, value string, at int64) {
		r.produce(topic, key, value, at)
		r.mustRun()
	}
	step("users", "a", `{"name":"Ada"}`, 1000)
	step("users", "b", `{"name":"Bob"}`, 2000)
	step("users", "a", `{"name":"Ada L."}`, 5000)
	step("ticks", "x", `{}`, 12_000)
	expect(t, "b is over, a is not", r.show("users-out"),
		`0 a {"name":"Ada"} @1000`, `0 b {"name":"Bob"} @2000`, `0 a {"name":"Ada L."} @5000`, `0 b - @12000`)
	step("users", "b", `{"name":"late"}`, 2000)
	expect(t, "too old a row is none", r.drops(), "users expired 1")
	step("users", "a", `{"name":"older"}`, 1999)
	expect(t, "an update that is over takes the row away", r.show("users-out")[4:], `0 a - @1999`)
}

func TestTTLGoesInOrderOfTimeAndKey(t *testing.T) {
	r := one(t, ttlOfTopic)
	for i, key := range []string{"d", "c", "b", "a"} {
		r.produce("users", key, `{"name":"x"}`, 1000+int64(i/2))
	}
	r.mustRun()
	r.produce("ticks", "x", `{}`, 1_000_000)
	r.mustRun()
	expect(t, "a jump over all", r.show("users-out")[4:], `0 c - @11000`, `0 d - @11000`, `0 a - @11001`, `0 b - @11001`)
}

func TestTTLOfDerivedTables(t *testing.T) {
	r := one(t, `pipeline: p
sources:
  facts: {topic: facts, fields: {who: string}}
tables:
  counts: {from: facts f, group_by: {who: f.who}, select: [{who: who}, {n: count()}], ttl: 10s}
  kept: {from: counts, ttl: 5s}
sinks:
  counts_out: {from: counts, topic: counts-out}
  kept_out: {from: kept, topic: kept-out}
`)
	step := func(who string, at int64) {
		r.produce("facts", "k", fmt.Sprintf(`{"who":%q}`, who), at)
		r.mustRun()
		r.reopen()
	}
	step("a", 1000)
	step("a", 4000)
	step("b", 8999)
	step("b", 9000)
	step("b", 13_999)
	expect(t, "groups", r.show("counts-out"), `0 a {"who":"a","n":1} @1000`, `0 a {"who":"a","n":2} @4000`,
		`0 b {"who":"b","n":1} @8999`, `0 b {"who":"b","n":2} @9000`, `0 b {"who":"b","n":3} @13999`)
	step("a", 14_000)
	expect(t, "the group had gone", r.show("counts-out")[5:], `0 a - @14000`, `0 a {"who":"a","n":1} @14000`)
	expect(t, "kept", r.values("kept-out"), `a {"who":"a","n":1}`, `a {"who":"a","n":2}`, `a -`, `a {"who":"a","n":1}`,
		`b {"who":"b","n":1}`, `b {"who":"b","n":2}`, `b {"who":"b","n":3}`)
}

// TestTTLAgainstAModel compares a table's changes with those of a plain map,
// over restarts.
func TestTTLAgainstAModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		r := one(t, ttlOfTopic)
		type row struct {
			name string
			time int64
		}
		rows, now := map[string]row{}, int64(0)
		var want []string
		sweep := func() {
			var over []string
			for k, v := range rows {
				if v.time+10_000 <= now {
					over = append(over, k)
				}
			}
			slices.SortFunc(over, func(a, b string) int {
				if d := rows[a].time - rows[b].time; d != 0 {
					return int(d)
				}
				return int(a[0]) - int(b[0])
			})
			for _, k := range over {
				want = append(want, fmt.Sprintf("0 %s - @%d", k, rows[k].time+10_000))
				delete(rows, k)
			}
		}
		for range 150 {
			key := string(rune('a' + rnd.IntN(6)))
			at := max(0, now+rnd.Int64N(6000)-2500)
			if rnd.IntN(20) == 0 {
				at += 15_000
			}
			now = max(now, at)
			sweep()
			switch _, there := rows[key]; {
			case rnd.IntN(6) == 0:
				r.produce("ticks", "x", "{}", at)
			case rnd.IntN(6) == 0 || at+10_000 <= now:
				if value := "-"; at+10_000 <= now {
					r.produce("users", key, `{"name":"old"}`, at)
				} else {
					r.produce("users", key, value, at)
				}
				if there {
					want = append(want, fmt.Sprintf("0 %s - @%d", key, at))
				}
				delete(rows, key)
			default:
				rows[key] = row{fmt.Sprint(rnd.IntN(3)), at}
				r.produce("users", key, fmt.Sprintf(`{"name":%q}`, rows[key].name), at)
				want = append(want, fmt.Sprintf(`0 %s {"name":%q} @%d`, key, rows[key].name, at))
			}
			r.mustRun()
			if rnd.IntN(8) == 0 {
				r.reopen()
			}
		}
		got := r.show("users-out")
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("seed %d: change %d differs\n got  %q\n want %q", seed, i, got[max(0, i-3):min(len(got), i+3)], want[max(0, i-3):min(len(want), i+3)])
			}
		}
	}
}

// TestTTLOverRestarts restarts behind every record, jumps of time and rows that are
// too old included.
func TestTTLOverRestarts(t *testing.T) {
	script := []input{
		{"users", "a", `{"name":"Ada"}`, 1000},
		{"users", "b", `{"name":"Bob"}`, 500},
		{"ticks", "a", `{}`, 10_499},
		{"ticks", "b", `{}`, 10_500},
		{"users", "b", `{"name":"late"}`, 499},
		{"users", "a", `{"name":"Ada"}`, 700},
		{"ticks", "a", `{}`, 10_700},
		{"users", "c", `{"name":"Cyd"}`, 11_000},
		{"ticks", "c", `{}`, 9_000_000},
	}
	r := everyRestart(t, ttlOfTopic, map[string]int{"users": 1, "users-out": 1, "ticks": 1, "out": 1}, script, "out", "users-out")
	expect(t, "users", r.show("users-out"), `0 a {"name":"Ada"} @1000`, `0 b {"name":"Bob"} @500`, `0 b - @10500`,
		`0 a {"name":"Ada"} @700`, `0 a - @10700`, `0 c {"name":"Cyd"} @11000`, `0 c - @21000`)
	expect(t, "joined", r.show("out"), `0 a {"name":"Ada"} @10499`, `0 b {"name":null} @10500`, `0 a {"name":null} @10700`, `0 c {"name":null} @9000000`)
}

// Rows of several tables that a jump of stream time takes away go in the order of
// their times: the join of two is deleted with the one that goes first.
func TestTTLOfTwoTablesGoesInOrderOfTime(t *testing.T) {
	for _, ttl := range []struct{ users, ticks, want string }{{"30s", "4s", `0 a - @5000`}, {"4s", "30s", `0 a - @5000`}, {"4s", "4s", `0 a - @5000`}} {
		r := one(t, fmt.Sprintf(`pipeline: p
tables:
  users: {topic: users, ttl: %s, fields: {name: string}}
  ticks: {topic: ticks, ttl: %s}
streams:
  both:
    from: users u
    join: [{inner: ticks t, on: u.key == t.key}]
    select: [{name: u.name}]
sinks:
  out: {from: both, topic: users-out}
`, ttl.users, ttl.ticks))
		r.produce("users", "a", `{"name":"Ada"}`, 1000)
		r.produce("ticks", "a", `{}`, 1000)
		r.mustRun()
		r.produce("ticks", "b", `{}`, 1_000_000)
		r.mustRun()
		expect(t, fmt.Sprintf("%v", ttl), r.show("users-out"), `0 a {"name":"Ada"} @1000`, ttl.want)
	}
}
