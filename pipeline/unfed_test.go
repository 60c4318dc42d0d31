package pipeline

import (
	"slices"
	"testing"
)

// A stream that is joined with one table twice, by two keys, goes through the task's
// topic a second time: the end of that topic does not depend on itself.
func TestDetoursDoNotFeedThemselves(t *testing.T) {
	plan := planOf(t, t.TempDir(), `pipeline: p
sources:
  views: {topic: views, partitioned_by: viewer, fields: {viewer: int, viewed: int}}
tables:
  members: {topic: members, key: int(key), fields: {name: string}}
streams:
  told:
    from: views v
    join:
      - left: members who
        on: v.viewer == who.key
      - left: members whom
        on: v.viewed == whom.key
    select: [{who: who.name}, {whom: whom.name}]
sinks:
  out: {from: told, topic: out}
`)
	topology, diags := Bind(plan)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	detours := 0
	for _, sub := range topology.Subs {
		for _, out := range sub.Outputs {
			for _, in := range sub.Inputs {
				if in.Topic != out.Topic {
					continue
				}
				detours++
				if want := []string{in.Topic}; !slices.Equal(out.Unfed, want) {
					t.Errorf("%s of %s: unfed by %v, want %v", out.Topic, sub.Name, out.Unfed, want)
				}
			}
		}
	}
	if detours == 0 {
		t.Error("no sub-topology reads what it writes: this shows too little")
	}
}
