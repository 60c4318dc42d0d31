package upgrade

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"streamctl/pipeline"
)

const base = `pipeline: p
sources:
  views: {topic: views, fields: {viewer: int, page: string}}
tables:
  people: {topic: people}
  articles: {topic: articles, key: value.id, fields: {id: int, name: string}}
  per_page:
    from: views v
    group_by: {page: v.page}
    select: [{page: page}, {n: count()}, {most: max(v.viewer)}]
streams:
  named:
    from: views v
    join:
      - left: people a
        on: string(v.viewer) == a.key
      - left: articles b
        on: v.viewer == b.key
    select: [v.*, {who: a.name}, {what: b.name}]
sinks:
  pages: {from: per_page, topic: pages}
  out: {from: named, topic: out}
`

func describe(t *testing.T, src string) *pipeline.Description {
	t.Helper()
	r, diags := pipeline.Compile("p.yaml", []byte(src), pipeline.ParseOptions{})
	if diags.HasErrors() {
		var out strings.Builder
		_ = r.File.Printer().Print(&out, diags)
		t.Fatal(out.String())
	}
	return r.Plan.Describe()
}

func edited(t *testing.T, replace ...string) *pipeline.Description {
	t.Helper()
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(base, replace[i]) {
			t.Fatalf("the base has no %q", replace[i])
		}
	}
	return describe(t, strings.NewReplacer(replace...).Replace(base))
}

// situation: all topics there with 3 partitions, everything read, nothing pending.
func situation(plans ...*pipeline.Description) Situation {
	s := Situation{Counts: make(map[string]int32), Read: make(map[string]bool), Pending: make(map[string]bool)}
	for _, d := range plans {
		for _, sub := range d.Subs {
			for _, topic := range slices.Concat(sub.Inputs, sub.Outputs) {
				s.Counts[topic] = 3
			}
		}
		for _, topic := range d.InternalTopics {
			s.Counts[topic.Name] = 3
		}
		for _, read := range d.Reads {
			s.Read[read.Topic] = true
		}
	}
	return s
}

// recorded is what a run of a plan leaves.
func recorded(t *testing.T, d *pipeline.Description) *Record {
	t.Helper()
	s := situation(d)
	c, err := Compare(nil, d, s, nil)
	if err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
	return throughJSON(t, c.Next(d, s.Counts, "test", time.UnixMilli(1)))
}

// throughJSON is the record as the next process reads it.
func throughJSON(t *testing.T, r *Record) *Record {
	t.Helper()
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Same(r) {
		t.Fatalf("%s reads back as another record", text)
	}
	return again
}

func find(t *testing.T, c *Comparison, name string) Change {
	t.Helper()
	for _, ch := range c.Changes {
		if ch.Name == name {
			return ch
		}
	}
	t.Fatalf("nothing is said of %s: %+v", name, c.Changes)
	return Change{}
}

