package expr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// The differential test: random expressions over random rows must give the
// same by closures and on the virtual machine, in every form, and what the
// checker said about the type must be true.

// fields are what the random expressions read; any* have no declared type.
func randomFields() []Field {
	return []Field{
		{"i", Type{Kind: Int}}, {"j", Type{Kind: Int}}, {"f", Type{Kind: Float}}, {"g", Type{Kind: Float}},
		{"s", Type{Kind: String}}, {"u", Type{Kind: String}}, {"b", Type{Kind: Bool}}, {"c", Type{Kind: Bool}},
		{"li", listOf(Type{Kind: Int})}, {"ls", listOf(Type{Kind: String})}, {"o", Type{Kind: Object, Open: true}},
		{"x", Type{}}, {"y", Type{}},
	}
}

// randomRow draws JSON for each field, null and absent included.
func randomRow(t *rapid.T) map[string]string {
	row := map[string]string{}
	for _, f := range randomFields() {
		if text := randomJSON(t, f.Type); text != "" {
			row[f.Name] = text
		}
	}
	return row
}

func randomJSON(t *rapid.T, typ Type) string {
	kinds := map[TypeKind][]string{
		Int:    {"0", "1", "-1", "2", "7", "1234", "9223372036854775807", "-9223372036854775808"},
		Float:  {"0.0", "1.0", "1.5", "-2.25", "1e300", "1234.0", "3", "0.1"},
		String: {`""`, `"a"`, `"b"`, `"Héllo"`, `"12"`, `"a:b:c"`, `"urn:x:y:1234"`, `"true"`, `" x "`},
		Bool:   {"true", "false"},
		List:   {"[]", "[1,2,3]", "[null]", `["a","b",null]`, "[3,1.0,2]", `[{"a":1},{"a":null}]`},
		Object: {"{}", `{"a":1}`, `{"a":{"b":[1,2]},"c":"x"}`, `{"a":null}`},
	}
	kind := typ.Kind
	switch rapid.IntRange(0, 9).Draw(t, "presence") {
	case 0:
		return ""
	case 1:
		return "null"
	}
	switch {
	case kind == List && typ.elem().Kind == Int:
		return rapid.SampledFrom([]string{"[]", "[1,2,3]", "[5,null,-1]", "[7]"}).Draw(t, "ints")
	case kind == List:
		return rapid.SampledFrom([]string{"[]", `["a"]`, `["b","a",null,"c"]`}).Draw(t, "strings")
	case kind == Any:
		kind = rapid.SampledFrom([]TypeKind{Int, Float, String, Bool, List, Object}).Draw(t, "kind")
		if rapid.IntRange(0, 12).Draw(t, "number") == 0 {
			return "1e400"
		}
	}
	return rapid.SampledFrom(kinds[kind]).Draw(t, "value")
}

// writer draws expressions of a kind; inside a predicate # is an element.
type writer struct {
	t      *rapid.T
	inside bool
}

func (w *writer) pick(from ...string) string { return rapid.SampledFrom(from).Draw(w.t, "pick") }

func (w *writer) kind() TypeKind {
	return rapid.SampledFrom([]TypeKind{Int, Float, String, Bool, List, Object}).Draw(w.t, "kind")
}

// expression draws one of a kind, sometimes of none in particular.
func (w *writer) expression(k TypeKind, depth int) string {
	if w.inside && rapid.IntRange(0, 3).Draw(w.t, "element") == 0 {
		return w.pick("#", "#", "#.a", "#index", "#.a.b")
	}
	choice := rapid.IntRange(0, 14).Draw(w.t, "choice")
	if depth <= 0 || choice < 3 {
		return w.leaf(k)
	}
	sub := func(k TypeKind) string { return w.expression(k, depth-1) }
	switch choice {
	case 3:
		return fmt.Sprintf("(%s ? %s : %s)", sub(Bool), sub(k), sub(k))
	case 4:
		return fmt.Sprintf("((%s) ?? (%s))", sub(k), sub(k))
	case 5:
		return fmt.Sprintf("(let n%d = %s; %s)", depth, sub(w.kind()), sub(k))
	case 6:
		return fmt.Sprintf("coalesce(%s, %s)", sub(k), sub(k))
	case 7:
		return w.fromList(k, depth)
	}
	switch k {
	case Int:
		return w.integer(sub)
	case Float:
		return w.float(sub)
	case String:
		return w.text(sub)
	case Bool:
		return w.condition(sub)
	case List:
		return w.listOf(sub, depth)
	}
	return w.object(sub)
}

