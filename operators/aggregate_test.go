package operators_test

import (
	"slices"
	"testing"
)

const perPage = `
pipeline: p
sources:
  views: {topic: views}
tables:
  per_page:
    from: views v
    group_by: {page: v.page}
    select:
      - page: page
      - views: count()
      - timed: count(v.ms)
      - total: sum(v.ms)
      - least: min(v.ms)
      - most: max(v.ms)
      - mean: sum(v.ms) / count(v.ms)
    on_error: skip
sinks:
  out: {from: per_page, topic: out}
`

func TestAggregatesPerGroup(t *testing.T) {
	r := newRig(t, perPage, map[string]int{"views": 3, "out": 3})
	r.produce("views", "1", `{"page":"a","ms":10}`, 100)
	r.mustRun() // one by one: the partitions of the source have no order among them
	r.produce("views", "2", `{"page":"a"}`, 50)
	r.mustRun()
	r.produce("views", "3", `{"page":"a","ms":4}`, 200)
	r.produce("views", "4", `{"page":"b"}`, 300)
	r.produce("views", "5", `{"page":null,"ms":1}`, 300)
	r.produce("views", "6", `-`, 300)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`a {"page":"a","views":1,"timed":1,"total":10,"least":10,"most":10,"mean":10}`,
		`a {"page":"a","views":2,"timed":1,"total":10,"least":10,"most":10,"mean":10}`,
		`a {"page":"a","views":3,"timed":2,"total":14,"least":4,"most":10,"mean":7}`,
		`b {"page":"b","views":1,"timed":0,"total":null,"least":null,"most":null,"mean":null}`)
	expect(t, "drops", r.drops(), "per_page null-key 1", "per_page null-value 1")
}

func TestTimeOfAGroupIsTheGreatestOfItsRecords(t *testing.T) {
	r := newRig(t, perPage, map[string]int{"views": 1, "out": 1})
	for _, at := range []int64{100, 50, 200} {
		r.produce("views", "1", `{"page":"a"}`, at)
		r.mustRun()
		r.reopen()
	}
	var times []int64
	for _, rec := range r.topics["out"][0] {
		times = append(times, rec.Time)
	}
	if !slices.Equal(times, []int64{100, 100, 200}) {
		t.Errorf("output times are %v", times)
	}
}

func TestSumOverflowIsAnErrorOfTheRecord(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  views: {topic: views, fields: {ms: int}}
tables:
  totals:
    from: views v
    group_by: v.key
    select:
      - n: count()
      - total: sum(v.ms)
    on_error: skip
sinks:
  out: {from: totals, topic: out}
`, nil)
	r.produce("views", "k", `{"ms":9223372036854775807}`, 1)
	r.produce("views", "k", `{"ms":1}`, 2)
	r.produce("views", "k", `{"ms":-7}`, 3)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`k {"n":1,"total":9223372036854775807}`,
		`k {"n":2,"total":9223372036854775800}`)
	expect(t, "drops", r.drops(), "totals expression 1")
}

func TestGroupsSurviveTheStore(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  views: {topic: views}
tables:
  pairs:
    from: views v
    group_by: {shop: v.shop, word: lower(v.word)}
    select:
      - shop: shop
      - word: word
      - n: count()
      - first: min(v.word)
sinks:
  out: {from: pairs, topic: out}
`, nil)
	for range 3 {
		r.produce("views", "1", `{"shop":1.0,"word":"Äb\u0041"}`, 1)
		r.produce("views", "1", `{"shop":1,"word":"äba"}`, 1)
		r.mustRun()
		r.reopen()
	}
	expect(t, "outputs", r.values("out"),
		`[1,"äba"] {"shop":1,"word":"äba","n":1,"first":"ÄbA"}`,
		`[1,"äba"] {"shop":1,"word":"äba","n":2,"first":"ÄbA"}`,
		`[1,"äba"] {"shop":1,"word":"äba","n":3,"first":"ÄbA"}`,
		`[1,"äba"] {"shop":1,"word":"äba","n":4,"first":"ÄbA"}`,
		`[1,"äba"] {"shop":1,"word":"äba","n":5,"first":"ÄbA"}`,
		`[1,"äba"] {"shop":1,"word":"äba","n":6,"first":"ÄbA"}`)
}

