package operators_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"streamctl/internal/codec"
	"streamctl/internal/record"
)

// The plan must not change the meaning: however the topics are partitioned and
// keyed, whatever is repartitioned, the outputs are those of a model that knows
// no partitions.
func TestPlansMeanTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawModel(rt)
		r := newRig(t, m.source(), map[string]int{
			"orders": m.orderParts, "users": m.userParts, "shops": m.shopParts, "out": m.outParts, "totals": m.outParts,
		})
		for _, u := range m.users {
			placedBy := u.recordKey(m)
			if m.usersKeyed == 3 {
				placedBy = u.id
			}
			r.produceAt("users", u.recordKey(m), u.value(m), 1, placedBy)
		}
		for _, s := range m.shops {
			r.produceAt("shops", s.id, fmt.Sprintf(`{"city":%q}`, s.city), 1, s.id)
		}
		for i, o := range m.orders {
			r.produceAt("orders", o.recordKey(m, i), o.value(i), int64(10+i), o.recordKey(m, i))
		}
		if err := r.run(); err != nil {
			rt.Fatal(err)
		}
		compare(rt, "out", r.values("out"), m.outputs())
		compare(rt, "totals", lastPerKey(r.values("totals")), m.totals())
	})
}

// model is a pipeline of one choice each, and its data.
type model struct {
	orderParts, userParts, shopParts, outParts int
	left                                       bool
	// usersKeyed: how the table of users gets its key: the record key, the record
	// key through an expression, a field.
	usersKeyed int
	// ordersKeyed: what the record key of orders is: nothing of interest, the
	// user, the user by promise.
	ordersKeyed int
	union       bool

	users  []modelUser
	shops  []modelShop
	orders []modelOrder
}

type modelUser struct {
	id      string
	name    string // "" = deleted
	account int    // the record key where that is not the id
}

type modelShop struct{ id, city string }

type modelOrder struct {
	user, shop string
	amount     int
}

func drawModel(t *rapid.T) *model {
	m := &model{
		userParts: rapid.IntRange(1, 4).Draw(t, "userParts"), shopParts: rapid.IntRange(1, 4).Draw(t, "shopParts"),
		outParts: rapid.IntRange(1, 3).Draw(t, "outParts"), left: rapid.Bool().Draw(t, "left"),
		usersKeyed: rapid.IntRange(0, 3).Draw(t, "usersKeyed"), ordersKeyed: rapid.IntRange(0, 2).Draw(t, "ordersKeyed"),
		union: rapid.Bool().Draw(t, "union"),
	}
	m.orderParts = rapid.IntRange(1, 4).Draw(t, "orderParts")
	if m.usersKeyed%3 == 0 && m.ordersKeyed > 0 {
		m.orderParts = m.userParts // both are read as they lie
	}
	ids := []string{"a", "b", "c", "d", "e", "é"}
	for account := range rapid.IntRange(0, 12).Draw(t, "users") {
		u := modelUser{id: rapid.SampledFrom(ids).Draw(t, "id"), account: account}
		if m.usersKeyed == 2 { // one account per user, so that rows are not fought for
			u.account = slices.Index(ids, u.id)
		}
		if rapid.IntRange(0, 4).Draw(t, "alive") > 0 {
			u.name = fmt.Sprintf("%s%d", u.id, account)
		}
		m.users = append(m.users, u)
	}
	for _, id := range []string{"x", "y"} {
		m.shops = append(m.shops, modelShop{id, rapid.SampledFrom([]string{"Rome", "Oslo"}).Draw(t, "city")})
	}
	for range rapid.IntRange(0, 20).Draw(t, "orders") {
		m.orders = append(m.orders, modelOrder{
			user: rapid.SampledFrom(append(ids, "")).Draw(t, "user"), shop: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "shop"),
			amount: rapid.IntRange(-5, 5).Draw(t, "amount"),
		})
	}
	return m
}