func (w *writer) leaf(k TypeKind) string {
	if rapid.IntRange(0, 7).Draw(w.t, "untyped") == 0 {
		return w.pick("v.x", "v.y", "nil", "v.o.a", "v.x.a", "v.y[0]", "v.o.a.b[-1]")
	}
	switch k {
	case Int:
		return w.pick("v.i", "v.j", "0", "1", "7", "1234", "9223372036854775807", "len(v.s)", "v.li[0]")
	case Float:
		return w.pick("v.f", "v.g", "v.i", "1.5", "0.0", "1e300")
	case String:
		return w.pick("v.s", "v.u", `"a"`, `""`, `"12"`, `":"`, "v.ls[0]", `split(v.u, ":")[3]`, `split(v.s, "a")[1]`)
	case Bool:
		return w.pick("v.b", "v.c", "true", "false")
	case List:
		return w.pick("v.li", "v.ls", "[]", "1..3", `["a", "b"]`, "[v.i, v.s]")
	}
	return w.pick("v.o", "{}", "{a: v.i}", `{"b": v.s, c: {d: v.f}}`, "{(v.s): 1}")
}

func (w *writer) integer(sub func(TypeKind) string) string {
	switch rapid.IntRange(0, 6).Draw(w.t, "int") {
	case 0:
		return fmt.Sprintf("int(%s)", sub(w.pickKind(Int, Float, String)))
	case 1:
		return fmt.Sprintf("(-(%s))", sub(Int))
	case 2:
		return fmt.Sprintf("len(%s)", sub(w.pickKind(String, List, Object)))
	case 3:
		return fmt.Sprintf("max(%s, %s)", sub(Int), sub(Int))
	case 4:
		return fmt.Sprintf("%s(%s, %s)", w.pick("div", "mod"), sub(Int), sub(Int))
	}
	return fmt.Sprintf("(%s %s %s)", sub(Int), w.pick("+", "-", "*", "%"), sub(Int))
}

func (w *writer) float(sub func(TypeKind) string) string {
	switch rapid.IntRange(0, 3).Draw(w.t, "float") {
	case 0:
		return fmt.Sprintf("float(%s)", sub(w.pickKind(Int, Float, String)))
	case 1:
		return fmt.Sprintf("round(%s, 2)", sub(Float))
	}
	return fmt.Sprintf("(%s %s %s)", sub(w.pickKind(Int, Float)), w.pick("+", "-", "*", "/", "**"), sub(w.pickKind(Int, Float)))
}

func (w *writer) text(sub func(TypeKind) string) string {
	switch rapid.IntRange(0, 5).Draw(w.t, "text") {
	case 0:
		return fmt.Sprintf("string(%s)", sub(w.kind()))
	case 1:
		return fmt.Sprintf("%s(%s)", w.pick("lower", "upper", "trim", "reverse"), sub(String))
	case 2:
		return fmt.Sprintf("split(%s, %s)[%d]", sub(String), w.pick(`":"`, `"a"`, sub(String)), rapid.IntRange(-1, 3).Draw(w.t, "part"))
	case 3:
		return fmt.Sprintf("(%s)[%s:%s]", sub(String), w.pick("", "1", "-2", sub(Int)), w.pick("", "2", sub(Int)))
	}
	return fmt.Sprintf("(%s + %s)", sub(String), sub(String))
}

func (w *writer) condition(sub func(TypeKind) string) string {
	k := w.kind()
	switch rapid.IntRange(0, 9).Draw(w.t, "condition") {
	case 0:
		return fmt.Sprintf("(not %s)", sub(Bool))
	case 1, 2:
		return fmt.Sprintf("(%s %s %s)", sub(Bool), w.pick("&&", "||", "and", "or"), sub(Bool))
	case 3:
		return fmt.Sprintf("(%s %s nil)", sub(k), w.pick("==", "!="))
	case 4:
		return fmt.Sprintf("(%s %s %s)", sub(k), w.pick("==", "!="), sub(k))
	case 5:
		k = w.pickKind(Int, Float, String)
		return fmt.Sprintf("(%s %s %s)", sub(k), w.pick("<", "<=", ">", ">="), sub(k))
	case 6:
		return fmt.Sprintf("(%s %s %s)", sub(String), w.pick("contains", "startsWith", "endsWith"), sub(String))
	case 7:
		return fmt.Sprintf("(%s %s %s)", sub(w.pickKind(Int, String)), w.pick("in", "not in"), w.pick(`["a", "12"]`, "[1, 7.0]", "v.x", sub(List), sub(Object)))
	case 8:
		return fmt.Sprintf("(%s matches \"^[a-z]+$\")", sub(String))
	}
	return w.predicate(w.pick("all", "any", "none", "one"), sub)
}

