package pipeline

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"streamctl/expr"
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/internal/value"
	"streamctl/internal/wasm"
)

// Functions of the user's own. One is an expression over its parameters, which
// expr puts in the place of every call; or an export of a WebAssembly module,
// which internal/wasm runs.

const (
	// codeFunctionShape: a function is neither, or both, or is called like one of the language.
	codeFunctionShape diag.Code = "function"
	// codeModule: a WebAssembly module cannot be read, or is not what is declared.
	codeModule diag.Code = "wasm-module"
)

// maxModule bounds the file of a module, bytes.
const maxModule = 64 << 20

// function reads an entry of functions:.
func (p *parser) function(decl Declared, n *syntax.Node) {
	f := &Function{Declared: decl}
	p.file.Functions = append(p.file.Functions, f)
	p.functionName(decl.Name)
	what := "function " + quote(decl.Name.Value)
	p.mapping(n, what, decl.Span, []key{
		{name: "params", read: func(n *syntax.Node) { f.Params = p.params(n) }},
		{name: "returns", read: func(n *syntax.Node) { f.Returns = p.choice(n, "returns", fieldTypes(), nil) }},
		{name: "expr", read: p.expression(&f.Expr)},
		{name: "wasm", read: func(n *syntax.Node) { f.Wasm = p.text(n, "the path of a file") }},
		{name: "export", read: func(n *syntax.Node) { f.Export = p.text(n, "the name of an export") }},
		{name: "memory", read: func(n *syntax.Node) { f.Memory = p.text(n, "a size") }},
		{name: "timeout", read: func(n *syntax.Node) { f.Timeout = p.text(n, "a duration") }},
	}, hints{
		"body":       "did you mean \"expr\"?",
		"expression": "did you mean \"expr\"?",
		"args":       "did you mean \"params\"?",
		"parameters": "did you mean \"params\"?",
		"result":     "did you mean \"returns\"?",
		"module":     "did you mean \"wasm\"?",
	})
	if n.Kind != syntax.Mapping {
		return
	}
	switch expression, module := n.Get("expr"), n.Get("wasm"); {
	case expression != nil && module != nil:
		p.list.Add(diag.Errorf(codeFunctionShape, module.Span, "%s is both an expression and a module", what).
			WithNote(expression.Span, "the expression is given here").
			WithHelp("keep one of the two"))
	case expression == nil && module == nil:
		p.list.Errorf(codeFunctionShape, decl.Span, "%s has no body", what).
			Help = "add `expr: EXPRESSION`, or `wasm: FILE` with `returns`"
	case module != nil && n.Get("returns") == nil:
		p.list.Errorf(codeFunctionShape, decl.Span, "%s does not say what its module returns", what).
			Help = "add `returns: int`, or float, bool, string"
	case module == nil:
		for _, t := range []struct {
			name string
			text Text
		}{{"export", f.Export}, {"memory", f.Memory}, {"timeout", f.Timeout}} {
			if t.text.Set {
				p.list.Errorf(codeFunctionShape, t.text.Span, "%s belongs to a module, and %s is an expression", t.name, what).
					Help = "leave it out"
			}
		}
	}
}

// functionName checks that a function can be called in an expression.
func (p *parser) functionName(t Text) {
	if !isIdentifier(t.Value) {
		p.list.Errorf(codeBadName, t.Span, "%q cannot be called in an expression", t.Value).
			Help = "a function's name has letters, digits and _, and begins with a letter"
		return
	}
	if expr.Reserved(t.Value) || isReserved(t.Value) {
		p.list.Errorf(codeFunctionShape, t.Span, "%q is a word of the expression language", t.Value).
			Help = "choose another name"
	}
}

// isIdentifier says whether an expression can name it.
func isIdentifier(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// params reads params:, a mapping of names to types.
func (p *parser) params(n *syntax.Node) []FieldDecl {
	if n.Kind != syntax.Mapping {
		p.wrongType(n, "params", "a mapping of names to types, such as {a: string}")
		return nil
	}
	params := p.fieldDecls(n)
	for _, f := range params {
		if !isIdentifier(f.Name.Value) || isReserved(f.Name.Value) {
			p.list.Errorf(codeBadName, f.Name.Span, "%q cannot be the name of a parameter", f.Name.Value).
				Help = "letters, digits and _, beginning with a letter, and no word of the expression language"
		}
	}
	return params
}

// sizeOf reads a size such as 512KiB or 16MiB.
func sizeOf(text string) (int64, bool) {
	units := []struct {
		name string
		size int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}
	for _, u := range units {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
			return n * u.size, err == nil && n > 0
		}
	}
	return 0, false
}

// defineFunctions makes what expressions call of the functions of a file.
func (c *compiler) defineFunctions(file *File) {
	c.functions = map[string]*expr.Function{}
	for _, f := range file.Functions {
		fn := &expr.Function{Name: f.Name.Value, Returns: typeOfWord(f.Returns.Value), Body: sourceOf(f.Expr)}
		for _, p := range f.Params {
			fn.Params = append(fn.Params, expr.Param{Name: p.Name.Value, Type: fieldType(p, &c.diags)})
		}
		if f.Wasm.Set {
			fn.Native = missing{}
			if native := c.module(file, f, fn); native != nil {
				fn.Native = native
			}
		}
		c.functions[fn.Name] = fn
	}
	c.diags.Append(expr.Define(c.functions))
}

