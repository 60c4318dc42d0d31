package upgrade

import (
	"slices"
	"strings"
	"testing"

	"streamctl/pipeline"
)

// Everything in the base that others call by a name gets another one.
func renames() []string {
	return []string{
		"  people: {topic: people}", "  persons: {topic: people, id_was: people}",
		"left: people a", "left: persons a",
		"  articles: {topic: articles,", "  goods: {topic: articles, id_was: articles,",
		"left: articles b", "left: goods b",
		"  per_page:\n", "  by_page:\n    id_was: per_page\n",
		"{from: per_page, topic: pages}", "{from: by_page, topic: pages}",
		"  named:\n    from", "  with_names:\n    id_was: named\n    from",
		"{from: named, topic: out}", "{from: with_names, topic: out}",
	}
}

func TestRenamesKeepEverything(t *testing.T) {
	old, plan := describe(t, base), edited(t, renames()...)
	if old.Fingerprint != plan.Fingerprint {
		t.Errorf("the renamed plan is another one: %s, was %s", plan.Fingerprint, old.Fingerprint)
	}
	for i, topic := range old.InternalTopics {
		if plan.InternalTopics[i].Name != topic.Name {
			t.Errorf("%s became %s", topic.Name, plan.InternalTopics[i].Name)
		}
	}
	c, err := Compare(recorded(t, old), plan, situation(old, plan), nil)
	if err != nil || c.Refused() != nil {
		t.Fatal(err, c.Refused())
	}
	for was, is := range map[string]string{"people": "persons", "articles": "goods", "per_page": "by_page"} {
		ch := find(t, c, was)
		if ch.Verdict != Unchanged || ch.Effect != "kept (renamed): it is called "+is+" now" {
			t.Errorf("%+v", ch)
		}
	}
	// The next time there is nothing to tell.
	again, err := Compare(recorded(t, plan), plan, situation(plan), nil)
	if err != nil || again.Changed() || find(t, again, "per_page").Effect != "" {
		t.Error(err, again.Changes)
	}
	if before, after := recorded(t, old).Marks()["per_page"], recorded(t, plan).Marks()["per_page"]; before != after {
		t.Errorf("its rows %s became %s", before, after)
	}
}

func TestARenameWithoutTheOldNameIsRefusedAndExplained(t *testing.T) {
	old, plan := describe(t, base), edited(t, "  per_page:\n", "  by_page:\n", "{from: per_page, topic: pages}", "{from: by_page, topic: pages}")
	c, err := Compare(recorded(t, old), plan, situation(old, plan), nil)
	if err != nil {
		t.Fatal(err)
	}
	if ch := find(t, c, "by_page"); !ch.Refused || !strings.HasSuffix(ch.Effect, "; it is what per_page was: `id_was: per_page` keeps those rows") {
		t.Errorf("%+v", ch)
	}
}

func TestARenameOfWhatIsNotThereIsRefused(t *testing.T) {
	old := edited(t, "  pages: {from: per_page, topic: pages}\n", "")
	plan := edited(t, "  per_page:\n", "  by_page:\n    id_was: per_site\n", "{from: per_page, topic: pages}", "{from: by_page, topic: pages}")
	c, err := Compare(recorded(t, old), plan, situation(old, plan), nil)
	if err != nil {
		t.Fatal(err)
	}
	if ch := find(t, c, "per_site"); !ch.Refused || !strings.HasSuffix(ch.Effect, "; id_was names per_site, and the recorded plan has no such table") {
		t.Errorf("%+v", ch)
	}
}

func TestARenameTogetherWithAnotherMeaningIsRefused(t *testing.T) {
	old := describe(t, base)
	plan := edited(t, append(renames(), "max(v.viewer)", "sum(v.viewer)")...)
	c, err := Compare(recorded(t, old), plan, situation(old, plan), nil)
	if err != nil {
		t.Fatal(err)
	}
	if ch := find(t, c, "per_page"); !ch.Refused || ch.Verdict != Changed {
		t.Errorf("%+v", ch)
	}
}

func TestTwoTablesMaySwapTheirNames(t *testing.T) {
	const src = `pipeline: p
tables:
  a: {topic: a}
  b: {topic: b}
sinks:
  x: {from: a, topic: x}
  y: {from: b, topic: y}
`
	old := describe(t, src)
	plan := describe(t, strings.NewReplacer("  a: {topic: a}", "  b: {topic: a, id_was: a}", "  b: {topic: b}", "  a: {topic: b, id_was: b}",
		"from: a", "from: b", "from: b", "from: a").Replace(src))
	if old.Fingerprint != plan.Fingerprint {
		t.Error("the plan has changed")
	}
}

func TestStatesBesideATableHaveItsMark(t *testing.T) {
	r := recorded(t, describe(t, `pipeline: p
tables:
  a: {topic: a, key: value.id}
  best: {from: a, top: {n: 3, by: x, per: y, list: all}}
sinks:
  x: {from: best, topic: x}
`))
	r.State["best"] = TableState{Number: 4}
	marks := r.Marks()
	for state, want := range map[string]string{"best": "4", "best.order": "4", "a": "1", pipeline.KeysTable("a"): "1"} {
		if marks[state] != want {
			t.Errorf("%s has the mark %q, want %q", state, marks[state], want)
		}
	}
}

func TestWhatAChangeOfTopAndTTLMeans(t *testing.T) {
	const src = `pipeline: p
sources:
  views: {topic: views}
tables:
  pages: {topic: pages, ttl: 30d}
  counts: {from: views, group_by: page, select: [{n: count()}], ttl: 7d}
  best: {from: pages, top: {n: 3, by: views}}
  kept: {from: pages, ttl: 7d}
sinks:
  a: {from: best, topic: a}
  b: {from: counts, topic: b}
  c: {from: kept, topic: c}
`
	for _, x := range []struct {
		name, old, new, of string
		choices            []Action
	}{
		{"how long rows of a topic stay", "ttl: 30d", "ttl: 31d", "pages", []Action{Rebuild}},
		{"that they go at all", "pages, ttl: 30d", "pages", "pages", []Action{Rebuild}},
		{"how long groups stay", "count()}], ttl: 7d", "count()}], ttl: 8d", "counts", []Action{Keep, Empty}},
		{"that kept rows go", "{from: pages, ttl: 7d}", "{from: pages}", "kept", []Action{Keep, Empty}},
		{"how many are first", "n: 3", "n: 4", "best", []Action{Empty}},
		{"by what", "by: views", "by: likes", "best", []Action{Empty}},
		{"of what", "by: views}", "by: views, per: site}", "best", []Action{Empty}},
	} {
		old, plan := describe(t, src), describe(t, strings.Replace(src, x.old, x.new, 1))
		c, err := Compare(recorded(t, old), plan, situation(old, plan), nil)
		if err != nil {
			t.Fatal(err)
		}
		if ch := find(t, c, x.of); ch.Verdict != Changed || !slices.Equal(ch.Choices, x.choices) {
			t.Errorf("%s: %+v", x.name, ch)
		}
	}
}
