package operators_test

import (
	"testing"
)

const replicated = `
pipeline: p
sources:
  orders: {topic: orders}
tables:
  rates: {topic: rates, key: value.code, replicate: true}
  users: {topic: users}
streams:
  priced:
    from: orders o
    join:
      - left: rates r
        on: o.code == r.key
      - inner: users u
        on: o.user == u.key
      - left: rates s
        on: u.code == s.key
    select: [{id: o.id}, {rate: r.rate}, {home: s.rate}]
sinks:
  out: {from: priced, topic: out}
`

// Every task of the join has all rows, wherever the table's topic has them; the
// stream is repartitioned for the other table only.
func TestReplicatedTableIsInEveryTask(t *testing.T) {
	r := newRig(t, replicated, map[string]int{"orders": 5, "rates": 2, "users": 3, "out": 1})
	feed(r, `rates a {"code":"EUR","rate":1} @1`, `rates b {"code":"USD","rate":2} @1`, `users ann {"code":"USD"} @1`, `users bob {"code":"EUR"} @1`)
	for _, key := range []string{"1", "2", "3", "4", "5", "6"} {
		feed(r, `orders `+key+` {"id":`+key+`,"code":"USD","user":"ann"} @5`)
	}
	r.reopen()
	// A key that changes deletes the old row everywhere.
	feed(r, `rates a {"code":"CHF","rate":3} @6`, `orders 7 {"id":7,"code":"EUR","user":"bob"} @7`, `orders 8 {"id":8,"code":"CHF","user":"bob"} @8`,
		`rates a - @9`, `orders 9 {"id":9,"code":"CHF","user":"ann"} @10`)
	expect(t, "outputs", r.values("out"),
		`1 {"id":1,"rate":2,"home":2}`, `2 {"id":2,"rate":2,"home":2}`, `3 {"id":3,"rate":2,"home":2}`,
		`4 {"id":4,"rate":2,"home":2}`, `5 {"id":5,"rate":2,"home":2}`, `6 {"id":6,"rate":2,"home":2}`,
		`7 {"id":7,"rate":null,"home":null}`, `8 {"id":8,"rate":3,"home":null}`, `9 {"id":9,"rate":null,"home":2}`)
	for _, s := range r.topology.Subs {
		for _, table := range s.Tables {
			if table.Name == "rates" {
				t.Errorf("%s has rows of rates that are not a copy", s.Name)
			}
		}
	}
}

// A union whose inputs do not lie together has a copy for each.
func TestReplicatedTableOfAUnion(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  web: {topic: web}
  app: {topic: app}
tables:
  rates: {topic: rates, replicate: true}
streams:
  priced: {from: [web o, app o], join: [{inner: rates r, on: o.code == r.key}], select: [{rate: r.rate}]}
sinks:
  out: {from: priced, topic: out}
`, map[string]int{"web": 3, "app": 2, "rates": 1, "out": 1})
	feed(r, `rates EUR {"rate":1} @1`)
	for _, key := range []string{"1", "2", "3", "4"} {
		feed(r, `web `+key+` {"code":"EUR"} @2`, `app `+key+` {"code":"EUR"} @2`, `app `+key+` {"code":"USD"} @2`)
	}
	if n := len(r.values("out")); n != 8 {
		t.Errorf("%d outputs, want 8", n)
	}
	expect(t, "drops", r.drops(), "priced no-match 4")
}
