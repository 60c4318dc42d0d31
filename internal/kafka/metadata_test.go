package kafka

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"streamctl/internal/engine"
)

func drawTasks(t *rapid.T, what string) []engine.TaskID {
	var out []engine.TaskID
	for sub := range rapid.IntRange(0, 3).Draw(t, what) {
		for _, p := range rapid.SliceOfNDistinct(rapid.Int32Range(0, 1<<31-1), 1, 5, rapid.ID).Draw(t, what) {
			out = append(out, engine.TaskID{Sub: fmt.Sprint("sub-", sub), Partition: p})
		}
	}
	// They are written in their order.
	w := &writer{}
	w.taskList(out)
	r := &reader{buf: w.buf}
	sorted := r.taskList()
	if len(sorted) != len(out) || r.err != nil || len(r.buf) != 0 {
		t.Fatalf("%v became %v, %v", out, sorted, r.err)
	}
	return sorted
}

// TestMetadataRoundTrip writes and reads what members and leaders say. What a
// later version appends is left alone; what is cut off is refused.
func TestMetadataRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := memberData{
			Work: work{Tasks: rapid.Uint64().Draw(t, "tasks"), Plan: rapid.String().Draw(t, "plan")},
			Name: rapid.String().Draw(t, "name"), Host: rapid.String().Draw(t, "host"), Rack: rapid.String().Draw(t, "rack"),
			Self:     engine.Member{Instance: rapid.String().Draw(t, "instance"), Workers: rapid.IntRange(0, 1000).Draw(t, "workers")},
			Standbys: rapid.IntRange(0, 9).Draw(t, "standbys"), Acceptable: rapid.Int64Range(0, 1<<60).Draw(t, "acceptable"),
			Probe: rapid.Uint64Max(1<<62).Draw(t, "probe"), Generation: rapid.Int32Range(0, 1<<31-1).Draw(t, "generation"),
			Owned: drawTasks(t, "owned"), Standby: drawTasks(t, "standby"),
		}
		for _, id := range drawTasks(t, "held") {
			m.Held = append(m.Held, engine.Held{
				Task: id, Lag: rapid.Int64Range(-1, 1<<60).Draw(t, "lag"), Bytes: rapid.Int64Range(0, 1<<30).Draw(t, "MiB") << 20,
			})
		}
		data := m.encode()
		if got, err := decodeMember(append(data, 1, 2, 3)); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%+v\n%+v, %v", m, got, err)
		}
		a := assignmentData{
			Work: m.Work, Refused: rapid.String().Draw(t, "refused"), Owned: m.Owned, Standby: m.Standby, Awaited: drawTasks(t, "awaited"),
			Settled: rapid.Bool().Draw(t, "settled"), Rejoin: rapid.Bool().Draw(t, "rejoin"),
			Acceptable: m.Acceptable, Facts: m.facts(), Members: []engine.Member{m.Self, {Instance: "other"}},
		}
		if got, err := decodeAssignment(append(a.encode(), 7)); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("%+v\n%+v, %v", a, got, err)
		}
		if got, err := decodeMember(data[:rapid.IntRange(0, len(data)-1).Draw(t, "cut")]); err == nil {
			t.Fatalf("cut off, and read as %+v", got)
		}
	})
}

// TestMetadataSize bounds what a member of a large pipeline says: the broker
// keeps that of all members in one record.
func TestMetadataSize(t *testing.T) {
	m := memberData{Name: "pipeline-0"}
	for p := range int32(5000) {
		id := engine.TaskID{Sub: fmt.Sprint("sub-topology-", p%4), Partition: p / 4}
		m.Held = append(m.Held, engine.Held{Task: id, Lag: int64(p % 100 * 1000), Bytes: int64(p) << 20})
		if p%5 == 0 {
			m.Owned = append(m.Owned, id)
		}
		if p%5 == 1 {
			m.Standby = append(m.Standby, id)
		}
	}
	if n := len(m.encode()); n > 40_000 {
		t.Errorf("%d bytes for 5000 tasks", n)
	}
}

// FuzzMetadata reads anything.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte{})
	f.Add(memberData{Name: "a", Owned: []engine.TaskID{{Sub: "s", Partition: 3}}}.encode())
	f.Add(assignmentData{Refused: "no", Members: []engine.Member{{Instance: "x", Workers: 1}}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := decodeMember(data); err == nil {
			again, err := decodeMember(m.encode())
			if err != nil {
				t.Errorf("%+v, read again: %+v, %v", m, again, err)
			}
		}
		if a, err := decodeAssignment(data); err == nil {
			if again, err := decodeAssignment(a.encode()); err != nil {
				t.Errorf("%+v, read again: %+v, %v", a, again, err)
			}
		}
	})
}
