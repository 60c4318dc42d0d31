package operators_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
)

const failing = `
pipeline: p
sources:
  in: {topic: in, timestamp: at, SOURCE, fields: {at: int, n: int, d: int}}
streams:
  s:
    from: in i
    select:
      - q: i.n / i.d
    STREAM
sinks:
  out: {from: s, topic: out, SINK}
`

func failingWith(source, stream, sink string) string {
	return replaced(failing, "SOURCE", source, "STREAM", stream, "SINK", sink)
}

func TestFailStopsAndTellsWhere(t *testing.T) {
	r := newRig(t, failingWith("on_error: fail", "", "on_error: fail"), map[string]int{"in": 1})
	r.produce("in", "a", `{"at":1,"n":1,"d":1}`, 1)
	r.produce("in", "b", `{"at":1,"n":1,"d":0}`, 1)
	err := r.run()
	var re *operators.RecordError
	if !errors.As(err, &re) {
		t.Fatalf("error %v is no RecordError", err)
	}
	at := record.Position{TopicPartition: record.TopicPartition{Topic: "in"}, Offset: 1}
	if re.Position != at || re.Operator != "s" || string(re.Input) != `{"at":1,"n":1,"d":0}` || re.Span.Start.Line == 0 {
		t.Errorf("got %+v", re)
	}
	if !strings.Contains(err.Error(), "in/0@1") || !strings.Contains(err.Error(), "division") {
		t.Errorf("message %q", err)
	}
}

func TestDeadLettersCarryTheRecordAndWhy(t *testing.T) {
	r := newRig(t, failingWith("on_error: dead_letter", "on_error: dead_letter", "on_error: fail"), map[string]int{"in": 1})
	r.produce("in", "a", `{"at":"x"}`, 7, record.Header{Key: "h", Value: []byte("1")})
	r.produce("in", "b", `{"at":1,"n":1,"d":0}`, 8)
	r.produce("in", "c", `{"at":-1}`, 9)
	r.produce("in", "d", `{"at":1,"n":6,"d":3}`, 10)
	r.mustRun()
	expect(t, "outputs", r.values("out"), `d {"q":2}`)
	var got []string
	for _, rec := range r.topics["p.dead-letters"][0] {
		line := text(rec.Key) + " " + text(rec.Value)
		for _, h := range rec.Headers {
			if h.Key != operators.HeaderError {
				line += " " + strings.TrimPrefix(h.Key, "streamctl.") + "=" + string(h.Value)
			} else if len(h.Value) == 0 {
				t.Error("no error in the headers")
			}
		}
		got = append(got, line)
		if rec.Time < 7 {
			t.Errorf("time %d is not the record's", rec.Time)
		}
	}
	tail := func(offset string) string { return " topic=in partition=0 offset=" + offset + " pipeline=p" }
	expect(t, "dead letters", got,
		`a {"at":"x"} h=1 reason=wrong-type operator=in`+tail("0"),
		`b {"at":1,"n":1,"d":0} reason=expression operator=s`+tail("1"),
		`c {"at":-1} reason=invalid-timestamp operator=in`+tail("2"))
	expect(t, "drops", r.drops(), "in invalid-timestamp 1", "in wrong-type 1", "s expression 1")
}

