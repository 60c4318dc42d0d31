package upgrade

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const replicated = `pipeline: p
sources:
  web: {topic: web}
  app: {topic: app}
tables:
  rates: {topic: rates, replicate: true}
streams:
  webs: {from: web w, join: [{left: rates r, on: w.code == r.key}], select: [{rate: r.rate}]}
sinks:
  a: {from: webs, topic: a}
`

// One more copy of a table whose topic has been read needs that read anew: what
// has been copied elsewhere would be missing in it.
func TestOneMoreCopyReadsTheTopicAnew(t *testing.T) {
	before := describe(t, replicated)
	after := describe(t, strings.Replace(replicated, "sinks:\n", `  apps: {from: app w, join: [{left: rates r, on: w.code == r.key}], select: [{rate: r.rate}]}
sinks:
  b: {from: apps, topic: b}
`, 1))
	rec := recorded(t, before)
	c := compared(t, rec, after, situation(before))
	ch := find(t, c, "apps-rates.replica")
	if ch.Refused || ch.Chosen != Rebuild || !strings.Contains(ch.Effect, "read anew") {
		t.Fatalf("the new copy: %+v", ch)
	}
	if old := find(t, c, "webs-rates.replica"); old.Verdict != Unchanged {
		t.Errorf("the old copy: %+v", old)
	}
	gone := clearing(table(after, "apps-rates.replica"))
	if !slices.Contains(gone.Forget, "rates") || !slices.Contains(gone.Topics, "p.apps-rates.replica") || slices.Contains(gone.Topics, "p.webs-rates.replica") {
		t.Errorf("what is cleared: %+v", gone)
	}
	next := c.Next(after, nil, "test", time.UnixMilli(2))
	if again := compared(t, throughJSON(t, next), after, situation(after)); find(t, again, "apps-rates.replica").Verdict != Unchanged {
		t.Errorf("it is cleared again at the next start: %+v", again.Changes)
	}
}