func (w *writer) predicate(name string, sub func(TypeKind) string) string {
	list := sub(List)
	inner := &writer{w.t, true}
	return fmt.Sprintf("%s(%s, %s)", name, list, inner.expression(Bool, rapid.IntRange(1, 2).Draw(w.t, "depth")))
}

func (w *writer) listOf(sub func(TypeKind) string, depth int) string {
	inner := &writer{w.t, true}
	switch rapid.IntRange(0, 6).Draw(w.t, "list") {
	case 0:
		return w.predicate("filter", sub)
	case 1:
		return fmt.Sprintf("map(%s, %s)", sub(List), inner.expression(w.kind(), depth-1))
	case 2:
		return fmt.Sprintf("sortBy(%s, %s, %s)", sub(List), inner.expression(w.pickKind(Int, String), 1), w.pick(`"asc"`, `"desc"`))
	case 3:
		return fmt.Sprintf("split(%s, %s)", sub(String), w.pick(`":"`, `""`))
	case 4:
		return fmt.Sprintf("%s(%s)", w.pick("sort", "distinct", "reverse", "flatten"), sub(List))
	case 5:
		return fmt.Sprintf("(%s)[%s:%s]", sub(List), w.pick("", "1", "-2"), w.pick("", "2", sub(Int)))
	}
	return fmt.Sprintf("[%s, %s]", sub(w.kind()), sub(w.kind()))
}

func (w *writer) object(sub func(TypeKind) string) string {
	if rapid.IntRange(0, 4).Draw(w.t, "object") == 0 {
		return fmt.Sprintf("groupBy(%s, string(#))", sub(List))
	}
	return fmt.Sprintf("{%s: %s, k: %s}", w.pick("a", `"b c"`, "(v.s)", "("+sub(String)+")"), sub(w.kind()), sub(w.kind()))
}

// fromList takes something of any kind out of a list or object.
func (w *writer) fromList(k TypeKind, depth int) string {
	inner := &writer{w.t, true}
	list := w.expression(List, depth-1)
	switch rapid.IntRange(0, 5).Draw(w.t, "from") {
	case 0:
		return fmt.Sprintf("find(%s, %s)", list, inner.expression(Bool, rapid.IntRange(1, 2).Draw(w.t, "depth")))
	case 1:
		return fmt.Sprintf("reduce(%s, %s, %s)", list, w.pick("#acc", "#", "#acc ?? #", inner.expression(k, 1)), w.expression(k, depth-1))
	case 2:
		return fmt.Sprintf("(%s)[%s]", list, w.pick("0", "-1", "v.i", "v.x"))
	case 3:
		return fmt.Sprintf("(%s)[%s]", w.expression(Object, depth-1), w.pick(`"a"`, "v.s", "v.x"))
	case 4:
		return fmt.Sprintf("sum(%s, %s)", list, inner.expression(Int, 1))
	}
	return fmt.Sprintf("%s(%s, %s)", w.pick("count", "findIndex", "findLastIndex"), list, inner.expression(Bool, rapid.IntRange(1, 2).Draw(w.t, "depth")))
}

func (w *writer) pickKind(kinds ...TypeKind) TypeKind {
	return rapid.SampledFrom(kinds).Draw(w.t, "kind")
}

// fatal is what testing and rapid have in common.
type fatal interface {
	Fatalf(format string, args ...any)
}

// agree checks that a program gives the same in all ways.
func agree(t fatal, p *Program, f *Frame, row any) {
	v, err := p.Eval(f)
	machine := (&lowerer{}).onMachine(p.tree)
	onMachine, machineErr := machine.val(f)
	if !sameOutcome(v, err, onMachine, machineErr) {
		t.Fatalf("%s\nover %v\nclosures: %s\nmachine:  %s", p.Text(), row, outcome(v, err), outcome(onMachine, machineErr))
	}
	direct, jsonErr := p.AppendJSON(nil, f)
	if (jsonErr == nil) != (err == nil) || err == nil && string(direct) != string(value.AppendJSON(nil, v)) {
		t.Fatalf("%s\nover %v\nEval: %s\nAppendJSON: %s %v", p.Text(), row, outcome(v, err), direct, jsonErr)
	}
	if err != nil {
		if e, ok := err.(*Error); !ok || e.Start < 0 || e.End > len(p.Text()) || e.Start > e.End {
			t.Fatalf("%s: error %#v has no place in the text", p.Text(), err)
		}
		return
	}
	if problem := typeProblem(p.Type(), v); problem != "" {
		t.Fatalf("%s\nover %v\nstatic type %s: %s", p.Text(), row, p.Type(), problem)
	}
	agreeTyped(t, p, f, v)
}