func TestDeadLettersBehindARepartition(t *testing.T) {
	r := newRig(t, replaced(joinOf("left"), "    select:", "    on_error: dead_letter\n    select:", "- name: c.name", "- name: 1 / c.zero"), map[string]int{"orders": 2})
	r.produce("customers", "a", `{"zero":0}`, 1)
	r.produce("orders", "k0", `{"customer":"b"}`, 2)
	r.produce("orders", "k0", `{"customer":"a"}`, 3, record.Header{Key: "h", Value: []byte("1")})
	r.mustRun()
	var letters []record.Record
	for _, log := range r.topics["p.dead-letters"] {
		letters = append(letters, log...)
	}
	if len(letters) != 1 {
		t.Fatalf("%d dead letters", len(letters))
	}
	headers := map[string]string{}
	for _, h := range letters[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	if string(letters[0].Key) != "k0" || string(letters[0].Value) != `{"customer":"a"}` || headers["h"] != "1" ||
		headers[operators.HeaderTopic] != "orders" || headers[operators.HeaderOffset] != "1" || len(headers) != 8 {
		t.Errorf("dead letter %q %q with %q", letters[0].Key, letters[0].Value, headers)
	}
}

func TestPipelineWideOnError(t *testing.T) {
	r := newRig(t, "on_error: skip\n"+failingWith("on_error: skip", "", "key_format: string"), map[string]int{"in": 1})
	r.produce("in", "b", `{"at":1,"n":1,"d":0}`, 1)
	r.produce("in", "b", `{"at":1,"n":1,"d":0`, 1)
	r.mustRun()
	if got := r.drops(); len(got) != 2 {
		t.Errorf("drops %q", got)
	}
}

func TestWrongPartitionIsNoticed(t *testing.T) {
	src := `
pipeline: p
sources:
  views: {topic: views, partitioned_by: viewer, on_error: skip, fields: {viewer: int}}
sinks:
  out: {from: views, topic: out}
`
	r := newRig(t, src, map[string]int{"views": 3})
	for p := range int32(3) {
		r.append("views", p, record.Record{Key: []byte("k"), Value: []byte(`{"viewer":1234}`), Time: 1})
	}
	r.mustRun()
	expect(t, "drops", r.drops(), "views wrong-partition 2")
	if got := r.values("out"); len(got) != 1 {
		t.Errorf("outputs %q", got)
	}
}

// placed runs 2048 records in partition 0 of 2, the first 100 of them right by
// the value, the others wrong; key gives their record keys. It returns what was dropped.
func placed(t *testing.T, key func(r *rig, value string) string) []string {
	r := newRig(t, `
pipeline: p
sources:
  views: {topic: views, partitioned_by: viewer, on_error: skip, fields: {viewer: string}}
sinks:
  out: {from: views, topic: out}
`, map[string]int{"views": 2})
	good, bad := "", ""
	for _, k := range []string{"a", "b", "c", "d", "e"} {
		if r.partitionOf("views", k) == 0 {
			good = k
		} else {
			bad = k
		}
	}
	for i := range 2048 {
		viewer := good
		if i >= 100 {
			viewer = bad
		}
		r.append("views", 0, record.Record{Key: []byte(key(r, viewer)), Value: fmt.Appendf(nil, `{"viewer":%q}`, viewer), Time: 1})
	}
	r.mustRun()
	return r.drops()
}

// A topic that gets more partitions puts keys elsewhere from some record on.
func TestPlacementByTheRecordKeyIsCheckedAlways(t *testing.T) {
	got := placed(t, func(_ *rig, viewer string) string { return viewer })
	expect(t, "drops", got, "views wrong-partition 1948")
}

func TestPlacementByAValueIsSampledBehindTheFirst(t *testing.T) {
	got := placed(t, func(r *rig, _ string) string {
		for _, k := range []string{"a", "b", "c", "d", "e"} {
			if r.partitionOf("views", k) == 1 {
				return k
			}
		}
		return ""
	})
	expect(t, "drops", got, "views wrong-partition 2")
}

func TestRecordKeyJoinRelyingOnPartitionsIsChecked(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  orders: {topic: orders, on_error: skip}
tables:
  customers: {topic: customers, on_error: skip}
streams:
  named:
    from: orders o
    join: [{inner: customers c, on: o.key == c.key}]
sinks:
  out: {from: named, topic: out}
`, map[string]int{"orders": 2, "customers": 2})
	for p := range int32(2) {
		r.append("customers", p, record.Record{Key: []byte("k"), Value: []byte(`{}`), Time: 1})
		r.append("orders", p, record.Record{Key: []byte("k"), Value: []byte(`{}`), Time: 1})
	}
	r.mustRun()
	expect(t, "drops", r.drops(), "customers wrong-partition 1", "orders wrong-partition 1")
}
