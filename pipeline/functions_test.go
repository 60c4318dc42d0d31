package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"streamctl/internal/testkit/wasmtest"
)

const withFunctions = `
pipeline: p
functions:
  full_name:
    params: {first: string, last: string}
    returns: string
    expr: first + " " + last
  initials:
    params: {first: string, last: string}
    expr: upper(full_name(first[0:1], last[0:1]))
  exclaim:
    params: {text: string}
    returns: string
    wasm: text.wasm
    memory: 1MiB
    timeout: 1s
sources:
  people: {topic: people, fields: {last: string, first: string}}
tables:
  names: {topic: names, key: 'full_name(value.first, value.last)'}
streams:
  told:
    from: people p
    where: initials(p.first, p.last) != "X X"
    join: [{left: names n, on: 'full_name(p.first, p.last) == n.key'}]
    select: [{name: 'full_name(p.first, p.last)'}, {loud: exclaim(p.first)}]
sinks:
  out: {from: told, topic: out}
`

// writeModule writes a module of the tests where a pipeline file in dir finds it.
func writeModule(t *testing.T, dir string, m wasmtest.Module) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "text.wasm"), m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func textModule() wasmtest.Module {
	return wasmtest.Module{Pages: 1, Functions: []wasmtest.Func{wasmtest.Allocator(), wasmtest.Resetter(), wasmtest.Exclaim()}}
}

func planOf(t *testing.T, dir, src string) *Plan {
	t.Helper()
	r, diags := Check(filepath.Join(dir, "p.yaml"), []byte(src), ParseOptions{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return r.Plan
}

// The fingerprint follows the bodies of functions and the bytes of modules, and
// neither their names nor what nobody calls.
func TestFunctionsAreInFingerprints(t *testing.T) {
	dir := t.TempDir()
	writeModule(t, dir, textModule())
	base := planOf(t, dir, withFunctions)
	if text := base.String(); !strings.Contains(text, "function exclaim: exclaim of text.wasm") {
		t.Errorf("plan:\n%s", text)
	}
	change := func(what string, differs bool, pairs ...string) {
		t.Helper()
		src := strings.NewReplacer(pairs...).Replace(withFunctions)
		if src == withFunctions && len(pairs) > 0 {
			t.Fatalf("%s changes nothing", what)
		}
		if got := planOf(t, dir, src).Fingerprint() != base.Fingerprint(); got != differs {
			t.Errorf("%s: another fingerprint %v, want %v", what, got, differs)
		}
	}
	change("another body", true, `first + " " + last`, `last + " " + first`)
	change("another name and parameters", false, "full_name", "whole", "first: string, last: string", "a: string, b: string",
		`first + " " + last`, `a + " " + b`, "first[0:1], last[0:1]", "a[0:1], b[0:1]")
	change("written out", false, `{name: 'full_name(p.first, p.last)'}`, `{name: 'p.first + " " + p.last'}`)
	change("a function that nobody calls", false, "sources:\n", "  unused: {params: {x: int}, expr: x + 1}\nsources:\n")
	module := textModule()
	module.Pages = 2
	writeModule(t, dir, module)
	change("another module", true)
}
