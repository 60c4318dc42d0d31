package operators_test

import (
	"errors"
	"strings"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
)

const largeResults = `
pipeline: p
sources:
  in: {topic: in, fields: {n: int, text: string}}
streams:
  s:
    from: in i
    select:
      - n: i.n
      - text: i.text
sinks:
  out: {from: s, topic: out, on_error: POLICY}
`

// large is a document whose result takes about size/10 bytes as the rig measures it.
func large(size int) string { return `{"n":1,"text":"` + strings.Repeat("x", size) + `"}` }

func TestResultsThatTheTopicDoesNotTake(t *testing.T) {
	run := func(policy string) (*rig, error) {
		r := newRig(t, replaced(largeResults, "POLICY", policy), map[string]int{"in": 1, "out": 1})
		r.limit("out").Store(1000)
		r.produce("in", "a", large(10), 1)
		r.produce("in", "b", large(20_000), 2)
		r.produce("in", "c", large(5_000), 3) // compressed it fits
		return r, r.run()
	}

	r, err := run("fail")
	var re *operators.RecordError
	if !errors.As(err, &re) || re.Position.Offset != 1 || re.Operator != "out" || re.Span.Start.Line == 0 {
		t.Fatalf("fail: %v", err)
	}
	for _, want := range []string{"in/0@1", "topic out", "2072 bytes", "max.message.bytes", "1000"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("message %q does not name %q", err, want)
		}
	}
	if r.measured != 1 {
		t.Errorf("%d records were measured, only the one that may be too large has to be", r.measured)
	}

	r, err = run("skip")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.topics["out"][0]); got != 2 {
		t.Errorf("%d results, want 2", got)
	}
	expect(t, "drops", r.drops(), "out too-large 1")

	r, err = run("dead_letter")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "drops", r.drops(), "out too-large 1")
	letters := r.topics["p.dead-letters"][0]
	if len(letters) != 1 || text(letters[0].Key) != "b" || text(letters[0].Value) != large(20_000) || header(letters[0], operators.HeaderReason) != "too-large" {
		t.Errorf("dead letters %d", len(letters))
	}
}

// A limit that is changed while the pipeline runs holds from then on.
func TestLimitOfATopicIsRaised(t *testing.T) {
	r := newRig(t, replaced(largeResults, "POLICY", "skip"), map[string]int{"in": 1, "out": 1})
	r.limit("out").Store(1000)
	r.produce("in", "a", large(20_000), 1)
	r.mustRun()
	r.limit("out").Store(3000)
	r.produce("in", "b", large(20_000), 2)
	r.mustRun()
	expect(t, "drops", r.drops(), "out too-large 1")
	if got := len(r.topics["out"][0]); got != 1 {
		t.Errorf("%d results, want 1", got)
	}
}

// The version that the sink's topic holds of a row goes when the next one is too
// large for it: an old row must not be taken for the present one.
func TestRowThatHasBecomeTooLarge(t *testing.T) {
	r := newRig(t, `
pipeline: p
tables:
  rows: {topic: in}
sinks:
  out: {from: rows, topic: out, on_error: skip}
`, map[string]int{"in": 1, "out": 1})
	r.limit("out").Store(1000)
	r.produce("in", "a", large(10), 1)
	r.produce("in", "a", large(20_000), 2)
	r.produce("in", "b", large(20_000), 3)
	r.mustRun()
	expect(t, "out", r.values("out"), "a "+large(10), "a -")
	expect(t, "drops", r.drops(), "out too-large 2")
}

// A dead letter must fit its own topic: its value is cut, then its key and the
// headers that came with it go.
func TestDeadLetterThatIsTooLarge(t *testing.T) {
	r := newRig(t, replaced(largeResults, "POLICY", "dead_letter"), map[string]int{"in": 1, "out": 1})
	r.limit("out").Store(1000)
	r.limit("p.dead-letters").Store(1500)
	r.produce("in", "a", large(20_000), 1, record.Header{Key: "h", Value: []byte("1")})
	r.produce("in", strings.Repeat("k", 3000), large(10), 2, record.Header{Key: "h", Value: []byte("1")})
	r.mustRun()
	expect(t, "drops", r.drops(), "out too-large 2")
	letters := r.topics["p.dead-letters"][0]
	if len(letters) != 2 {
		t.Fatalf("%d dead letters", len(letters))
	}
	for i, l := range letters {
		if size := r.size(&l); size > 1500 {
			t.Errorf("dead letter %d takes %d bytes", i, size)
		}
		if header(l, operators.HeaderReason) != "too-large" || header(l, operators.HeaderOffset) == "" {
			t.Errorf("dead letter %d has lost its headers: %v", i, l.Headers)
		}
	}
	first, second := letters[0], letters[1]
	if text(first.Key) != "a" || header(first, "h") != "1" || !strings.HasPrefix(large(20_000), text(first.Value)) || len(first.Value) == 0 || header(first, operators.HeaderTruncated) != "20017" {
		t.Errorf("key %q, value of %d bytes, %v", first.Key, len(first.Value), first.Headers)
	}
	if second.Key != nil || header(second, "h") != "" || text(second.Value) != large(10) {
		t.Errorf("key of %d bytes, value %q, %v", len(second.Key), second.Value, second.Headers)
	}

	// Where not even that fits, the dead letter is counted as what it is.
	r = newRig(t, replaced(largeResults, "POLICY", "dead_letter"), map[string]int{"in": 1, "out": 1})
	r.limit("out").Store(1000)
	r.limit("p.dead-letters").Store(100)
	r.produce("in", "a", large(20_000), 1)
	r.mustRun()
	expect(t, "drops", r.drops(), "dead letters too-large 1", "out too-large 1")
	if got := len(r.topics["p.dead-letters"][0]); got != 0 {
		t.Errorf("%d dead letters", got)
	}
}

// header is the value of a header, "" if there is none.
func header(rec record.Record, key string) string {
	for _, h := range rec.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
