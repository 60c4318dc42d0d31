package operators_test

import "testing"

const ordersByCustomer = `
pipeline: p
sources:
  orders: {topic: orders}
tables:
  customers: {topic: customers}
streams:
  named:
    from: orders o
    join:
      - KIND: customers c
        on: o.customer == c.key
    select:
      - o.*
      - name: c.name
sinks:
  out: {from: named, topic: out}
`

func joinOf(kind string) string { return replaced(ordersByCustomer, "KIND", kind) }

func TestInnerJoin(t *testing.T) {
	r := newRig(t, joinOf("inner"), nil)
	r.produce("customers", "a", `{"name":"Ann"}`, 1)
	r.produce("orders", "1", `{"customer":"a","n":1}`, 2)
	r.produce("orders", "2", `{"customer":"nobody","n":2}`, 3)
	r.produce("orders", "3", `{"n":3}`, 4)
	r.produce("orders", "4", `-`, 5)
	r.mustRun()
	expect(t, "outputs", r.values("out"), `1 {"customer":"a","n":1,"name":"Ann"}`)
	expect(t, "drops", r.drops(), "named no-match 1", "named null-key 1", "named null-value 1")
}

func TestLeftJoinKeepsUnmatched(t *testing.T) {
	r := newRig(t, joinOf("left"), nil)
	r.produce("customers", "a", `{"name":"Ann"}`, 1)
	r.produce("orders", "1", `{"customer":"a","n":1}`, 2)
	r.produce("orders", "2", `{"customer":"nobody","n":2}`, 3)
	r.produce("orders", "3", `{"n":3}`, 4)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`1 {"customer":"a","n":1,"name":"Ann"}`,
		`2 {"customer":"nobody","n":2,"name":null}`,
		`3 {"n":3,"name":null}`)
	expect(t, "drops", r.drops())
}

func TestLaterRowsAndDeletionsCount(t *testing.T) {
	r := newRig(t, joinOf("left"), nil)
	for _, name := range []string{`{"name":"Ann"}`, `{"name":"Eve"}`, "-"} {
		r.produce("customers", "a", name, 1)
		r.mustRun()
		r.produce("orders", "1", `{"customer":"a"}`, 2)
		r.mustRun()
	}
	expect(t, "outputs", r.values("out"),
		`1 {"customer":"a","name":"Ann"}`,
		`1 {"customer":"a","name":"Eve"}`,
		`1 {"customer":"a","name":null}`)
}

func TestJoinKeysAreEqualByValueAndType(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  orders: {topic: orders}
tables:
  items: {topic: items, key: value.id}
streams:
  named:
    from: orders o
    join:
      - left: items i
        on: o.item == i.key
    select:
      - item: o.item
      - name: i.name
sinks:
  out: {from: named, topic: out}
`, nil)
	r.produce("items", "a", `{"id":1234,"name":"number"}`, 1)
	r.produce("items", "b", `{"id":"1234","name":"text"}`, 1)
	r.produce("orders", "1", `{"item":1234}`, 2)
	r.produce("orders", "2", `{"item":1234.0}`, 2)
	r.produce("orders", "3", `{"item":"1234"}`, 2)
	r.produce("orders", "4", `{"item":"1234.0"}`, 2)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`1 {"item":1234,"name":"number"}`,
		`2 {"item":1234.0,"name":"number"}`,
		`3 {"item":"1234","name":"text"}`,
		`4 {"item":"1234.0","name":null}`)
}

func TestCompositeKey(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  sales: {topic: sales, fields: {shop: int, article: string, n: int}}
tables:
  prices: {topic: prices, key: '[value.shop, value.article]'}
streams:
  priced:
    from: sales s
    join:
      - inner: prices p
        on: s.article == p.key[1] && s.shop == p.key[0]
    select:
      - s.*
      - price: p.price
      - shop_of_price: p.key[0]
sinks:
  out: {from: priced, topic: out, key: '[shop, article]'}
`, map[string]int{"sales": 3, "prices": 2, "out": 3})
	r.produce("prices", "a", `{"shop":1,"article":"x","price":9.50}`, 1)
	r.produce("prices", "b", `{"shop":2,"article":"x","price":8}`, 1)
	r.produce("sales", "1", `{"shop":1,"article":"x"}`, 2)
	r.produce("sales", "2", `{"shop":2,"article":"x"}`, 2)
	r.produce("sales", "3", `{"shop":2,"article":"y"}`, 2)
	r.produce("sales", "4", `{"shop":2}`, 2)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`[1,"x"] {"shop":1,"article":"x","price":9.50,"shop_of_price":1}`,
		`[2,"x"] {"shop":2,"article":"x","price":8,"shop_of_price":2}`)
	expect(t, "drops", r.drops(), "priced no-match 1", "priced null-key 1")
}

