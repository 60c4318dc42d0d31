package operators_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"streamctl/operators"
)

var update = flag.Bool("update", false, "rewrite what is generated")

// TestReference holds docs/operators.md to the table of operators.
func TestReference(t *testing.T) {
	var b strings.Builder
	fmt.Fprint(&b, "# Operators\n\nMade from the table `All` in `operators/kinds.go` by `go test ./operators -run Reference -update`; do not edit.\n\n",
		"What each operator does, in the order in which a record meets them. An error of a record follows `on_error` of the\n",
		"definition that the operator belongs to: `fail` stops the pipeline with the record uncommitted, `skip` drops and counts\n",
		"it, `dead_letter` sends it to `<pipeline>.dead-letters` and counts it. Null keys and null values that are dropped by rule\n",
		"are counted and follow no policy.\n")
	known := map[string]bool{}
	for _, r := range operators.Reasons {
		known[r.Name] = true
	}
	used := map[string]bool{}
	for _, k := range operators.All {
		fmt.Fprintf(&b, "\n## %s\n%s: %s.", k.Name, upper(k.Clause), k.Summary)
		if k.State {
			fmt.Fprint(&b, " It keeps state.")
		}
		fmt.Fprint(&b, "\n\n")
		for _, rule := range k.Rules {
			fmt.Fprintf(&b, "- %s\n", rule)
		}
		if len(k.Drops) > 0 {
			fmt.Fprintf(&b, "- Reasons for dropping: `%s`.\n", strings.Join(k.Drops, "`, `"))
		}
		for _, d := range k.Drops {
			used[d] = true
			if !known[d] {
				t.Errorf("%s drops for %s, which is not explained", k.Name, d)
			}
		}
	}
	fmt.Fprint(&b, "\n## Reasons\nThe words of counters and of the header `", operators.HeaderReason, "` of dead letters.\n\n| reason | meaning |\n|---|---|\n")
	for _, r := range operators.Reasons {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Name, r.Text)
		if !used[r.Name] {
			t.Errorf("nothing drops for %s", r.Name)
		}
	}
	const path = "../docs/operators.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is not what the table says: run with -update", path)
	}
}

func upper(s string) string {
	if s[0] == '`' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
