package operators_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"streamctl/internal/record"
)

// orders refer to users by a field.
func foreignPipeline(kind string) string {
	return fmt.Sprintf(`
pipeline: p
tables:
  orders: {topic: orders}
  users: {topic: users}
streams:
  owned:
    from: orders o
    join: [{%s: users u, on: o.user == u.key}]
    select: [{order: o.key}, {n: o.n}, {user: u.key}, {name: u.name}]
sinks:
  out: {from: owned, topic: out}
`, kind)
}

var foreignParts = map[string]int{"orders": 3, "users": 2, "out": 1}

func TestForeignKeyJoin(t *testing.T) {
	records := []string{
		`orders 1 {"n":1,"user":"a"} @10`, // no such user yet
		`users a {"name":"Ann"} @5`,       //
		`orders 2 {"n":2,"user":"a"} @20`, // many refer to one
		`orders 1 {"n":3,"user":"a"} @30`, // the key stays: joined at once
		`users a {"name":"Eve"} @40`,      // both are told
		`users b {"name":"Bob"} @41`,      // nobody asks
		`orders 1 {"n":3,"user":"b"} @50`, // another key
		`users a - @60`,                   //
		`orders 2 {"n":4} @70`,            // refers to nothing
		`users a {"name":"Zoe"} @71`,      // nobody asks any more
		`orders 1 - @80`,                  //
		`orders 2 - @81`,                  //
		`users b - @82`,                   //
		`orders 3 {"n":1,"user":"x"} @90`, //
		`orders 3 - @91`,                  //
	}
	row := func(order string, n int, user, name string) string {
		if user != "null" {
			user, name = fmt.Sprintf("%q", user), fmt.Sprintf("%q", name)
		}
		return fmt.Sprintf(`%s {"order":"%s","n":%d,"user":%s,"name":%s}`, order, order, n, user, name)
	}
	for kind, want := range map[string][]string{
		"inner": {row("1", 1, "a", "Ann"), row("1", 3, "a", "Ann"), row("1", 3, "a", "Eve"), row("1", 3, "b", "Bob"), "1 -",
			row("2", 2, "a", "Ann"), row("2", 2, "a", "Eve"), "2 -"},
		"left": {row("1", 1, "null", "null"), row("1", 1, "a", "Ann"), row("1", 3, "a", "Ann"), row("1", 3, "a", "Eve"), row("1", 3, "b", "Bob"), "1 -",
			row("2", 2, "a", "Ann"), row("2", 2, "a", "Eve"), row("2", 2, "null", "null"), row("2", 4, "null", "null"), "2 -",
			row("3", 1, "null", "null"), "3 -"},
	} {
		for restart := -1; restart < len(records); restart++ {
			r := newRig(t, foreignPipeline(kind), foreignParts)
			for i, rec := range records {
				feed(r, rec)
				if i == restart {
					r.reopen()
				}
			}
			expect(t, fmt.Sprintf("%s, outputs with a restart behind %d", kind, restart), r.values("out"), want...)
			if n := rowsIn(r, "owned-users.subscriptions") + rowsIn(r, "owned-users.foreign"); n != 0 {
				t.Errorf("%s: %d rows are left although all orders are gone", kind, n)
			}
		}
	}
}

// The time of a result is the greatest of what it is made of.
func TestTimeOfAForeignKeyJoin(t *testing.T) {
	r := newRig(t, foreignPipeline("left"), foreignParts)
	feed(r, `users a {"name":"Ann"} @50`, `orders 1 {"user":"a"} @10`, `orders 1 {"user":"a","n":1} @20`, `users a {"name":"Eve"} @15`, `orders 1 - @5`)
	expect(t, "outputs", shown(r, "out"), `1 {"order":"1","n":null,"user":"a","name":"Ann"} @50`, `1 {"order":"1","n":1,"user":"a","name":"Ann"} @50`,
		`1 {"order":"1","n":1,"user":"a","name":"Eve"} @20`, `1 - @15`)
}

