package operators_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"streamctl/operators"
	"streamctl/pipeline"
)

// The reference of the aggregates is what their table says.
func TestAggregateReference(t *testing.T) {
	const path, begin, end = "../docs/language.md", "-run AggregateReference -update` -->\n", "<!-- end of aggregates -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the aggregates", path)
	}
	var b strings.Builder
	b.WriteString("| aggregate | type | of nothing | what it is | over a table's rows |\n|---|---|---|---|---|\n")
	for _, d := range operators.AggregateDocs() {
		table := d.Table
		if d.Refused != "" {
			table = "no: " + d.Instead
		}
		forms := make([]string, len(d.Forms))
		for i, f := range d.Forms {
			forms[i] = "`" + f + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", strings.Join(forms, ", "), d.Type, d.Empty, d.Text, table)
	}
	made := head + begin + b.String() + end + tail
	if *update {
		if err := os.WriteFile(path, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if made != string(text) {
		t.Errorf("%s is not what the table says: run with -update", path)
	}
}

// Every form of every aggregate that the reference names is one that compiles,
// over a stream, and over a table what it says.
func TestAggregatesOfTheReferenceCompile(t *testing.T) {
	arguments := strings.NewReplacer("(x", "(r.n", ", k", ", 3", ", limit", ", 5", ", y", ", r.m", "fraction", "0.5", "[b1, b2, ...]", "[1, 2.5]")
	for _, d := range operators.AggregateDocs() {
		for _, form := range d.Forms {
			for _, table := range []bool{false, true} {
				src := `
pipeline: p
sources: {rs: {topic: rs, fields: {n: int, m: string}}}
tables:
  rt: {topic: rt, fields: {n: int, m: string}}
  x:
    from: rs r
    group_by: r.key
    select: [{a: '` + arguments.Replace(form) + `'}]
sinks: {out: {from: x, topic: out}}
`
				if table {
					src = strings.Replace(src, "from: rs r", "from: rt r", 1)
				}
				_, diags := pipeline.Check("x.yaml", []byte(src), pipeline.ParseOptions{})
				refused := table && (d.Refused != "" || strings.Contains(form, "approx"))
				if diags.HasErrors() != refused {
					t.Errorf("%s, over a table %v: %v", form, table, diags)
				}
			}
		}
	}
}
