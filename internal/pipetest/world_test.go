package pipetest

import (
	"fmt"
	"testing"
	"time"

	"streamctl/internal/record"
	"streamctl/pipeline"
)

const counting = `
pipeline: p
sources:
  in: {topic: in, fields: {who: string}}
tables:
  counts:
    from: in i
    group_by: i.who
    select: [{n: count()}]
sinks:
  out: {from: counts, topic: out}
`

func openWorld(t testing.TB, text string, watched ...string) *world {
	t.Helper()
	r, list := pipeline.Compile("p.yaml", []byte(text), pipeline.ParseOptions{})
	if list.HasErrors() {
		t.Fatal(list)
	}
	w, err := newWorld(worldConfig{
		programs: []program{{r.Topology, true, r.Pipeline.Settings.IdleTimeout}}, now: time.UnixMilli(0), watched: watched,
		partitions: func(string) int32 { return 1 },
	})
	if err == nil {
		err = w.runs[0].begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

func TestAWorldAnswersEachRecord(t *testing.T) {
	w := openWorld(t, counting, "out")
	for i := range 6 {
		if err := w.send("in", -1, record.Record{Value: []byte(`{"who":"a"}`), Time: int64(i)}); err != nil {
			t.Fatal(err)
		}
		got := w.take("out")
		if len(got) != 1 || string(got[0].Key) != "a" || string(got[0].Value) != fmt.Sprintf(`{"n":%d}`, i+1) {
			t.Fatalf("record %d: got %+v", i, got)
		}
		switch i {
		case 1:
			if err := w.runs[0].restart(false); err != nil {
				t.Fatal(err)
			}
		case 2:
			if err := w.runs[0].restart(true); err != nil {
				t.Fatal(err)
			}
		case 3:
			if err := w.advance(time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	if w.failed() != nil {
		t.Error(w.failed().failure)
	}
}

func BenchmarkSend(b *testing.B) {
	w := openWorld(b, counting, "out")
	b.ReportAllocs()
	for b.Loop() {
		if err := w.send("in", -1, record.Record{Value: []byte(`{"who":"a"}`)}); err != nil {
			b.Fatal(err)
		}
		w.take("out")
	}
}

func BenchmarkWorld(b *testing.B) {
	for b.Loop() {
		openWorld(b, counting, "out").close()
	}
}

func BenchmarkAdvance(b *testing.B) {
	w := openWorld(b, counting, "out")
	for b.Loop() {
		if err := w.advance(time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}
