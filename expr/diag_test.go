package expr

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"streamctl/internal/diag"
)

// -update rewrites the goldens of this package instead of comparing with them.
func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

// golden compares got with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if updating() {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./expr -update rewrites it):\n%s", path, firstDifference(got, string(want)))
	}
}

// firstDifference shows the first line that differs.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			line := "end of file"
			if i < len(w) {
				line = w[i]
			}
			return "got:  " + g[i] + "\nwant: " + line
		}
	}
	return "got ends early"
}

// TestDiagnostics compiles every line of testdata/diagnostics.txt that begins
// with "> " (`\n` is a line break; "join> " is a join condition with the right
// side p; "bool> " is a where) and holds what is said about it, with the text
// pointed at in brackets, to what stands below the line.
func TestDiagnostics(t *testing.T) {
	path := filepath.Join("testdata", "diagnostics.txt")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, line := range strings.Split(strings.TrimRight(string(file), "\n"), "\n") {
		kind, text, isCase := strings.Cut(line, "> ")
		if !isCase || kind != "" && kind != "join" && kind != "bool" {
			if line == "" || strings.HasPrefix(line, "#") {
				out.WriteString(line + "\n")
			}
			continue
		}
		out.WriteString(line + "\n")
		text = strings.ReplaceAll(text, `\n`, "\n")
		diags := diagnose(t, kind, text)
		if !diags.HasErrors() {
			out.WriteString("    fine\n")
		}
		for _, d := range diags {
			start, end := d.Span.Start.Offset, d.Span.End.Offset
			if start < 0 || end > len(text) || start > end {
				t.Errorf("%s: span %d-%d is outside", text, start, end)
				continue
			}
			shown := strings.ReplaceAll(text[:start]+"[["+text[start:end]+"]]"+text[end:], "\n", `\n`)
			out.WriteString("    " + string(d.Code) + ": " + d.Message + "\n        " + shown + "\n")
			if d.Help != "" {
				out.WriteString("        help: " + d.Help + "\n")
			}
		}
	}
	golden(t, path, out.String())
}

// diagnose compiles text in a world of a view v, and a profile p for joins.
func diagnose(t *testing.T, kind, text string) diag.List {
	t.Helper()
	w := sample(t)
	switch kind {
	case "join":
		w = newWorld(t,
			input{alias: "v", fields: []Field{{"viewerId", Type{Kind: Int}}, {"name", Type{Kind: String}}, {"any", Type{}}}},
			input{alias: "p", fields: []Field{{"key", Type{Kind: String}}, {"id", Type{Kind: Int}}, {"any", Type{}}}},
		)
		_, diags := CompileJoin(Source{Text: text}, w.scope, "p")
		return diags
	case "bool":
		_, diags := Compile(Source{Text: text}, w.scope, Want{Kind: Bool, For: "where"})
		return diags
	}
	_, diags := Compile(Source{Text: text}, w.scope, Want{})
	return diags
}