// agreeTyped checks the typed forms against the value.
func agreeTyped(t fatal, p *Program, f *Frame, v value.Value) {
	if got, err := p.code.tri(f); v.Kind == value.Bool && (err != nil || got != triOf(v.AsBool())) || v.IsNull() && (got != triNull || err != nil) {
		t.Fatalf("%s: value %s, as a condition %d %v", p.Text(), v.Short(), got, err)
	}
	if got, ok, err := p.code.i64(f); v.Kind == value.Int && (!ok || got != v.AsInt()) || v.IsNull() && (ok || err != nil) {
		t.Fatalf("%s: value %s, as an int %d %v %v", p.Text(), v.Short(), got, ok, err)
	}
	if got, ok, err := p.code.str(f); v.Kind == value.String && (!ok || got != v.Text) || v.IsNull() && (ok || err != nil) {
		t.Fatalf("%s: value %s, as a string %q %v %v", p.Text(), v.Short(), got, ok, err)
	}
}

func sameOutcome(a value.Value, errA error, b value.Value, errB error) bool {
	if errA != nil || errB != nil {
		return errA != nil && errB != nil && *errA.(*Error) == *errB.(*Error)
	}
	return string(value.AppendJSON(nil, a)) == string(value.AppendJSON(nil, b)) && kindOf(a) == kindOf(b)
}

func outcome(v value.Value, err error) string {
	if err != nil {
		e := err.(*Error)
		return fmt.Sprintf("error at %d-%d: %s", e.Start, e.End, e.Msg)
	}
	return v.TypeName() + " " + string(value.AppendJSON(nil, v))
}

// typeProblem says how v contradicts its static type.
func typeProblem(t Type, v value.Value) string {
	if v.IsNull() || t.Kind == Any || v.Kind == value.Number {
		return ""
	}
	k := kindOf(v)
	if k != t.Kind && !(t.Kind == Float && k == Int) {
		return "it is " + describe(v)
	}
	if t.Kind == List && t.Elem != nil {
		for _, item := range v.Expand().Tree.Items {
			if problem := typeProblem(*t.Elem, item); problem != "" {
				return "an element: " + problem
			}
		}
	}
	if t.Kind == Object {
		for _, field := range t.Fields {
			if problem := typeProblem(field.Type, v.Get(field.Name)); problem != "" {
				return field.Name + ": " + problem
			}
		}
	}
	return ""
}

// differential draws an expression and some rows.
func differential(t *rapid.T) {
	w := &writer{t: t}
	text := w.expression(w.kind(), rapid.IntRange(1, 4).Draw(t, "depth"))
	row := randomRow(t)
	world := worldOf(t, row)
	p, diags := Compile(Source{Text: text}, world.scope, Want{})
	if p == nil {
		for _, d := range diags {
			// Mistakes of types and constants are expected of a random text.
			if d.Code != codeType && d.Code != codeAlwaysFail && d.Code != codeUnknown && d.Code != codeSyntax && d.Code != codeAggregate {
				t.Fatalf("%s\n%s", text, list(diags))
			}
		}
		return
	}
	agree(t, p, world.frame, row)
}

func worldOf(t fatal, row map[string]string) *world {
	for name, text := range row {
		if _, err := value.ParseJSON(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return newWorld(&testing.T{}, input{alias: "v", fields: randomFields(), row: row})
}

func TestDifferential(t *testing.T) {
	rapid.Check(t, differential)
}

func FuzzDifferential(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(differential))
}

// FuzzCompile holds that no text does harm: diagnostics lie inside it, and
// what compiles agrees on both back ends.
func FuzzCompile(f *testing.F) {
	file, err := os.ReadFile(filepath.Join("testdata", "diagnostics.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for _, line := range strings.Split(string(file), "\n") {
		if _, text, ok := strings.Cut(line, "> "); ok && !strings.HasPrefix(line, " ") {
			f.Add(text)
		}
	}
	for _, c := range operatorCases() {
		f.Add(c[0])
	}
	f.Fuzz(func(t *testing.T, text string) {
		w := sample(t)
		start := time.Now()
		p, diags := Compile(Source{Text: text}, w.scope, Want{})
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("%q took %s to compile", text, took)
		}
		if p == nil {
			inText(t, text, diags)
			return
		}
		if strings.Contains(text, "..") || strings.Count(text, "(") > 20 {
			return // loops in loops may run long, and are allowed to
		}
		agree(t, p, w.frame, "sample")
	})
}

func inText(t *testing.T, text string, diags diag.List) {
	t.Helper()
	if !diags.HasErrors() {
		t.Fatalf("%q does not compile and nobody says why", text)
	}
	for _, d := range diags {
		if s, e := d.Span.Start.Offset, d.Span.End.Offset; s < 0 || e > len(text) || s > e {
			t.Fatalf("%q: %s lies at %d-%d", text, d.Message, s, e)
		}
	}
}
