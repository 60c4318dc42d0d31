package expr

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// userFunctions defines functions written "name(param: kind, ...) kind: body".
func userFunctions(t testing.TB, texts ...string) (map[string]*Function, diag.List) {
	t.Helper()
	kinds := map[string]TypeKind{"int": Int, "float": Float, "string": String, "bool": Bool, "list": List, "object": Object, "any": Any}
	all := map[string]*Function{}
	for _, text := range texts {
		head, body, ok := strings.Cut(text, ": = ")
		name, rest, _ := strings.Cut(head, "(")
		params, returns, _ := strings.Cut(rest, ")")
		if !ok {
			t.Fatalf("function %q", text)
		}
		fn := &Function{Name: name, Returns: Type{Kind: kinds[strings.TrimSpace(returns)]}, Body: Source{Text: body}}
		for _, p := range strings.Split(params, ", ") {
			if n, kind, ok := strings.Cut(p, ": "); ok {
				fn.Params = append(fn.Params, Param{n, Type{Kind: kinds[kind], Open: kinds[kind] == Object}})
			}
		}
		all[name] = fn
	}
	return all, Define(all)
}

func mustFunctions(t testing.TB, texts ...string) map[string]*Function {
	t.Helper()
	all, diags := userFunctions(t, texts...)
	if diags.HasErrors() {
		t.Fatalf("define: %v", diags)
	}
	return all
}

func usersWorld(t testing.TB) *world {
	return newWorld(t, input{alias: "v", fields: []Field{
		{"a", Type{Kind: Int}}, {"b", Type{Kind: Int}}, {"s", Type{Kind: String}}, {"n", Type{Kind: Int}},
		{"o", Type{Kind: Object, Fields: []Field{{"x", Type{Kind: Int}}, {"deep", Type{Kind: Any}}}}}, {"list", Type{Kind: List}}, {"any", Type{}},
	}, row: map[string]string{"a": "6", "b": "0", "s": `"ann"`, "o": `{"x":5,"deep":{"y":7}}`, "list": "[1,2,3]", "any": `"text"`}})
}

func TestUserFunctions(t *testing.T) {
	w := usersWorld(t)
	w.scope.Functions = mustFunctions(t,
		"full(a: string, b: string) string: = a + \" \" + b",
		"twice(x: int) int: = x * 2",
		"four(x: int) int: = twice(twice(x))",
		"square(x: int) int: = x * x",
		"x_of(o: object) any: = o.x + 1",
		"deep(o: any) any: = o.y",
		"shift(list: list, by: int) list: = map(list, # + by)",
		"pick(list: list, k: int) list: = filter(list, # == k)",
		"or_zero(x: int) int: = x ?? 0",
		"half(x: float) float: = x / 2",
		"shadow(v: int) int: = v + 1",
		"nothing() int: = 42",
		"let_in(x: int) int: = let y = x + 1; y * y",
	)
	for text, want := range map[string]string{
		`full(v.s, "b")`:                      `"ann b"`,
		`four(v.a)`:                           `24`,
		`square(v.a + 1)`:                     `49`,
		`square(v.a + v.a + v.a + v.a + 1)`:   `625`,
		`x_of(v.o)`:                           `6`,
		`deep(v.o.deep)`:                      `7`,
		`x_of({x: 3})`:                        `4`,
		`shift(v.list, v.a)`:                  `[7,8,9]`,
		`map(v.list, pick(v.list, #))`:        `[[1],[2],[3]]`,
		`map(v.list, shift([10, 20], # + 1))`: `[[12,22],[13,23],[14,24]]`,
		`map(v.list, four(#))`:                `[4,8,12]`,
		`or_zero(v.n)`:                        `0`,
		`half(v.a)`:                           `3`,
		`shadow(v.b)`:                         `1`,
		`nothing() + 1`:                       `43`,
		`let x = 3; twice(x) + x`:             `9`,
		`let_in(v.a) + let_in(1)`:             `53`,
		`full(v.any, v.any)`:                  `"text text"`,
		`v.a | twice()`:                       `12`,
		`filter(v.list, twice(#) > 2)`:        `[2,3]`,
		`twice(v.n) == nil`:                   `true`,
	} {
		p, diags := Compile(Source{Text: text}, w.scope, Want{})
		if diags.HasErrors() {
			t.Errorf("%s: %v", text, diags)
			continue
		}
		out, err := p.AppendJSON(nil, w.frame)
		if string(out) != want || err != nil {
			t.Errorf("%s = %s, %v, want %s", text, out, err, want)
		}
	}
}