func TestChainOfJoinsCarriesTheFirstTable(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  orders: {topic: orders, key_format: long}
tables:
  customers: {topic: customers}
  items: {topic: items}
  regions: {topic: regions, key: value.id}
streams:
  named:
    from: orders o
    join:
      - left: customers c
        on: o.customer == c.key
      - left: items i
        on: o.item == i.key
      - left: regions r
        on: c.region == r.key
    select:
      - id: o.key
      - customer: c.name
      - customer_key: c.key
      - item: '{name: i.name, price: i.price}'
      - region: r.name
sinks:
  out: {from: named, topic: out, key_format: long}
`, map[string]int{"orders": 1, "customers": 3, "items": 2, "regions": 4})
	r.produce("customers", "ann", `{"name":"Ann","region":7}`, 1)
	r.produce("items", "book", `{"name":"Book","price":12.00}`, 1)
	r.produce("regions", "x", `{"id":7,"name":"North"}`, 1)
	r.produce("orders", "\x00\x00\x00\x00\x00\x00\x00\x05", `{"customer":"ann","item":"book"}`, 2)
	r.produce("orders", "\x00\x00\x00\x00\x00\x00\x00\x06", `{"customer":"bob","item":"book"}`, 3)
	r.produce("orders", "\x00\x00\x00\x00\x00\x00\x00\x07", `{"customer":"ann","item":"pen"}`, 4)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		"\x00\x00\x00\x00\x00\x00\x00\x05 "+`{"id":5,"customer":"Ann","customer_key":"ann","item":{"name":"Book","price":12.00},"region":"North"}`,
		"\x00\x00\x00\x00\x00\x00\x00\x06 "+`{"id":6,"customer":null,"customer_key":null,"item":{"name":"Book","price":12.00},"region":null}`,
		"\x00\x00\x00\x00\x00\x00\x00\x07 "+`{"id":7,"customer":"Ann","customer_key":"ann","item":{"name":null,"price":null},"region":"North"}`)
}

func TestSameTableTwice(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  views: {topic: views}
tables:
  people: {topic: people}
streams:
  named:
    from: views v
    join:
      - inner: people a
        on: v.viewer == a.key
      - inner: people b
        on: v.viewed == b.key
    select:
      - text: a.name + " saw " + b.name
      - again: '{a: a.name, b: b.name}'
sinks:
  out: {from: named, topic: out}
`, nil)
	r.produce("people", "a", `{"name":"Ann"}`, 1)
	r.produce("people", "b", `{"name":"Bob"}`, 1)
	r.produce("views", "1", `{"viewer":"a","viewed":"b"}`, 2)
	r.produce("views", "2", `{"viewer":"b","viewed":"a"}`, 2)
	r.mustRun()
	expect(t, "outputs", r.values("out"),
		`1 {"text":"Ann saw Bob","again":{"a":"Ann","b":"Bob"}}`,
		`2 {"text":"Bob saw Ann","again":{"a":"Bob","b":"Ann"}}`)
}

func TestUnionLinesUpEachInput(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  web: {topic: web, fields: {customer: string, id: int}}
  shop: {topic: shop, partitioned_by: customer, fields: {customer: string, id: int, till: int}}
tables:
  customers: {topic: customers}
streams:
  orders:
    from: [web o, shop o]
    where: o.id > 0
  named:
    from: orders o
    join:
      - inner: customers c
        on: o.customer == c.key
    select:
      - o.*
      - name: c.name
sinks:
  out: {from: named, topic: out, key: customer}
`, map[string]int{"web": 3})
	r.produce("customers", "a", `{"name":"Ann"}`, 1)
	r.produce("web", "-", `{"customer":"a","id":1}`, 2)
	r.produce("web", "-", `{"customer":"a","id":0}`, 2)
	r.produce("shop", "a", `{"customer":"a","id":2,"till":5}`, 3)
	r.mustRun()
	got := r.values("out")
	if len(got) != 2 {
		t.Fatalf("outputs: %q", got)
	}
	want := map[string]bool{
		`a {"customer":"a","id":1,"name":"Ann"}`:          true,
		`a {"customer":"a","id":2,"till":5,"name":"Ann"}`: true,
	}
	if !want[got[0]] || !want[got[1]] || got[0] == got[1] {
		t.Errorf("outputs: %q", got)
	}
}

func TestJoinByTheFieldThatIsTheKey(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  orders: {topic: orders}
tables:
  items: {topic: items, key: '[value.shop.id, value.id]', envelope: old_new}
streams:
  named:
    from: orders o
    join:
      - inner: items i
        on: o.item == i.id && o.shop == i.shop.id
    select: [{name: i.name}]
sinks:
  out: {from: named, topic: out}
`, nil)
	r.produce("items", "a", `{"new":{"id":1,"shop":{"id":"x"},"name":"A"}}`, 1)
	r.produce("orders", "1", `{"item":1,"shop":"x"}`, 2)
	r.produce("orders", "2", `{"item":1,"shop":"y"}`, 2)
	r.mustRun()
	expect(t, "outputs", r.values("out"), `1 {"name":"A"}`)
}

// Unmatched records can go their own way.
func TestUnmatchedRecordsToASideTopic(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  orders: {topic: orders}
tables:
  customers: {topic: customers}
streams:
  joined:
    from: orders o
    join: [{left: customers c, on: o.customer == c.key}]
    select:
      - o.*
      - found: c != nil
      - customer: 'c == nil ? nil : {name: c.name}'
  strangers:
    from: orders o
    join: [{left: customers c, on: o.customer == c.key}]
    where: c == nil
    select: [o.*]
sinks:
  out: {from: joined, topic: out}
  side: {from: strangers, topic: side}
`, nil)
	r.produce("customers", "a", `{"name":"Ann"}`, 1)
	r.produce("orders", "1", `{"customer":"a"}`, 2)
	r.produce("orders", "2", `{"customer":"b"}`, 3)
	r.mustRun()
	expect(t, "out", r.values("out"),
		`1 {"found":true,"customer":{"name":"Ann"}}`,
		`2 {"found":false,"customer":null}`)
	expect(t, "side", r.values("side"), `2 {"customer":"b"}`)
}