func TestJoinWithACount(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  orders: {topic: orders}
  views: {topic: views}
tables:
  counts:
    from: orders o
    group_by: {who: o.who, what: o.what}
    select:
      - who: who
      - orders: count()
      - twice: 2 * count()
streams:
  with_counts:
    from: views v
    join:
      - left: counts c
        on: v.who == c.who && v.what == c.key[1]
    select:
      - n: v.n
      - counted: c.orders
      - c.* except [orders]
sinks:
  out: {from: with_counts, topic: out}
`, nil)
	r.produce("orders", "1", `{"who":"a","what":1}`, 1)
	r.produce("orders", "2", `{"who":"a","what":1}`, 2)
	r.mustRun()
	r.produce("views", "1", `{"who":"a","what":1,"n":1}`, 3)
	r.produce("views", "2", `{"who":"b","what":1,"n":2}`, 3)
	r.mustRun()
	r.produce("orders", "3", `{"who":"a","what":1}`, 4)
	r.mustRun()
	r.produce("views", "3", `{"who":"a","what":1,"n":3}`, 5)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`1 {"n":1,"counted":2,"who":"a","twice":4}`,
		`2 {"n":2,"counted":null,"who":null,"twice":null}`,
		`3 {"n":3,"counted":3,"who":"a","twice":6}`)
}

func TestAggregateOfAJoin(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  orders: {topic: orders}
tables:
  customers: {topic: customers}
  per_region:
    from: orders o
    join:
      - inner: customers c
        on: o.customer == c.key
    where: c.region != "test"
    group_by: c.region
    select:
      - region: c.region
      - spent: sum(o.amount)
sinks:
  out: {from: per_region, topic: out}
`, nil)
	r.produce("customers", "a", `{"region":"north"}`, 1)
	r.produce("customers", "b", `{"region":"north"}`, 1)
	r.produce("customers", "c", `{"region":"test"}`, 1)
	r.produce("orders", "1", `{"customer":"a","amount":1.5}`, 2)
	r.mustRun()
	r.produce("orders", "2", `{"customer":"b","amount":2}`, 3)
	r.produce("orders", "3", `{"customer":"c","amount":100}`, 3)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`north {"region":"north","spent":1.5}`,
		`north {"region":"north","spent":3.5}`)
}

func TestChangesOfACountPassAFilter(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  moves: {topic: moves}
tables:
  balances:
    from: moves m
    group_by: m.account
    select:
      - account: m.account
      - balance: sum(m.amount)
streams:
  overdrawn:
    from: balances b
    where: b.balance < 0
    select:
      - b.*
      - owed: -b.balance
sinks:
  out: {from: overdrawn, topic: out}
`, nil)
	for i, amount := range []string{"5", "-7", "-1", "10", "1"} {
		r.produce("moves", "m", `{"account":"x","amount":`+amount+`}`, int64(i))
	}
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`x {"account":"x","balance":-2,"owed":2}`,
		`x {"account":"x","balance":-3,"owed":3}`,
		`x -`)
}

func TestAggregateOfWhatAJoinFound(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  orders: {topic: orders}
tables:
  items: {topic: items}
  spent:
    from: orders o
    join:
      - inner: items i
        on: o.item == i.key
    group_by: o.who
    select:
      - spent: sum(i.price)
sinks:
  out: {from: spent, topic: out}
`, nil)
	r.produce("items", "a", `{"price":2}`, 1)
	r.produce("items", "b", `{"price":3}`, 1)
	for i, item := range []string{"a", "b", "a"} {
		r.produce("orders", "1", `{"who":"x","item":"`+item+`"}`, int64(2+i))
		r.mustRun()
	}
	expect(t, "outputs", r.values("out"), `x {"spent":2}`, `x {"spent":5}`, `x {"spent":7}`)
}

// A record that updates a table and is joined with it finds itself counted,
// however the definitions are ordered in the file.
func TestUpdateComesBeforeTheJoinOfTheSameRecord(t *testing.T) {
	for _, placed := range []string{"partitioned_by: who, ", ""} {
		r := newRig(t, `
pipeline: p
sources:
  in: {topic: in, `+placed+`fields: {who: string}}
streams:
  a_first:
    from: in i
    join: [{left: z_counts c, on: i.who == c.key}]
    select: [{so_far: c.n}]
tables:
  z_counts:
    from: in i
    group_by: i.who
    select: [{n: count()}]
sinks:
  a_out: {from: a_first, topic: out}
`, map[string]int{"in": 1, "out": 1})
		for range 3 {
			r.produce("in", "x", `{"who":"x"}`, 1)
			r.mustRun()
		}
		expect(t, placed, r.values("out"), `x {"so_far":1}`, `x {"so_far":2}`, `x {"so_far":3}`)
	}
}