// source writes the pipeline.
func (m *model) source() string {
	kind := map[bool]string{true: "left", false: "inner"}[m.left]
	usersKey := []string{"", `, key: 'split(key, "-")[1]'`, ", key: value.id", `, key: 'split(key, "-")[1]', partitioned_by: 'split(key, "-")[1]'`}[m.usersKeyed]
	promise := []string{"", "", ", partitioned_by: user"}[m.ordersKeyed]
	on := []string{"o.user", "o.key", "o.user"}[m.ordersKeyed]
	from := "orders o"
	if m.union {
		from = "[cheap o, dear o]"
	}
	return replaced(`
pipeline: p
sources:
  orders: {topic: orders, fields: {user: string, shop: string, amount: int, n: int}PROMISE}
tables:
  users: {topic: usersUSERS}
  shops: {topic: shops}
  totals:
    from: named n
    group_by: n.city
    select:
      - city: n.city
      - orders: count()
      - amount: sum(n.amount)
streams:
  cheap:
    from: orders o
    where: o.amount < 0
  dear:
    from: orders o
    where: o.amount >= 0
  named:
    from: FROM
    join:
      - KIND: users u
        on: ON == u.key
      - KIND: shops s
        on: o.shop == s.key
    select:
      - o.*
      - name: u.name
      - city: s.city
      - length: len(u.name) + len(s.city)
sinks:
  out: {from: named, topic: out, key: 'string(n)'}
  totals_out: {from: totals, topic: totals}
`, "KIND", kind, "USERS", usersKey, "PROMISE", promise, "ON", on, "FROM", from)
}

func (u modelUser) recordKey(m *model) string {
	switch m.usersKeyed {
	case 0:
		return u.id
	case 1, 3:
		return "user-" + u.id
	}
	return fmt.Sprintf("account%d", u.account)
}

func (u modelUser) value(*model) string {
	if u.name == "" {
		return "-"
	}
	return fmt.Sprintf(`{"id":%q,"name":%q}`, u.id, u.name)
}

func (o modelOrder) recordKey(m *model, i int) string {
	switch {
	case m.ordersKeyed == 0:
		return fmt.Sprintf("order%d", i)
	case o.user == "":
		return "-"
	}
	return o.user
}

func (o modelOrder) value(i int) string {
	user := "null"
	if o.user != "" {
		user = fmt.Sprintf("%q", o.user)
	}
	return fmt.Sprintf(`{"user":%s,"shop":%q,"amount":%d,"n":%d}`, user, o.shop, o.amount, i)
}

// outputs is the sequential meaning of the joins.
func (m *model) outputs() []string {
	var out []string
	m.each(func(i int, o modelOrder, name, city string) {
		length := "null"
		if name != "null" && city != "null" {
			length = fmt.Sprint(len([]rune(name)) + len(city) - 4)
		}
		out = append(out, fmt.Sprintf(`%d %s,"name":%s,"city":%s,"length":%s}`, i, strings.TrimSuffix(o.value(i), "}"), name, city, length))
	})
	slices.SortStableFunc(out, func(a, b string) int {
		return strings.Compare(a[:strings.Index(a, " ")], b[:strings.Index(b, " ")])
	})
	return out
}

// each visits the joined orders; name and city are JSON.
func (m *model) each(visit func(i int, o modelOrder, name, city string)) {
	users, shops := map[string]string{}, map[string]string{}
	for _, u := range m.users {
		users[u.id] = u.name
	}
	for _, s := range m.shops {
		shops[s.id] = s.city
	}
	quoted := func(s string) string {
		if s == "" {
			return "null"
		}
		return fmt.Sprintf("%q", s)
	}
	for i, o := range m.orders {
		name, city := users[o.user], shops[o.shop]
		if o.user == "" {
			name = ""
		}
		if !m.left && (name == "" || city == "") {
			continue
		}
		visit(i, o, quoted(name), quoted(city))
	}
}

// totals is the last row per city.
func (m *model) totals() []string {
	count, sum := map[string]int{}, map[string]int{}
	m.each(func(_ int, o modelOrder, _, city string) {
		if city != "null" {
			count[city]++
			sum[city] += o.amount
		}
	})
	var out []string
	for city, n := range count {
		out = append(out, fmt.Sprintf(`%s {"city":%s,"orders":%d,"amount":%d}`, strings.Trim(city, `"`), city, n, sum[city]))
	}
	slices.Sort(out)
	return out
}

// lastPerKey keeps the last of the lines of each key.
func lastPerKey(lines []string) []string {
	last := map[string]string{}
	for _, line := range lines {
		key, _, _ := strings.Cut(line, " ")
		last[key] = line
	}
	var out []string
	for _, line := range last {
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func compare(t *rapid.T, what string, got, want []string) {
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got  %s\n want %s", what, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
}

// produceAt is produce with the partition of another key.
func (r *rig) produceAt(topic, key, value string, time int64, placedBy string) {
	rec := record.Record{Time: time}
	if key != "-" {
		rec.Key = []byte(key)
	}
	if value != "-" {
		rec.Value = []byte(value)
	}
	r.append(topic, codec.Partition([]byte(placedBy), int32(len(r.topics[topic]))), rec)
}