func TestWhatAChangeMeans(t *testing.T) {
	for _, x := range []struct {
		name    string
		replace []string
		of      string
		verdict Verdict
		choices []Action // nil = not refused
	}{
		{"nothing", nil, "per_page", Unchanged, nil},
		{"a sink's columns", []string{"{who: a.name}", "{who: a.title}"}, "out", Changed, nil},
		{"the name of an aggregate's column", []string{"{n: count()}", "{views: count()}"}, "per_page", Unchanged, nil},
		{"one more aggregate", []string{"{most: max(v.viewer)}", "{most: max(v.viewer)}, {least: min(v.viewer)}"}, "per_page", Changed, []Action{Keep, Empty}},
		{"another aggregate", []string{"max(v.viewer)", "sum(v.viewer)"}, "per_page", Changed, []Action{Empty}},
		{"one aggregate less", []string{", {most: max(v.viewer)}", ""}, "per_page", Changed, []Action{Empty}},
		{"a filter before an aggregate", []string{"    group_by", "    where: v.viewer > 0\n    group_by"}, "per_page", Changed, []Action{Keep, Empty}},
		{"the key of an aggregate", []string{"{page: v.page}", "{page: v.viewer}"}, "per_page", Changed, []Action{Empty}},
		{"the topic of a table", []string{"topic: people", "topic: persons"}, "people", Changed, []Action{Rebuild}},
		{"the row of a table", []string{"{topic: people}", "{topic: people, value: value.row}"}, "people", Changed, []Action{Keep, Rebuild}},
		{"the key of a table", []string{"key: value.id", "key: value.number", "{id: int,", "{number: int,"}, "articles", Changed, []Action{Rebuild}},
		{"the source of an aggregate", []string{"{topic: views,", "{topic: views-2,"}, "per_page", Changed, []Action{Keep, Empty}},
		{"a sink less", []string{"  out: {from: named, topic: out}\n", ""}, "out", Gone, nil},
		{"a table less", []string{"  out: {from: named, topic: out}\n", ""}, "articles", Gone, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			old, plan := describe(t, base), edited(t, x.replace...)
			c, err := Compare(recorded(t, old), plan, situation(old, plan), nil)
			if err != nil {
				t.Fatal(err)
			}
			ch := find(t, c, x.of)
			if ch.Verdict != x.verdict || !slices.Equal(ch.Choices, x.choices) || ch.Refused != (x.choices != nil) {
				t.Errorf("%+v", ch)
			}
			if refused := c.Refused(); errors.Is(refused, ErrRefused) != (x.choices != nil) {
				t.Errorf("refused: %v", refused)
			}
			if c.Differs != (x.name != "nothing") {
				t.Errorf("differs: %v", c.Differs)
			}
			for _, choice := range x.choices {
				c, err := Compare(recorded(t, old), plan, situation(old, plan), map[string]Action{x.of: choice})
				if err != nil || c.Refused() != nil {
					t.Fatalf("with %s: %v, %v", choice, err, c.Refused())
				}
				was, is := recorded(t, old).Marks()[x.of], c.Next(plan, nil, "", time.Time{}).Marks()[x.of]
				if (was == is) != (choice == Keep) {
					t.Errorf("with %s the rows %s become %s", choice, was, is)
				}
			}
		})
	}
}

func TestATableThatComesBack(t *testing.T) {
	with, without := describe(t, base), edited(t, "  pages: {from: per_page, topic: pages}\n", "", "  out: {from: named, topic: out}\n", "  raw: {from: views, topic: raw}\n")
	c, err := Compare(recorded(t, with), without, situation(with), nil)
	if err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
	if left := find(t, c, "per_page").Left; !slices.Equal(left, []string{"p.per_page.changelog"}) {
		t.Errorf("left behind: %v", left)
	}
	gone := throughJSON(t, c.Next(without, nil, "", time.Time{}))
	// It is named as long as its topics are there.
	c, err = Compare(gone, without, situation(with), nil)
	if err != nil || find(t, c, "per_page").Verdict != Gone {
		t.Fatal(err)
	}
	// Its rows have missed something; a table of a topic has not.
	c, err = Compare(gone, with, situation(with), nil)
	if err != nil {
		t.Fatal(err)
	}
	if ch := find(t, c, "per_page"); !slices.Equal(ch.Choices, []Action{Keep, Empty}) {
		t.Errorf("%+v", ch)
	}
	if ch := find(t, c, "articles"); ch.Refused {
		t.Errorf("%+v", ch)
	}
	// Where its topic has been deleted it is new, with other rows than those that may lie on some disk.
	s := situation(with)
	delete(s.Counts, "p.per_page.changelog")
	s.Read = nil
	c, err = Compare(gone, with, s, nil)
	if err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
	if c.Next(with, nil, "", time.Time{}).Marks()["per_page"] == recorded(t, with).Marks()["per_page"] {
		t.Error("it has the rows that it had")
	}
}

