package operators_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"streamctl/pipeline"
)

// wall lets ms of wall clock pass and fires the timers, in the order of the tasks.
func (r *rig) wall(ms int64) {
	r.t.Helper()
	r.now += ms
	for _, task := range r.tasks {
		for _, timer := range task.tc.Timers.Wall() {
			if err := timer.Fire(r.now); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

const coalesced = `
pipeline: p
sources:
  views: {topic: views, fields: {page: string, ms: int}}
tables:
  pages:
    from: views v
    group_by: {page: v.page}
    select:
      - page: page
      - n: count()
      - longest: max(v.ms)
      - all: collect_list(v.ms)
    emit: {every: 1s}
sinks:
  out: {from: pages, topic: out}
`

// The last state of each group is sent, once, in the order in which the groups
// changed first; a restart in between, or before the first, changes nothing.
func TestCoalescedChanges(t *testing.T) {
	for _, restarts := range [][]int{nil, {0}, {1, 2}, {3}, {4, 5}, {0, 1, 2, 3, 4, 5}} {
		r := newRig(t, coalesced, map[string]int{"views": 1, "out": 1})
		at := 0
		pause := func() {
			if slices.Contains(restarts, at) {
				r.reopen()
			}
			at++
		}
		view := func(page string, ms, time int64) {
			r.produce("views", "1", fmt.Sprintf(`{"page":%q,"ms":%d}`, page, ms), time)
			r.mustRun()
			pause()
		}
		r.wall(1000)
		view("b", 1, 10)
		view("a", 2, 20)
		view("b", 3, 5)
		expect(t, "outputs before", r.show("out"))
		r.wall(1000)
		pause()
		r.wall(1000)
		view("a", 4, 30)
		r.wall(1000)
		got := r.show("out")
		if restarts != nil { // found again in the order of keys
			slices.Sort(got)
		}
		want := []string{
			`0 b {"page":"b","n":2,"longest":3,"all":[1,3]} @10`,
			`0 a {"page":"a","n":1,"longest":2,"all":[2]} @20`,
			`0 a {"page":"a","n":2,"longest":4,"all":[2,4]} @30`,
		}
		if restarts != nil {
			slices.Sort(want)
		}
		expect(t, fmt.Sprint("outputs with restarts at ", restarts), got, want...)
	}
}

// Those behind are told what has changed since they were told last, not since
// the last record: a filter takes back what it has let through, and a group of
// groups takes out what it has taken in.
func TestCoalescedChangesTakeBackWhatWasTold(t *testing.T) {
	src := `
pipeline: p
sources:
  moves: {topic: moves, fields: {account: string, bank: string, amount: int}}
tables:
  accounts:
    from: moves m
    group_by: {bank: m.bank, account: m.account}
    select: [{bank: bank}, {balance: sum(m.amount)}]
    having: balance > 0
    emit: {every: 1s}
  banks:
    from: accounts a
    group_by: a.bank
    select: [{accounts: count()}, {total: sum(a.balance)}]
sinks:
  out: {from: accounts, topic: out}
  banked: {from: banks, topic: banks}
`
	for seed := range uint64(25) {
		r := newRig(t, src, map[string]int{"moves": 1, "out": 1, "banks": 1})
		random := rand.New(rand.NewPCG(seed, 1))
		balances := map[string]int64{}
		for i := range 200 {
			account, amount := fmt.Sprint(random.IntN(6)), int64(random.IntN(9)-4)
			balances[account] += amount
			r.produce("moves", "1", fmt.Sprintf(`{"account":%q,"bank":"x","amount":%d}`, account, amount), int64(i))
			r.mustRun()
			if random.IntN(10) == 0 {
				r.wall(1000)
				r.mustRun() // through the repartition
			}
			if random.IntN(10) == 0 {
				r.reopen()
			}
		}
		r.wall(1000)
		r.mustRun()
		open, total := 0, int64(0)
		for _, b := range balances {
			if b > 0 {
				open, total = open+1, total+b
			}
		}
		sum := "null"
		if open > 0 {
			sum = fmt.Sprint(total)
		}
		banks := r.values("banks")
		want := fmt.Sprintf(`x {"accounts":%d,"total":%s}`, open, sum)
		if len(banks) == 0 || banks[len(banks)-1] != want {
			t.Fatalf("seed %d: the bank is %v in the end, want %s", seed, banks[max(0, len(banks)-1):], want)
		}
		foldTopic(t, r, "out", open)
	}
}

// A group that is gone and comes about anew has the time of what is in it now, whether
// or not it has been told meanwhile that it was gone.
func TestCoalescedGroupComesAboutAnew(t *testing.T) {
	src := `
pipeline: p
tables:
  people: {topic: people, fields: {city: string}}
  cities:
    from: people p
    group_by: p.city
    select: [{people: count()}]
    having: people > 0
    emit: {every: 1s}
sinks:
  out: {from: cities, topic: out}
`
	for _, told := range []bool{false, true} {
		r := newRig(t, src, map[string]int{"people": 1, "out": 1})
		for i, move := range []struct {
			who, city string
			time      int64
		}{{"1", "bern", 3}, {"1", "rome", 27}, {"2", "bern", 25}} {
			r.produce("people", move.who, fmt.Sprintf(`{"city":%q}`, move.city), move.time)
			r.mustRun()
			if i == 0 || told {
				r.wall(1000)
				r.mustRun()
			}
		}
		r.wall(1000)
		r.mustRun()
		want := []string{`0 bern {"people":1} @3`, `0 bern {"people":1} @25`, `0 rome {"people":1} @27`}
		if told {
			want = []string{`0 bern {"people":1} @3`, `0 bern - @27`, `0 rome {"people":1} @27`, `0 bern {"people":1} @25`}
		}
		expect(t, fmt.Sprint("outputs, told: ", told), r.show("out"), want...)
	}
}

// foldTopic checks that the changes in a topic make sense one after another, and
// leave so many rows.
func foldTopic(t *testing.T, r *rig, topic string, rows int) {
	t.Helper()
	table := map[string]bool{}
	for _, rec := range r.topics[topic][0] {
		key := string(rec.Key)
		if rec.Value == nil && !table[key] {
			t.Errorf("%s is deleted, which nobody knew of", key)
		}
		if table[key] = rec.Value != nil; !table[key] {
			delete(table, key)
		}
	}
	if len(table) != rows {
		t.Errorf("%s has %d rows, want %d", topic, len(table), rows)
	}
}

// A join of tables sees groups as their changes have told them, and not those
// that having refuses.
func TestJoinOfTablesSeesGroupsAsTold(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  views: {topic: views, partitioned_by: page, fields: {page: string}}
tables:
  pages: {topic: pages, fields: {title: string}}
  counts:
    from: views v
    group_by: v.page
    select: [{n: count()}]
    having: n > 1
    emit: {every: 1s}
  titled:
    from: pages p
    join: [{left: counts c, on: p.key == c.key}]
    select: [{title: p.title}, {n: c.n}]
sinks:
  out: {from: titled, topic: out}
`, map[string]int{"views": 1, "pages": 1, "out": 1})
	view := func() {
		r.produce("views", "a", `{"page":"a"}`, 1)
		r.mustRun()
	}
	title := func(s string) {
		r.produce("pages", "a", `{"title":"`+s+`"}`, 1)
		r.mustRun()
	}
	title("one")
	view()
	r.wall(1000)
	view()
	view()
	title("two")
	r.wall(1000)
	view()
	r.reopen()
	title("three")
	r.wall(1000)
	r.wall(1000)
	expect(t, "outputs", r.values("out"),
		`a {"title":"one","n":null}`,
		`a {"title":"two","n":null}`,
		`a {"title":"two","n":3}`,
		`a {"title":"three","n":3}`,
		`a {"title":"three","n":4}`)
}

// A row that was still to be sent when the pipeline stopped to coalesce is told
// with what was told last.
func TestRowsOfAPipelineThatCoalesced(t *testing.T) {
	r := newRig(t, coalesced, map[string]int{"views": 1, "out": 1})
	view := func(ms int) {
		r.produce("views", "1", fmt.Sprintf(`{"page":"a","ms":%d}`, ms), 1)
		r.mustRun()
	}
	view(1)
	r.wall(1000)
	view(2)
	result, diags := pipeline.Compile("test.yaml", []byte(replaced(coalesced, "    emit: {every: 1s}\n", "")), pipeline.ParseOptions{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	r.topology = result.Topology
	r.reopen()
	view(3)
	r.reopen()
	view(4)
	expect(t, "outputs", r.values("out"),
		`a {"page":"a","n":1,"longest":1,"all":[1]}`,
		`a {"page":"a","n":3,"longest":3,"all":[1,2,3]}`,
		`a {"page":"a","n":4,"longest":4,"all":[1,2,3,4]}`)
}