// What is inlined is what one would have written: the same identity, and the
// same slot where only a path is left.
func TestUserFunctionsCostNothing(t *testing.T) {
	w := usersWorld(t)
	w.scope.Functions = mustFunctions(t, "x_of(o: object) any: = o.x", "sum2(a: int, b: int) int: = a + b", "add3(a: int) int: = sum2(sum2(a, a), a)")
	for call, written := range map[string]string{
		`x_of(v.o)`: `v.o.x`, `sum2(v.a, v.b)`: `v.a + v.b`, `add3(v.a)`: `v.a + v.a + v.a`, `sum2(1, 2)`: `3`,
	} {
		a, diags := Compile(Source{Text: call}, w.scope, Want{})
		b, more := Compile(Source{Text: written}, w.scope, Want{})
		if diags.HasErrors() || more.HasErrors() {
			t.Fatalf("%s: %v %v", call, diags, more)
		}
		if a.Identity() != b.Identity() {
			t.Errorf("%s is %s, %s is %s", call, a.Identity(), written, b.Identity())
		}
		name := func(r Ref) string { return fmt.Sprint(r) }
		if a.Canonical(name) != b.Canonical(name) {
			t.Errorf("%s is %s, %s is %s", call, a.Canonical(name), written, b.Canonical(name))
		}
	}
	p, _ := Compile(Source{Text: `sum2(v.a, v.b)`}, w.scope, Want{})
	if n := testing.AllocsPerRun(100, func() { _, _, _ = p.Int(w.frame) }); n != 0 {
		t.Errorf("%v allocations per call", n)
	}
}

func TestUserFunctionErrors(t *testing.T) {
	w := usersWorld(t)
	w.scope.Functions = mustFunctions(t, "ratio(a: int, b: int) float: = a / b", "outer(x: int) float: = 1 + ratio(x, x - x)", "text(s: string) string: = upper(s)", "num(x: any) int: = x", "mod(a: int, b: int) int: = a % b")
	for text, want := range map[string]string{
		`1 + mod(v.a, v.b)`: "4-17 in function mod, at `a % b`: %: division by zero",
		`text(v.o.deep)`:    "5-13 s of text must be a string, got object",
		`num(v.any)`:        "0-10 in function num, at `x`: the result of num must be an int, got string",
	} {
		p, diags := Compile(Source{Text: text}, w.scope, Want{})
		if diags.HasErrors() {
			t.Errorf("%s: %v", text, diags)
			continue
		}
		_, err := p.Eval(w.frame)
		var at *Error
		if !errors.As(err, &at) || !strings.HasPrefix(fmt.Sprintf("%d-%d %s", at.Start, at.End, at.Msg), want) {
			t.Errorf("%s: %#v, want %s", text, err, want)
		}
	}
}