// unusedFunctions warns of functions that nothing calls.
func (c *compiler) unusedFunctions(file *File) {
	if c.diags.HasErrors() {
		return
	}
	for _, f := range file.Functions {
		if fn := c.functions[f.Name.Value]; fn != nil && !fn.Called {
			c.diags.Warnf(codeUnused, f.Span, "function %q is never used", fn.Name).
				Help = "remove it, or call it in an expression"
		}
	}
}

// missing stands for a module with faults, which have been reported, so that
// calls of it are checked all the same.
type missing struct{}

// Call implements expr.Native.
func (missing) Call([]value.Value) (value.Value, error) { return value.NullV(), nil }

// Canonical implements expr.Native.
func (missing) Canonical() string { return "missing" }

// typeOfWord is the type that a word of the language means.
func typeOfWord(word string) expr.Type {
	var none diag.List
	if word == "" || word == "any" {
		return expr.Type{}
	}
	return fieldType(FieldDecl{Type: Text{Value: word, Set: true}}, &none)
}

// Limits of what a function in a module may ask for.
const (
	leastTimeout = time.Millisecond
	mostTimeout  = 10 * time.Second // a task stands still meanwhile
	mostMemory   = 1 << 30
)

// module loads the module of a function; nil when something is wrong.
func (c *compiler) module(file *File, f *Function, fn *expr.Function) *wasm.Function {
	s := wasm.Signature{Export: f.Export.Value}
	if !f.Export.Set {
		s.Export = f.Name.Value
	}
	ok := true
	kind := func(t expr.Type, at diag.Span, what string) wasm.Kind {
		k, passes := passed(t)
		if !passes {
			c.diags.Errorf(codeFunctionShape, at, "%s of function %q is of type %s, which cannot pass to a module", what, f.Name.Value, t).
				Help = "int, float, bool and string can; take an object apart in the call, or pass it as text: to_json(x)"
			ok = false
		}
		return k
	}
	for i, p := range fn.Params {
		s.Params = append(s.Params, kind(p.Type, f.Params[i].Name.Span, "parameter "+p.Name))
	}
	s.Returns = kind(fn.Returns, f.Returns.Span, "the result")
	limits, fine := c.limits(f)
	if !ok || !fine {
		return nil
	}
	text, err := os.ReadFile(modulePath(file, f.Wasm.Value))
	if err == nil && len(text) > maxModule {
		err = fmt.Errorf("%s has %d bytes: at most %d are allowed", f.Wasm.Value, len(text), maxModule)
	}
	if err != nil {
		c.diags.Errorf(codeModule, f.Wasm.Span, "read module of function %q: %v", f.Name.Value, err).
			Help = "the path is taken from where the pipeline file lies"
		return nil
	}
	native, err := wasm.Compile(text, s, limits)
	if err != nil {
		c.diags.Errorf(codeModule, f.Wasm.Span, "function %q cannot be called: %v", f.Name.Value, err).
			Help = "int passes as i64, float as f64, bool as i32, string as address and length: docs/language.md, Functions"
		return nil
	}
	return native
}

// modulePath is where a module's file lies.
func modulePath(file *File, path string) string {
	if filepath.IsAbs(path) || file.Syntax == nil {
		return path
	}
	return filepath.Join(filepath.Dir(file.Syntax.Name), path)
}

// passed is how a type passes to a module.
func passed(t expr.Type) (wasm.Kind, bool) {
	at := slices.Index([]expr.TypeKind{expr.Int, expr.Float, expr.Bool, expr.String}, t.Kind)
	return wasm.Kind(max(at, 0)), at >= 0
}

// limits reads memory and timeout.
func (c *compiler) limits(f *Function) (l wasm.Limits, ok bool) {
	ok = true
	if f.Memory.Set {
		if l.Memory, ok = sizeOf(f.Memory.Value); !ok || l.Memory > mostMemory {
			c.diags.Errorf(codeBadValue, f.Memory.Span, "memory cannot be %q", f.Memory.Value).
				Help = "write a size up to 1GiB, such as 512KiB or 16MiB"
			ok = false
		}
	}
	if f.Timeout.Set {
		d, fine := checkDuration(&c.diags, f.Timeout, f.Timeout.Value, leastTimeout, mostTimeout)
		l.Timeout, ok = d, ok && fine
	}
	return l, ok
}

// functions writes where functions of modules come from.
func (w *textWriter) functions() {
	for _, f := range w.plan.typed.File.Functions {
		if f.Wasm.Set {
			w.linef(0, "")
			w.linef(0, "function %s: %s of %s", f.Name.Value, cmp.Or(f.Export.Value, f.Name.Value), f.Wasm.Value)
		}
	}
}
