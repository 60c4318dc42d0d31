package operators_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/operators"
)

// A union of topics whose keys have different formats meets by a format that
// holds the keys of all, whichever of them stands first.
func TestUnionOfKeyFormats(t *testing.T) {
	keys := map[codec.Format]value.Value{
		codec.FormatJSON: value.OfRaw(`[5]`), codec.FormatString: value.OfString("5"), codec.FormatBytes: value.OfBytes([]byte("\xff")),
		codec.FormatInt: value.OfInt(5), codec.FormatLong: value.OfInt(1 << 40), codec.FormatDouble: value.OfFloat(0.5),
	}
	for _, clauses := range []string{
		`tables: {r: {from: [a x, b x], group_by: x.key, select: [{n: count()}]}}`,
		`streams: {r: {from: [a x, b x], dedup: {by: x.key, within: 1s}}}`,
	} {
		for f, first := range keys {
			for g, second := range keys {
				r := newRig(t, fmt.Sprintf(`
pipeline: p
sources:
  a: {topic: a, key_format: %s}
  b: {topic: b, key_format: %s}
%s
sinks: {o: {from: r, topic: out, key: key, key_format: json}}
`, f, g, clauses), nil)
				r.put("a", f, first)
				r.put("b", g, second)
				if err := r.run(); err != nil {
					t.Fatalf("%s and %s: %v", f, g, err)
				}
				want := 2
				if f == g && clauses[0] == 's' {
					want = 1
				}
				if got := r.values("out"); len(got) != want {
					t.Errorf("%s and %s: got %q", f, g, got)
				}
				if f == g && slices.ContainsFunc(r.topology.Internal, func(t operators.InternalTopic) bool { return strings.HasSuffix(t.Name, "repartition") }) {
					t.Errorf("%s: keys of one format travel", f)
				}
			}
		}
	}
}

// Numbers that are equal are one key, in whatever format they come.
func TestEqualKeysOfSeveralFormatsMeet(t *testing.T) {
	numbers := []codec.Format{codec.FormatJSON, codec.FormatInt, codec.FormatLong, codec.FormatDouble}
	for _, f := range numbers {
		for _, g := range numbers {
			r := newRig(t, fmt.Sprintf(`
pipeline: p
sources:
  a: {topic: a, key_format: %s}
  b: {topic: b, key_format: %s}
tables: {g: {from: [a x, b x], group_by: x.key, select: [{n: count()}]}}
sinks: {o: {from: g, topic: out, key_format: json}}
`, f, g), nil)
			for i := range int64(20) {
				r.put("a", f, value.OfInt(i))
				r.put("b", g, value.OfInt(i))
			}
			r.mustRun()
			if got := r.values("out"); len(got) != 40 || !slices.Contains(got, `7 {"n":2}`) || !slices.Contains(got, `19 {"n":2}`) {
				t.Errorf("%s and %s: got %q", f, g, got)
			}
		}
	}
}

// put produces a record as its key's format says.
func (r *rig) put(topic string, f codec.Format, key value.Value) {
	r.t.Helper()
	text, err := codec.EncodeKey(nil, f, key)
	if err != nil {
		r.t.Fatal(err)
	}
	r.append(topic, codec.Partition(text, int32(len(r.topics[topic]))), record.Record{Key: text, Value: []byte(`{"n":1}`), Time: 1})
}