func TestUserFunctionDiagnostics(t *testing.T) {
	show := func(list diag.List) string {
		var lines []string
		for _, d := range list {
			line := fmt.Sprintf("%s %d-%d %s", d.Code, d.Span.Start.Offset, d.Span.End.Offset, d.Message)
			for _, n := range d.Notes {
				line += fmt.Sprintf(" | %d-%d %s", n.Span.Start.Offset, n.Span.End.Offset, n.Text)
			}
			lines = append(lines, line)
		}
		return strings.Join(lines, "; ")
	}
	for want, texts := range map[string][]string{
		"recursive-function 4-8 f calls itself": {"f(x: int) int: = 1 + f(x)"},
		"recursive-function 0-4 functions call each other in a circle: f calls g, g calls h, h calls f": {
			"f(x: int) int: = g(x)", "g(x: int) int: = h(x) + 1", "h(x: int) int: = f(x)", "uses(x: int) int: = f(x)"},
		"unknown-name 0-1 unknown name y":                                                 {"f(x: int) int: = y"},
		"type-mismatch 0-8 f needs an int, not a string":                                  {"f(x: string) int: = upper(x) "},
		"expr-syntax 3-3 expression ends too early":                                       {"f(x: int) int: = x +"},
		"aggregate-here 0-6 sum is an aggregate: it needs group_by and belongs in select": {"f(x: int) int: = sum(x)"},
		"type-mismatch 6-7": {"f(x: int) string: = upper(x)"},
	} {
		_, diags := userFunctions(t, texts...)
		if got := show(diags); !strings.HasPrefix(got, want) || strings.Contains(got, ";") {
			t.Errorf("%v\n got  %s\n want %s", texts, got, want)
		}
	}
	w := usersWorld(t)
	w.scope.Functions = mustFunctions(t, "ratio(a: int, b: int) int: = a % b", "name(o: object) any: = upper(o.x)", "f(s: string) string: = s")
	double := []string{"f0(x: int) int: = x + x"}
	for i := range 20 {
		double = append(double, fmt.Sprintf("f%d(x: int) int: = f%d(x) + f%d(x)", i+1, i, i))
	}
	for text, want := range map[string]string{
		`1 + ratio(6, 0)`: "always-fails 4-15 in function ratio: expression always fails: %: division by zero | 0-5 in the body of ratio",
		`name(v.o)`:       "type-mismatch 0-9 in function name: ",
		`f(1)`:            "type-mismatch 2-3 s of f must be a string, not an int",
		`f()`:             "wrong-arguments 0-3 f takes 1 argument, not 0",
		`ff("x")`:         "unknown-function 0-2 unknown function ff",
		`x_of(v.o)`:       "unknown-function",
	} {
		_, diags := Compile(Source{Text: text}, w.scope, Want{})
		if got := show(diags); !strings.HasPrefix(got, want) || strings.Contains(got, ";") {
			t.Errorf("%s\n got  %s\n want %s", text, got, want)
		}
	}
	_, diags := userFunctions(t, double...)
	if got := show(diags); !strings.Contains(got, "expr-too-large") {
		t.Errorf("functions that expand without end: %.300s", got)
	}
}

// nativeConcat is a function that is computed elsewhere.
type nativeConcat struct{ fail error }

func (n *nativeConcat) Call(args []value.Value) (value.Value, error) {
	return value.OfString(args[0].Text + "!"), n.fail
}
func (n *nativeConcat) Canonical() string { return "module abc" }

func TestNativeFunctions(t *testing.T) {
	w := usersWorld(t)
	native := &nativeConcat{}
	fn := &Function{Name: "shout", Params: []Param{{"s", Type{Kind: String}}}, Returns: Type{Kind: String}, Native: native}
	w.scope.Functions = map[string]*Function{"shout": fn}
	if diags := Define(w.scope.Functions); len(diags) > 0 {
		t.Fatal(diags)
	}
	p, diags := Compile(Source{Text: `shout(v.s) + shout(v.any)`}, w.scope, Want{Kind: String})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if v, err := p.Eval(w.frame); err != nil || v.Text != "ann!text!" {
		t.Errorf("%v %v", v, err)
	}
	if text := p.Canonical(func(r Ref) string { return "x" }); !strings.Contains(text, "module abc") || strings.Contains(text, "shout") {
		t.Errorf("canonical %s", text)
	}
	p, _ = Compile(Source{Text: `shout(nil) == nil`}, w.scope, Want{})
	if v, err := p.Bool(w.frame); !v || err != nil {
		t.Errorf("a null argument: %v %v", v, err)
	}
	native.fail = errors.New("trap")
	p, _ = Compile(Source{Text: `shout(v.s)`}, w.scope, Want{})
	if _, err := p.Eval(w.frame); err == nil || err.Error() != "shout: trap" {
		t.Errorf("error %v", err)
	}
}

func TestReservedNames(t *testing.T) {
	for name, want := range map[string]bool{"upper": true, "sum": true, "filter": true, "avg": true, "mine": false} {
		if Reserved(name) != want {
			t.Errorf("%s reserved: %v", name, !want)
		}
	}
}
