package operators_test

import (
	"fmt"
	"testing"

	"streamctl/state"
)

// asOfPipeline joins events with the prices that were when they happened.
func asOfPipeline(table, join string) string {
	return fmt.Sprintf(`
pipeline: p
sources:
  sales: {topic: sales}
tables:
  prices: {topic: prices, versioned: 100ms%s}
streams:
  priced:
    from: sales s
    join: [{left: prices p, on: s.item == p.key, as_of: true%s}]
    select: [{item: s.item}, {price: p.price}]
sinks:
  out: {from: priced, topic: out}
`, table, join)
}

var onePartition = map[string]int{"sales": 1, "prices": 1, "out": 1}

func TestAsOfFindsTheRowAtTheTimeOfTheRecord(t *testing.T) {
	records := []string{
		`sales s {"item":"a"} @9`,    // before the first version
		`prices a {"price":1} @10`,   //
		`sales s {"item":"a"} @10`,   // exactly on
		`prices a {"price":3} @30`,   //
		`prices a {"price":2} @20`,   // out of order
		`sales s {"item":"a"} @19`,   // one before
		`sales s {"item":"a"} @20`,   //
		`sales s {"item":"a"} @29`,   //
		`sales s {"item":"a"} @30`,   //
		`prices a {"price":33} @30`,  // again
		`sales s {"item":"a"} @31`,   //
		`prices a - @40`,             //
		`sales s {"item":"a"} @39`,   //
		`sales s {"item":"a"} @40`,   //
		`prices a {"price":5} @50`,   //
		`sales s {"item":"a"} @45`,   // while it was deleted
		`sales s {"item":"a"} @1000`, // the last row is never too old
		`sales s {"item":"a"} @900`,  // the border of history
		`sales s {"item":"a"} @899`,  // older than that
		`prices a {"price":6} @20`,   // changes nothing that can be asked for
		`sales s {"item":"a"} @901`,
	}
	want := []string{"null", "1", "1", "2", "2", "3", "33", "33", "null", "null", "5", "5", "null", "5"}
	for restart := -1; restart < len(records); restart++ {
		r := newRig(t, asOfPipeline("", ""), onePartition)
		for i, rec := range records {
			feed(r, rec)
			if i == restart {
				r.reopen()
			}
		}
		var got []string
		for _, line := range shown(r, "out") {
			var price string
			fmt.Sscanf(line, `s {"item":"a","price":%s`, &price)
			got = append(got, price[:len(price)-1])
		}
		expect(t, fmt.Sprintf("prices with a restart behind %d", restart), got, want...)
	}
}

// What is too old to be asked for leaves the state; the last row of a key stays.
func TestHistoryIsRemovedWithTime(t *testing.T) {
	r := newRig(t, asOfPipeline("", ""), onePartition)
	for at := range 50 {
		feed(r, fmt.Sprintf(`prices a {"price":%d} @%d`, at, at*10), fmt.Sprintf(`prices b%d {"price":1} @%d`, at, at*10), fmt.Sprintf(`prices b%d - @%d`, at, at*10+5))
	}
	feed(r, `prices a {"price":50} @600`, `prices c {"price":1} @601`, `sales s {"item":"a"} @602`, `sales s {"item":"a"} @502`)
	if got := rowsIn(r, "prices"); got > 6 {
		t.Errorf("%d rows are left of the history", got)
	}
	expect(t, "outputs", shown(r, "out"), `s {"item":"a","price":50} @602`, `s {"item":"a","price":49} @502`)
	feed(r, `prices c {"price":2} @2000`, `prices a - @3000`, `prices c - @3000`, `sales s {"item":"x"} @3101`, `sales s {"item":"x"} @3102`)
	if got := rowsIn(r, "prices"); got != 0 {
		t.Errorf("%d rows are left although all keys are deleted", got)
	}
}