// A changelog that was deleted while nothing ran must not be made anew in
// silence: the rows would begin in the middle of what has been read.
func TestADeletedChangelogIsNoticed(t *testing.T) {
	d := describe(t, base)
	s := situation(d)
	rec := throughJSON(t, compared(t, nil, d, s).Next(d, s.Counts, "", time.Time{}))
	if ch := find(t, compared(t, rec, d, s), "per_page"); ch.Verdict != Unchanged {
		t.Fatalf("%+v", ch)
	}
	delete(s.Counts, "p.per_page.changelog")
	c := compared(t, rec, d, s)
	ch := find(t, c, "per_page")
	if !ch.Refused || !slices.Equal(ch.Choices, []Action{Empty}) || !strings.Contains(ch.Effect, "p.per_page.changelog, which holds its rows, has been deleted") {
		t.Errorf("%+v", ch)
	}
	c, err := Compare(rec, d, s, map[string]Action{"per_page": Empty})
	if err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
	if c.Next(d, s.Counts, "", time.Time{}).Marks()["per_page"] == rec.Marks()["per_page"] {
		t.Error("it has the rows that some disk may hold still")
	}
	// Where nothing has been read, or a rewind has deleted it, nothing is lost.
	s.Read = nil
	if c := compared(t, rec, d, s); c.Refused() != nil {
		t.Error(c.Refused())
	}
	s.Read = map[string]bool{"views": true}
	rec.State["per_page"] = TableState{Number: 1, Cleared: true}
	if c := compared(t, rec, d, s); c.Refused() != nil {
		t.Error(c.Refused())
	}
}

func compared(t *testing.T, rec *Record, d *pipeline.Description, s Situation) *Comparison {
	t.Helper()
	c, err := Compare(rec, d, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestANewAggregateOverWhatIsReadBeginsOnlyWhenAsked(t *testing.T) {
	old, plan := edited(t, "  pages: {from: per_page, topic: pages}\n", ""), describe(t, base)
	for _, read := range []bool{true, false} {
		s := situation(plan)
		s.Read["views"] = read
		c, err := Compare(recorded(t, old), plan, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ch := find(t, c, "per_page"); ch.Verdict != New || ch.Refused != read {
			t.Errorf("read %v: %+v", read, ch)
		}
	}
}

// What lies between two steps was written for the recorded plan.
func TestRecordsBetweenStepsAreNotReadAsSomethingElse(t *testing.T) {
	old, plan := describe(t, base), edited(t, "{topic: views, fields: {viewer: int, page: string}}", "{topic: views, fields: {viewer: int, page: string, x: int}}", "  named:\n    from: views v\n", "  named:\n    from: views v\n    where: v.x > 1\n")
	const topic = "p.named-people.repartition"
	s := situation(old, plan)
	c, err := Compare(recorded(t, old), plan, s, nil)
	if err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
	s.Pending[topic] = true
	if c, err = Compare(recorded(t, old), plan, s, nil); err != nil || !strings.Contains(c.Refused().Error(), "--until-end first") {
		t.Fatal(err, c.Refused())
	}
	if c, err = Compare(recorded(t, old), plan, s, map[string]Action{topic: Keep}); err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
	rewound := recorded(t, old)
	rewound.Rewound = true
	if c, err = Compare(rewound, plan, s, nil); err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
	// A stream that is gone leaves nothing that anybody waits for.
	gone := edited(t, "  out: {from: named, topic: out}\n", "")
	if c, err = Compare(recorded(t, old), gone, s, nil); err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
}

func TestPartitionsThatHaveChangedAreRefused(t *testing.T) {
	d := describe(t, base)
	s := situation(d)
	for _, topic := range []string{"views", "people", "articles"} {
		s.Counts[topic] = 6
	}
	c, err := Compare(recorded(t, d), d, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ch := find(t, c, "people"); !ch.Refused || !slices.Equal(ch.Choices, []Action{Rebuild}) {
		t.Errorf("%+v", ch)
	}
	if ch := find(t, c, "p.per_page.changelog"); !ch.Refused || !strings.Contains(ch.Effect, "it has 3 partitions, but views now asks for 6") {
		t.Errorf("%+v", ch)
	}
}

func TestALaterRecordIsRefused(t *testing.T) {
	_, err := Decode([]byte(`{"format":2,"version":"v9","plan":{"what":"ever"}}`))
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "v9") {
		t.Error(err)
	}
	for _, bad := range []string{``, `{}`, `{"format":1}`, `[]`} {
		if _, err := Decode([]byte(bad)); err == nil || errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
