package pipeline

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestStreamJoinFingerprints: what changes of a definition change of what a
// join of streams keeps, and of what it sends.
func TestStreamJoinFingerprints(t *testing.T) {
	src, err := os.ReadFile("testdata/plans/stream-join.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const state = "settled-money.join"
	prints := func(text string) map[string]string {
		d := describe(t, "x.yaml", text)
		out := map[string]string{"plan": d.Fingerprint}
		for _, table := range d.Tables {
			out[table.Name] = table.Fingerprint
		}
		for _, s := range d.Sinks {
			out["sink "+s.Name] = s.Fingerprint
		}
		return out
	}
	before := prints(string(src))
	for _, e := range []edit{
		{"the aliases", "- left: money p\n        on: o.id == p.order", "- left: money p # same\n        on: o.id == p.order", nil},
		{"the bounds", "after: 1d", "after: 2d", []string{state, "sink out", "per_buyer", "sink sums", "plan"}},
		{"the grace", "grace: 1h", "grace: 2h", []string{"sink out", "per_buyer", "sink sums", "plan"}},
		{"the kind", "- left: money p", "- inner: money p", []string{"sink out", "per_buyer", "sink sums", "plan"}},
		{"the key of a side", "o.id == p.order", "o.id == p.amount", []string{state, "sink out", "per_buyer", "sink sums", "plan"}},
		{"a filter of the right side", "m.amount > 0", "m.amount > 1", []string{state, "sink out", "per_buyer", "sink sums", "plan"}},
		{"a filter of the left side", "o.total > 0", "o.total > 1", []string{state, "sink out", "per_buyer", "sink sums", "plan"}},
		{"a table that is joined behind", "- inner: buyers b", "- left: buyers b", []string{"sink out", "per_buyer", "sink sums", "plan"}},
	} {
		if strings.Count(string(src), e.old) != 1 {
			t.Fatalf("%s: %q is not there once", e.name, e.old)
		}
		after := prints(strings.Replace(string(src), e.old, e.new, 1))
		var changed []string
		for name, print := range before {
			if after[name] != print {
				changed = append(changed, name)
			}
		}
		slices.Sort(changed)
		want := slices.Sorted(slices.Values(e.changes))
		if !slices.Equal(changed, want) {
			t.Errorf("%s changes %q, want %q", e.name, changed, want)
		}
	}
}

// TestLanguageExamplesOfStreams: what the language's page shows of joins of
// streams, dedup and unnest is accepted.
func TestLanguageExamplesOfStreams(t *testing.T) {
	page, err := os.ReadFile("../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, stream := range map[string]string{
		"### Joins of two streams": "paid_orders", "### Duplicates: dedup": "once", "### Elements of lists: unnest": "lines",
	} {
		_, section, found := strings.Cut(string(page), heading+"\n")
		_, section, block := strings.Cut(section, "```yaml\n")
		example, _, closed := strings.Cut(section, "```\n")
		if !found || !block || !closed {
			t.Errorf("%q has no example", heading)
			continue
		}
		src := "pipeline: p\n" + example + "sinks: {out: {from: " + stream + ", topic: out}}\n"
		if !strings.Contains(example, "sources:") {
			src += sourcesOf(example)
		}
		describe(t, heading, src)
	}
}

// sourcesOf declares the source that an example reads.
func sourcesOf(example string) string {
	name := "orders"
	if strings.Contains(example, "events") {
		name = "events"
	}
	return "sources: {" + name + ": {topic: " + name + "}}\n"
}
