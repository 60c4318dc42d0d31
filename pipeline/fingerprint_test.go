package pipeline

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// describe compiles a text; it must have no errors.
func describe(t *testing.T, name string, src string) *Description {
	t.Helper()
	r, diags := Compile(name, []byte(src), ParseOptions{})
	if diags.HasErrors() {
		var out strings.Builder
		_ = r.File.Printer().Print(&out, diags)
		t.Fatal(out.String())
	}
	return r.Plan.Describe()
}

// TestDescriptions holds the canonical texts to goldens. They are compared with
// what earlier versions of this program have recorded: a change of a golden makes
// every running pipeline a changed one. Add lines for new things of the language only.
func TestDescriptions(t *testing.T) {
	paths, err := filepath.Glob("testdata/plans/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, "no files in testdata/plans")
	}
	for _, path := range append(paths, "testdata/fingerprints/base.yaml") {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			d := describe(t, path, string(src))
			d.Text = ""
			text, err := json.MarshalIndent(d, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "unnamed") {
				t.Error("something has no name")
			}
			golden(t, "testdata/fingerprints/"+name+".golden", string(text)+"\n")
		})
	}
}

// edit is a change of testdata/fingerprints/base.yaml and what it changes:
// tables and sinks by name, and "plan" for the whole.
type edit struct {
	name     string
	old, new string
	changes  []string
}

func edits() []edit {
	return []edit{
		{"a comment", "pipeline: shop", "pipeline: shop # ours", nil},
		{"white space in an expression", "o.amount > 10", "o.amount  >  10", nil},
		{"an alias", "from: clicks c\n    group_by: {page: c.page}", "from: clicks x\n    group_by: {page: x.page}", nil},
		{"the order of definitions", "  items: {from: per_item, topic: items}\n  pages: {from: per_page, topic: pages}",
			"  pages: {from: per_page, topic: pages}\n  items: {from: per_item, topic: items}", nil},
		{"a column that no table uses", "      - name: c.name\n", "      - name: c.name ?? \"nobody\"\n", []string{"out", "plan"}},
		{"a field of the source that nothing reads", "{customer: string, page: string}", "{customer: string, page: string, more: int}", nil},
		{"the name of a column", "      - clicks: count()", "      - n: count()", []string{"pages", "plan"}},
		{"a filter upstream", "o.amount > 10", "o.amount > 11", []string{"per_item", "items", "out", "plan"}},
		{"the key of an aggregate", "{page: c.page}", "{page: c.customer}", []string{"per_page", "pages", "plan"}},
		{"an aggregate", "sum(o.amount)", "max(o.amount)", []string{"per_item", "items", "plan"}},
		{"the argument of an aggregate", "sum(o.amount)", "sum(o.id)", []string{"per_item", "items", "plan"}},
		{"the topic of a source", "topic: clicks", "topic: clicks-2", []string{"per_page", "pages", "plan"}},
		{"the topic of a table", "topic: customers", "topic: customers-2", []string{"customers", "out", "plan"}},
		{"the key of a table", "key: value.item", "key: value.article", []string{"prices", "out", "plan"}},
		{"the row of a table", "value: value.row", "value: value.line", []string{"prices", "out", "plan"}},
		{"the timestamp", "timestamp: at", "timestamp: seconds(at)", []string{"per_item", "items", "out", "plan"}},
		{"the type of a field", "amount: int", "amount: float", []string{"per_item", "items", "out", "plan"}},
		{"the format of keys", "customers: {topic: customers}", "customers: {topic: customers, key_format: json}", []string{"customers", "out", "plan"}},
		{"a left join becomes an inner one", "- left: customers c", "- inner: customers c", []string{"per_item", "items", "out", "plan"}},
		{"an error policy", "where: o.amount > 10", "where: o.amount > 10\n    on_error: skip", []string{"out", "plan"}},
		{"the error policy of a table", "      - clicks: count()", "      - clicks: count()\n    on_error: skip", []string{"plan"}},
		{"the topic of a sink", "topic: large-orders", "topic: large", []string{"out", "plan"}},
		{"the guarantee", "pipeline: shop", "pipeline: shop\nguarantee: at_least_once", []string{"plan"}},
	}
}