// Chains, composite keys, aggregated tables on the right, and a table of the result.
func TestForeignKeyJoinsInAChain(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  hits: {topic: hits}
tables:
  orders: {topic: orders}
  notes: {topic: notes}
  users: {topic: users}
  towns: {topic: towns, key: "[value.land, value.town]"}
  hot: {from: hits h, group_by: {land: h.land}, select: [{n: count()}]}
  full:
    from: orders o
    join:
      - left: notes m
        on: o.key == m.key
      - inner: users u
        on: o.user == u.key
      - left: towns w
        on: u.land == w.key[0] && u.town == w.key[1]
      - left: hot h
        on: w.land == h.key
    where: o.n > 0
    select: [{note: m.text}, {name: u.name}, {people: w.people}, {hits: h.n}]
sinks:
  out: {from: full, topic: out}
`, map[string]int{"orders": 3, "users": 2, "towns": 5, "hits": 2, "notes": 3, "out": 1})
	feed(r, `orders 1 {"n":1,"user":"a"} @1`, `hits x {"land":"DE"} @1`, `towns x {"land":"DE","town":"Ulm","people":7} @2`,
		`users a {"name":"Ann","land":"DE","town":"Ulm"} @3`, `notes 1 {"text":"hi"} @4`, `hits y {"land":"DE"} @5`)
	r.reopen()
	feed(r, `users a {"name":"Ann","land":"DE","town":"Bonn"} @6`, `orders 1 {"n":0,"user":"a"} @7`, `orders 1 {"n":2,"user":"a"} @8`, `users a - @9`)
	expect(t, "rows", r.values("out")[len(r.values("out"))-3:],
		`1 -`, `1 {"note":"hi","name":"Ann","people":null,"hits":null}`, `1 -`)
	if !slices.Contains(r.values("out"), `1 {"note":"hi","name":"Ann","people":7,"hits":2}`) {
		t.Errorf("no row with everything: %q", r.values("out"))
	}
}

// A table may refer to itself, and changes of a table that nobody keeps may refer to one.
func TestForeignKeyJoinOfATableWithItself(t *testing.T) {
	r := newRig(t, `
pipeline: p
tables:
  people: {topic: people}
streams:
  grown: {from: people p, where: p.age >= 18}
  bosses: {from: grown p, join: [{inner: people b, on: p.boss == b.key}], select: [{name: p.name}, {boss: b.name}]}
sinks:
  out: {from: bosses, topic: out}
`, map[string]int{"people": 3, "out": 1})
	feed(r, `people 1 {"name":"Ann","age":40} @1`, `people 2 {"name":"Bob","boss":"1","age":17} @2`, `people 2 {"name":"Bob","boss":"1","age":18} @3`,
		`people 1 {"name":"Eve","age":41,"boss":"1"} @4`, `people 2 {"name":"Bob","boss":"1","age":17} @5`)
	got := r.values("out")
	slices.Sort(got)
	expect(t, "outputs", got, `1 {"name":"Eve","boss":"Eve"}`, `2 -`, `2 {"name":"Bob","boss":"Ann"}`, `2 {"name":"Bob","boss":"Eve"}`)
}

// Whatever the order in which the tasks come to their work, in the end the
// result is the join of the tables, and what was told as before was what had been told.
func TestForeignKeyJoinHoldsWhatTheTablesHold(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		kind := []string{"inner", "left"}[rnd.IntN(2)]
		r := newRig(t, foreignPipeline(kind), foreignParts)
		type order struct {
			n    int
			user string
		}
		orders, users := map[string]order{}, map[string]string{}
		for at := range int64(150) {
			o, u := fmt.Sprint(rnd.IntN(4)), fmt.Sprint("u", rnd.IntN(3))
			switch rnd.IntN(6) {
			case 0, 1:
				n := rnd.IntN(100)
				r.produce("orders", o, fmt.Sprintf(`{"n":%d,"user":%q}`, n, u), at)
				orders[o] = order{n, u}
			case 2:
				r.produce("orders", o, "-", at)
				delete(orders, o)
			case 3, 4:
				r.produce("users", u, fmt.Sprintf(`{"name":"%s-%d"}`, u, at), at)
				users[u] = fmt.Sprint(u, "-", at)
			case 5:
				r.produce("users", u, "-", at)
				delete(users, u)
			}
			for range rnd.IntN(8) { // any task, any input: topics are read at their own speed
				task := r.tasks[rnd.IntN(len(r.tasks))]
				if _, err := task.stepAny(rnd); err != nil {
					t.Fatal(err)
				}
			}
			if rnd.IntN(30) == 0 {
				r.reopen()
			}
		}
		r.mustRun()
		var want []string
		for _, key := range []string{"0", "1", "2", "3"} {
			o, ok := orders[key]
			name, known := users[o.user]
			switch {
			case ok && known:
				want = append(want, fmt.Sprintf(`%s {"order":"%s","n":%d,"user":"%s","name":"%s"}`, key, key, o.n, o.user, name))
			case ok && kind == "left":
				want = append(want, fmt.Sprintf(`%s {"order":"%s","n":%d,"user":null,"name":null}`, key, key, o.n))
			}
		}
		expect(t, fmt.Sprintf("%s join, seed %d", kind, seed), finalRows(r, "out"), want...)
		for key, was := range deletionsInVain(r, "out") {
			t.Errorf("seed %d: key %s was deleted though it was %s", seed, key, was)
		}
	}
}

// deletionsInVain finds keys that a topic deletes where they were not there.
func deletionsInVain(r *rig, topic string) map[string]string {
	last, out := map[string]bool{}, map[string]string{}
	for _, log := range r.topics[topic] {
		for _, rec := range log {
			if rec.Value == nil && !last[string(rec.Key)] {
				out[string(rec.Key)] = "not there"
			}
			last[string(rec.Key)] = rec.Value != nil
		}
	}
	return out
}

// stepAny processes one record of one input, whichever it is.
func (t *rigTask) stepAny(rnd *rand.Rand) (bool, error) {
	for _, i := range rnd.Perm(len(t.sub.Inputs)) {
		log := t.rig.topics[t.sub.Inputs[i].Topic][t.tc.Partition]
		if t.position[i] >= int64(len(log)) {
			continue
		}
		rec := &log[t.position[i]]
		_, skip, err := t.inputs[i].Decode(rec, record.TopicPartition{Topic: t.sub.Inputs[i].Topic, Partition: t.tc.Partition})
		t.position[i]++
		if err != nil || skip {
			return true, err
		}
		return true, t.inputs[i].Process()
	}
	return false, nil
}
