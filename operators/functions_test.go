package operators_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"streamctl/internal/testkit/wasmtest"
)

// Functions of the user's own, as expressions and in modules: in a condition, in
// keys, in columns; what fails follows on_error and says where.
func TestFunctionsInAPipeline(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text.wasm")
	module := wasmtest.Module{Pages: 1, Functions: []wasmtest.Func{
		wasmtest.Allocator(), wasmtest.Resetter(), wasmtest.Exclaim(),
		wasmtest.Export("forever", []byte{wasmtest.I64}, []byte{wasmtest.I64}, []byte{wasmtest.OpLoop, wasmtest.NoResult, wasmtest.OpBr, 0, wasmtest.OpEnd, wasmtest.OpLocalGet, 0}),
	}}
	if err := os.WriteFile(file, module.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	src := `
pipeline: p
functions:
  loud: {params: {text: string}, returns: string, wasm: ` + file + `, export: exclaim}
  forever: {params: {x: int}, returns: int, wasm: ` + file + `, timeout: 20ms}
  share: {params: {part: int, whole: int}, returns: int, expr: part * 100 % whole}
  id: {params: {kind: string, n: int}, expr: 'kind + ":" + string(n)'}
sources:
  a: {topic: a}
tables:
  named: {topic: named, key: 'id("x", value.n)'}
streams:
  b:
    from: a v
    on_error: skip
    where: share(v.n, v.of) >= 0
    join: [{left: named m, on: 'id("x", v.n) == m.key'}]
    select: [{name: m.name}, {loud: 'loud(m.name ?? v.text)'}, {late: 'v.slow ? forever(v.n) : 0'}]
sinks:
  out: {from: b, topic: out, key: 'id("k", 1)'}
`
	r := newRig(t, src, map[string]int{"a": 1, "named": 1, "out": 1})
	tell(r, `named 7 {"n":7,"name":"seven"} @1`,
		`a k {"n":7,"of":3} @2`, `a k {"n":8,"of":3,"text":"Ä"} @3`, `a k {"n":8,"of":3} @4`, // without a text: null
		`a k {"n":1,"of":0} @5`, `a k {"n":1,"of":2,"text":5} @6`, `a k {"n":1,"of":2,"slow":true,"text":"t"} @7`)
	expect(t, "results", r.values("out"), `k:1 {"name":"seven","loud":"seven!","late":0}`, `k:1 {"name":null,"loud":"Ä!","late":0}`, `k:1 {"name":null,"loud":null,"late":0}`)
	expect(t, "drops", r.drops(), "b expression 3")

	for record, want := range map[string]string{
		`{"n":1,"of":0}`:                        "in function share, at `part * 100 % whole`: %: division by zero",
		`{"n":1,"of":2,"text":5}`:               "text of loud must be a string, got int 5",
		`{"n":1,"of":2,"slow":true,"text":"t"}`: "forever: took longer than 20ms",
	} {
		strict := newRig(t, strings.Replace(src, "    on_error: skip\n", "", 1), map[string]int{"a": 1, "named": 1, "out": 1})
		strict.produce("a", "k", record, 1)
		if err := strict.run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", record, err, want)
		}
	}
}