func TestFingerprintsFollowTheMeaning(t *testing.T) {
	src, err := os.ReadFile("testdata/fingerprints/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base := prints(describe(t, "base.yaml", string(src)))
	for _, e := range edits() {
		t.Run(e.name, func(t *testing.T) {
			if !strings.Contains(string(src), e.old) {
				t.Fatalf("the base has no %q", e.old)
			}
			edited := prints(describe(t, "edited.yaml", strings.Replace(string(src), e.old, e.new, 1)))
			var changed []string
			for name, print := range edited {
				if base[name] != print {
					changed = append(changed, name)
				}
			}
			slices.Sort(changed)
			slices.Sort(e.changes)
			if !slices.Equal(changed, e.changes) {
				t.Errorf("changed %v, want %v", changed, e.changes)
			}
		})
	}
}

// prints lists fingerprints by name.
func prints(d *Description) map[string]string {
	out := map[string]string{"plan": d.Fingerprint}
	for _, x := range d.Tables {
		out[x.Name] = x.Fingerprint
	}
	for _, x := range d.Sinks {
		out[x.Name] = x.Fingerprint
	}
	return out
}

// A table keeps its fingerprint when other things come and go, although its
// sub-topology may get another name.
func TestFingerprintOfATableKnowsNothingOfItsNeighbours(t *testing.T) {
	src, err := os.ReadFile("testdata/fingerprints/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base := describe(t, "base.yaml", string(src))
	more := strings.Replace(string(src), "  per_page:", "  a_page:\n    from: clicks c\n    group_by: c.page\n    select: [{n: count()}]\n  per_page:", 1) +
		"  more: {from: a_page, topic: more}\n"
	with := describe(t, "more.yaml", more)
	if len(with.Tables) != len(base.Tables)+1 {
		t.Fatal("the table is not there")
	}
	was, is := prints(base), prints(with)
	for _, x := range base.Tables {
		if was[x.Name] != is[x.Name] {
			t.Errorf("table %s has another fingerprint", x.Name)
		}
	}
	if was["plan"] == is["plan"] {
		t.Error("the plan has the same fingerprint")
	}
}

// What a record was given on its way twice is not taken for the same thing.
func TestFingerprintsTellEqualStepsApart(t *testing.T) {
	for name, text := range map[string][2]string{
		"unnest": {`
  a: {from: docs d, unnest: d.lines as x, select: [{first: x}, {rest: d.rest}]}
  b: {from: a d, unnest: d.rest as x, select: [{one: %s}, {two: %s}]}`, "d.first, x"},
		"join": {`
  a: {from: docs d, join: [{left: rules r, on: d.one == r.key}], select: [{first: r.name}, {rest: d.rest}]}
  b: {from: a d, join: [{left: rules r, on: d.rest == r.key}], select: [{one: %s}, {two: %s}]}`, "d.first, r.name"},
		"joins": {`
  b: {from: docs d, join: [{left: rules q, on: d.one == q.key}, {left: rules r, on: d.rest == r.key}], select: [{one: %s}, {two: %s}]}`, "q.name, r.name"},
		"match": {`
  a: {from: docs d, match: {queries: rules, text: d.text}, select: [{first: matched_keys}, {rest: d.rest}]}
  b: {from: a d, match: {queries: rules, text: d.rest}, select: [{one: %s}, {two: %s}]}`, "d.first, matched_keys"},
	} {
		of := func(one, two string) map[string]string {
			return prints(describe(t, name, "pipeline: p\nsources:\n  docs: {topic: docs}\ntables:\n  rules: {topic: rules, replicate: true}\nstreams:"+
				fmt.Sprintf(text[0], one, two)+"\nsinks:\n  out: {from: b, topic: out}\n"))
		}
		one, two, _ := strings.Cut(text[1], ", ")
		if of(one, two)["out"] == of(two, one)["out"] {
			t.Errorf("%s: the columns have changed places, and the fingerprint is the same", name)
		}
	}
}

// Ways that fork and meet again before a join of streams or a match, thirty times over,
// are described once each: written out they would be 2^30.
func TestManyForks(t *testing.T) {
	for _, meet := range []string{
		"match: {queries: q, text: v.k}",
		"join: [{left: t t, on: v.k == t.k, within: 1m}]",
	} {
		src := &strings.Builder{}
		src.WriteString("pipeline: forks\nsources:\n  s: {topic: s, fields: {k: string}}\n  t: {topic: t, fields: {k: string}}\ntables:\n  q: {topic: q}\nstreams:\n")
		from := "s"
		for i := range 30 {
			for _, fork := range "ab" {
				fmt.Fprintf(src, "  %c%d: {from: %s v, select: [{k: v.k}]}\n", fork, i, from)
			}
			fmt.Fprintf(src, "  m%d: {from: [a%[1]d v, b%[1]d v], %s, select: [{k: v.k}]}\n", i, meet)
			from = fmt.Sprint("m", i)
		}
		fmt.Fprintf(src, "sinks:\n  o: {from: %s, topic: o, key: k}\n", from)
		if d := describe(t, "forks.yaml", src.String()); len(d.Sinks) != 1 || d.Sinks[0].Fingerprint == "" {
			t.Errorf("%s: sinks are described as %v", meet, d.Sinks)
		}
	}
}
