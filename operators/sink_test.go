package operators_test

import (
	"strconv"
	"testing"

	"streamctl/internal/record"
)

func TestSinkKeepsThePartitionOfAnUnchangedKey(t *testing.T) {
	src := `
pipeline: p
sources:
  in: {topic: in}
sinks:
  same: {from: in, topic: same}
  more: {from: in, topic: more}
  other: {from: in, topic: other, key: value.n}
  as_json: {from: in, topic: as-json, key_format: json}
`
	r := newRig(t, src, map[string]int{"in": 2, "same": 2, "more": 3, "other": 2, "as-json": 2})
	// The producer of this topic has its own idea of partitions.
	wrong := 1 - r.partitionOf("in", "k")
	r.append("in", wrong, record.Record{Key: []byte("k"), Value: []byte(`{"n":5}`), Time: 3})
	r.append("in", wrong, record.Record{Value: []byte(`{"n":null}`), Time: 3})
	r.mustRun()
	at := func(topic string, p int32, n int) {
		t.Helper()
		if got := len(r.topics[topic][p]); got != n {
			t.Errorf("%s has %d records in partition %d, want %d", topic, got, p, n)
		}
	}
	at("same", wrong, 2)
	if p := r.partitionOf("more", "k"); p == wrong {
		at("more", p, 2)
	} else {
		at("more", p, 1)
		at("more", wrong, 1)
	}
	if p := r.partitionOf("other", "5"); p == wrong {
		at("other", p, 2)
	} else {
		at("other", p, 1)
	}
	expect(t, "as-json", r.values("as-json"), `"k" {"n":5}`, `- {"n":null}`)
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ format, in, where, key, value, want string }{
		{"string", "text", "true", "value", "string", "text text"},
		{"string", "text", "len(value) > 0", "len(value)", "json", `4 "text"`},
		{"long", "\x00\x00\x00\x00\x00\x00\x00\x07", "value == 7", "value + 1", "int", "8 \x00\x00\x00\x07"},
		{"int", "\x00\x00\x00\x07", "true", "value", "double", "7 @\x1c\x00\x00\x00\x00\x00\x00"},
		{"double", "@\x1c\x00\x00\x00\x00\x00\x00", "value == 7.0", "value", "long", "7 \x00\x00\x00\x00\x00\x00\x00\x07"},
		{"json", `[1, 2]`, "value[0] == 1", "value[1]", "json", "2 [1, 2]"},
		{"json", `"x"`, "true", "value", "string", "x x"},
		{"json", ` 5 `, "true", "value", "string", "5 5"},
	} {
		r := newRig(t, `
pipeline: p
sources:
  in: {topic: in, format: `+c.format+`}
streams:
  s:
    from: in
    where: `+c.where+`
sinks:
  out: {from: s, topic: out, key: '`+c.key+`', format: `+c.value+`}
`, nil)
		r.produce("in", "k", c.in, 1)
		r.mustRun()
		expect(t, c.format+" to "+c.value, r.values("out"), c.want)
	}
}

func TestNullValuesOfAStreamPass(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in}
streams:
  some:
    from: in i
    select:
      - i.*
      - n: i.n
sinks:
  all: {from: in, topic: all}
  some_out: {from: some, topic: some}
`, nil)
	r.produce("in", "k", "-", 1, record.Header{Key: "a", Value: []byte("b")})
	r.mustRun()
	expect(t, "all", r.values("all"), "k -")
	expect(t, "some", r.values("some"), `k {"n":null}`)
	for _, log := range r.topics["all"] {
		for _, rec := range log {
			if len(rec.Headers) != 1 || rec.Headers[0].Key != "a" {
				t.Errorf("headers %v", rec.Headers)
			}
		}
	}
}

func TestTheTextNullIsNoNull(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in, format: string}
tables:
  words:
    from: in i
    group_by: i.value
    select: [{n: count()}]
sinks:
  out: {from: words, topic: out}
`, nil)
	r.produce("in", "k", "null", 1)
	r.produce("in", "k", "-", 1)
	r.mustRun()
	expect(t, "outputs", r.values("out"), `null {"n":1}`)
	expect(t, "drops", r.drops(), "words null-value 1")
}

// Within a document bytes are base64 text; expressions and sinks see bytes,
// also where the record has passed a repartition topic on the way.
func TestBytesStayBytes(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in, format: bytes}
tables:
  sizes:
    from: in i
    group_by: len(i.value)
    select: [{n: count()}, {hex: 'sum(len(hex_encode(i.value)))'}]
streams:
  joined:
    from: in i
    join: [{left: sizes s, on: len(i.value) == s.key}]
    select: [{raw: i.value}, {hex: hex_encode(i.value)}]
sinks:
  copy: {from: in, topic: copy, format: bytes}
  groups: {from: sizes, topic: groups}
  both: {from: joined, topic: both}
`, nil)
	r.produce("in", "k", "\x00\xff", 1)
	r.mustRun()
	expect(t, "copy", r.values("copy"), "k \x00\xff")
	expect(t, "groups", r.values("groups"), `2 {"n":1,"hex":4}`)
	expect(t, "both", r.values("both"), `k {"raw":"AP8=","hex":"00ff"}`)
}

// Keys of bytes come back from state as bytes, and are no strings.
func TestBytesKeysStayBytes(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in, format: string, key_format: bytes}
tables:
  counts:
    from: in i
    group_by: i.key
    select: [{n: count()}]
  rows: {topic: rows, format: string, key_format: bytes}
streams:
  joined:
    from: in i
    join: [{left: rows r, on: i.key == r.key}]
    select: [{row: r.value}]
sinks:
  counted: {from: counts, topic: counted, key_format: bytes}
  copied: {from: rows, topic: copied, key_format: bytes}
  both: {from: joined, topic: both, key_format: bytes}
`, map[string]int{"in": 1, "rows": 1, "counted": 1, "copied": 1, "both": 1})
	r.produce("rows", "\xff\x00", "R", 1)
	r.produce("in", "\xff\x00", "a", 2)
	r.produce("in", "/wA=", "b", 3)
	r.produce("in", "\xff\x00", "c", 4)
	r.mustRun()
	expect(t, "counted", r.values("counted"), "/wA= {\"n\":1}", "\xff\x00 {\"n\":1}", "\xff\x00 {\"n\":2}")
	expect(t, "both", r.values("both"), "/wA= {\"row\":null}", "\xff\x00 {\"row\":\"R\"}", "\xff\x00 {\"row\":\"R\"}")
	if got := string(r.topics["copied"][0][0].Key); got != "\xff\x00" {
		t.Errorf("copied key %q", got)
	}
}

// What the pipeline adds to a record must not make it too large for a topic of
// the pipeline's own: nobody could ever get past it.
func TestOwnTopicsTakeWhatIsAdded(t *testing.T) {
	r := newRig(t, `
pipeline: p
on_error: dead_letter
sources:
  in: {topic: in}
tables:
  words:
    from: in i
    group_by: i.word
    select: [{n: count()}]
sinks:
  out: {from: words, topic: out}
`, nil)
	const usual = 1 << 20 // a broker's default for topics that say nothing
	for _, topic := range r.topology.Internal {
		if n, err := strconv.Atoi(topic.Configs["max.message.bytes"]); err != nil || n < 2*usual {
			t.Errorf("%s: max.message.bytes %q", topic.Name, topic.Configs["max.message.bytes"])
		}
	}
	if len(r.topology.Internal) != 3 {
		t.Errorf("%d topics of its own, want changelog, repartition and dead letters", len(r.topology.Internal))
	}
}
