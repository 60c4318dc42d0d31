package testkit

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestEqualSeedsMakeEqualData(t *testing.T) {
	a, b, c := NewData(DataConfig{Seed: 1}), NewData(DataConfig{Seed: 1}), NewData(DataConfig{Seed: 2})
	differ := false
	for range 1000 {
		x, y, z := a.View(), b.View(), c.View()
		if string(x.Value) != string(y.Value) || string(x.Key) != string(y.Key) || x.Time != y.Time {
			t.Fatalf("%s differs from %s", x.Value, y.Value)
		}
		differ = differ || string(x.Value) != string(z.Value)
	}
	if !differ {
		t.Error("another seed makes the same data")
	}
}

func TestViewsAreWellFormedAndSkewed(t *testing.T) {
	d := NewData(DataConfig{Seed: 3, Profiles: 1000, Viewers: 1100})
	counts := make(map[int64]int)
	size := 0
	for i := range 20_000 {
		m := d.View()
		var doc struct {
			Viewer int64 `json:"viewerId"`
			Seq    int   `json:"seq"`
			Time   int64 `json:"timestamp"`
		}
		if err := json.Unmarshal(m.Value, &doc); err != nil {
			t.Fatalf("%s: %v", m.Value, err)
		}
		if doc.Seq != i || doc.Time != m.Time/1000 || doc.Viewer < 1 || doc.Viewer > 1100 {
			t.Fatalf("view %d is %s at %d", i, m.Value, m.Time)
		}
		counts[doc.Viewer]++
		size += len(m.Value)
	}
	if avg := size / 20_000; avg < 180 || avg > 200 {
		t.Errorf("a view has %d bytes on average", avg)
	}
	top := 0
	for _, n := range counts {
		top = max(top, n)
	}
	if top < 1000 || len(counts) < 500 {
		t.Errorf("%d viewers, the busiest with %d of 20000 views: not a Zipf distribution", len(counts), top)
	}
}

func TestJoinModel(t *testing.T) {
	m := NewJoinModel()
	view := Message{Key: []byte("7"), Value: []byte(`{"viewerId":7,"x":1e400}`)}
	expect := func(want string) {
		t.Helper()
		got, err := m.View(view)
		if err != nil || got.Key != "7" || got.Value != want {
			t.Errorf("got %+v, %v, want %s", got, err, want)
		}
	}
	expect(`{"viewerId":7,"x":1e400,"jobTitle":null,"company":null}`)
	edit := Message{Key: []byte("urn:linkedin:profile:7"), Value: []byte(`{"profile":{"positions":[{"job_title":"Author","company":"C"}]}}`)}
	if err := m.Edit(edit); err != nil {
		t.Fatal(err)
	}
	expect(`{"viewerId":7,"x":1e400,"jobTitle":"Author","company":"C"}`)
	if err := m.Edit(ProfileEdit(7, 2, 0)); err != nil {
		t.Fatal(err)
	}
	if got, _ := m.View(view); !strings.Contains(got.Value, ` v2","company":"Company `) {
		t.Errorf("after the made-up edit: %s", got.Value)
	}
	if err := m.Edit(Tombstone(7, 0)); err != nil {
		t.Fatal(err)
	}
	expect(`{"viewerId":7,"x":1e400,"jobTitle":null,"company":null}`)
}

func TestRunningModel(t *testing.T) {
	m := NewRunningModel()
	var got []string
	for _, v := range []string{`{"viewerId":1,"viewedProfileId":5}`, `{"viewerId":2,"viewedProfileId":9}`, `{"viewerId":1,"viewedProfileId":3}`} {
		o, err := m.View(Message{Value: []byte(v)})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Key+" "+o.Value)
	}
	want := []string{
		`1 {"viewerId":1,"views":1,"total":5,"lowest":5,"highest":5}`,
		`2 {"viewerId":2,"views":1,"total":9,"lowest":9,"highest":9}`,
		`1 {"viewerId":1,"views":2,"total":8,"lowest":3,"highest":5}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestDiffNamesTheFault(t *testing.T) {
	seq := func(key, values string) Sequences {
		s := make(Sequences)
		for _, v := range strings.Fields(values) {
			s.Add(Output{key, v})
		}
		return s
	}
	for _, c := range []struct{ want, got, says string }{
		{"a b c d", "a b c d", ""},
		{"a b c d", "a b c", "records are missing at the end"},
		{"a b c d", "a b c d d", "a record is repeated"},
		{"a b c d", "a b b c d", "a record is repeated"},
		{"a b c d", "a c d", "a record is missing"},
		{"a b c d", "a b c d a b", "records too many at the end"},
		{"a b c d", "a b c a b c d", "an earlier record comes again"},
		{"a b c d", "a b x d", "a record is different"},
	} {
		diff := Diff(seq("k", c.want), seq("k", c.got))
		if c.says == "" && diff != "" || !strings.Contains(diff, c.says) || (diff == "") != (c.says == "") {
			t.Errorf("%s against %s: %q, want it to say %q", c.got, c.want, diff, c.says)
		}
	}
	if diff := Diff(seq("k", "a"), seq("j", "a")); !strings.Contains(diff, "2 of 1 sequences") {
		t.Errorf("other key: %s", diff)
	}
}

func TestRepeats(t *testing.T) {
	outputs := func(values string) []Output {
		var os []Output
		for _, v := range strings.Fields(values) {
			os = append(os, Output{"k", v})
		}
		return os
	}
	for _, c := range []struct {
		got, says string
		repeated  int
	}{
		{"a b c d", "", 0},
		{"a b c b c d", "", 2},
		{"a b a b c c d", "", 3},
		{"a b d", "what is between is missing", 0},
		{"b c d", "what is between is missing", 0},
		{"a b c d a c d", "what is between is missing", 1},
		{"a b c", "the last record is number 2 of 4", 0},
		{"a b c d c", "the last record is number 2 of 4", 1},
		{"a b x c d", "none of those there must be", 0},
		{"", "the last record is number -1 of 4: none", 0},
	} {
		problem, repeated := Repeats(outputs("a b c d"), outputs(c.got))
		if (problem == "") != (c.says == "") || !strings.Contains(problem, c.says) || repeated != c.repeated {
			t.Errorf("%q: %q with %d repetitions, want %q with %d", c.got, problem, repeated, c.says, c.repeated)
		}
	}
}