// A row that leaves an outer join long after its time still finds the row of its
// time, although for others that is history by then; also if stream time jumps.
func TestAsOfBehindWhatHoldsRecordsBack(t *testing.T) {
	src := `
pipeline: p
sources:
  sales: {topic: sales}
  returns: {topic: returns}
tables:
  prices: {topic: prices, versioned: 20ms}
streams:
  kept:
    from: sales s
    join: [{left: returns r, on: s.item == r.item, within: 100ms}]
    select: [{item: s.item}, {back: r.n}]
  priced:
    from: kept k
    join: [{left: prices p, on: k.item == p.key, as_of: true%s}]
    select: [{item: k.item}, {back: k.back}, {price: p.price}]
sinks:
  out: {from: priced, topic: out}
`
	records := []string{
		`prices a {"price":1} @1000`,
		`sales x {"item":"a"} @1005`,
		`prices a {"price":2} @1010`,
		`sales y {"item":"a"} @1010`,
		`sales z {"item":"a"} @1011`,
		`prices a {"price":3} @1012`,
		`prices a {"price":4} @1060`,
		`prices a {"price":5} @1105`,         // the last moment at which x may be joined
		`returns r {"item":"a","n":7} @1106`, // x has left, y and z are joined
		`sales v {"item":"a"} @1107`,
		`sales w {"item":"b"} @5000`, // a jump
	}
	want := []string{
		`x {"item":"a","back":null,"price":1} @1005`,
		`y {"item":"a","back":7,"price":5} @1106`, `z {"item":"a","back":7,"price":5} @1106`,
		`v {"item":"a","back":7,"price":5} @1107`,
	}
	counts := map[string]int{"sales": 1, "returns": 1, "prices": 1, "out": 1}
	for _, grace := range []string{"", ", grace: 10ms"} {
		for restart := -1; restart < len(records); restart++ {
			r := newRig(t, fmt.Sprintf(src, grace), counts)
			for i, rec := range records {
				feed(r, rec)
				if i == restart {
					r.reopen()
				}
			}
			expect(t, fmt.Sprintf("out%s with a restart behind %d", grace, restart), shown(r, "out"), want...)
		}
	}
}

// rowsIn counts the rows of a state table over all tasks.
func rowsIn(r *rig, table string) int {
	n := 0
	for _, task := range r.tasks {
		if s := task.tc.Tables[table]; s != nil {
			if err := s.Scan(nil, nil, func([]byte, *state.Row) (bool, error) { n++; return true, nil }); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return n
}

// With grace a record waits for rows that come late, and goes on in the order of time.
func TestAsOfWithGraceWaits(t *testing.T) {
	records := []string{
		`prices a {"price":1} @10`,
		`sales x {"item":"a"} @20`,
		`sales y {"item":"a"} @15`,
		`prices a {"price":2} @18`, // late, but in time for x
		`sales t {"item":"t"} @29`, // one before
		`sales z {"item":"a"} @20`, // at equal times in the order of their coming
		`sales t {"item":"t"} @30`, // exactly on: x and z leave
		`prices a {"price":3} @19`, // too late
		`sales l {"item":"a"} @20`, // as late as that: at once
		`sales m {"item":"a"} @21`, // waits
		`sales t {"item":"t"} @500`,
	}
	want := []string{
		`y {"item":"a","price":1} @15`, `x {"item":"a","price":2} @20`, `z {"item":"a","price":2} @20`, `l {"item":"a","price":3} @20`,
		`m {"item":"a","price":3} @21`, `t {"item":"t","price":null} @29`, `t {"item":"t","price":null} @30`,
	}
	for restart := -1; restart < len(records); restart++ {
		r := newRig(t, asOfPipeline("", ", grace: 10ms"), onePartition)
		for i, rec := range records {
			feed(r, rec)
			if i == restart {
				r.reopen()
			}
		}
		expect(t, fmt.Sprintf("outputs with a restart behind %d", restart), shown(r, "out"), want...)
		if n := rowsIn(r, "priced-prices.wait"); n != 1 {
			t.Errorf("%d records wait, want the last one", n)
		}
	}
}

// The topic of a versioned table with a key of its own is no changelog: deletions
// and late versions pass through the copying step.
func TestRekeyedVersionedTable(t *testing.T) {
	r := newRig(t, asOfPipeline(", key: value.id", ""), map[string]int{"sales": 2, "prices": 3, "out": 1})
	feed(r, `prices r {"id":"a","price":1} @10`, `prices r {"id":"b","price":2} @20`, `prices r - @30`)
	feed(r, `sales s {"item":"a"} @19`, `sales s {"item":"a"} @20`, `sales s {"item":"b"} @29`, `sales s {"item":"b"} @31`)
	expect(t, "outputs", r.values("out"),
		`s {"item":"a","price":1}`, `s {"item":"a","price":null}`, `s {"item":"b","price":2}`, `s {"item":"b","price":null}`)
}
