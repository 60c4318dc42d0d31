package observe

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite docs/metrics.md")
	os.Exit(m.Run())
}

// TestDocs holds docs/metrics.md to the table of metrics.
func TestDocs(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "metrics.md")
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, []byte(Docs()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	told, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(told) != Docs() {
		t.Errorf("%s is not what the program has (go test ./internal/observe -run TestDocs -update rewrites it)", path)
	}
}

// Every metric that a page or a rule names exists.
func TestDocumentedMetricsExist(t *testing.T) {
	known := map[string]bool{buildInfo: true}
	for _, m := range table() {
		known[m.name] = true
		if m.kind == histogram {
			known[m.name+"_bucket"], known[m.name+"_sum"], known[m.name+"_count"] = true, true, true
		}
	}
	root := filepath.Join("..", "..")
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md", "deploy/*.md", "deploy/*/*.yaml", "deploy/*/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	named := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bstreamctl_[a-z_]+[a-z]\b`).FindAllString(string(text), -1) {
			named++
			if !known[name] {
				t.Errorf("%s tells of %s: there is no such metric", page, name)
			}
		}
	}
	if named < len(table()) {
		t.Errorf("only %d metrics are named in %v", named, pages)
	}
}

// Names and texts of the table are as Prometheus wants them.
func TestTableIsWellFormed(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range table() {
		if seen[m.name] {
			t.Errorf("%s is there twice", m.name)
		}
		seen[m.name] = true
		if strings.HasSuffix(m.name, "_total") != (m.kind == counter) {
			t.Errorf("%s is a %s", m.name, m.kind)
		}
		if !strings.HasPrefix(m.name, "streamctl_") || !strings.HasSuffix(m.help, ".") || strings.Contains(m.help, "|") {
			t.Errorf("%s: %q", m.name, m.help)
		}
		if (m.readHistogram != nil) != (m.kind == histogram) || (m.read != nil) == (m.kind == histogram) {
			t.Errorf("%s cannot be read as a %s", m.name, m.kind)
		}
	}
}

// Every Incident constant of the engine is among the incidents that are shown,
// and has a row in the table of what happens when.
func TestAllIncidentsAreShown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "engine", "incidents.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Incident") {
			name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, name)
		}
		return true
	})
	slices.Sort(declared)
	shown := slices.Sorted(slices.Values(incidents))
	if len(declared) == 0 || !slices.Equal(declared, shown) {
		t.Errorf("the engine has %v\nshown are    %v", declared, shown)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(string(page), "\n## What happens when ...\n")
	rows, _, _ = strings.Cut(rows, "\n## ")
	for _, name := range declared {
		if !strings.Contains(rows, "`"+name+"`") {
			t.Errorf("the table of operations.md lacks a row for %s", name)
		}
	}
}
