package expr

import (
	"fmt"
	"strings"
	"testing"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// world is a scope over rows given as JSON objects, with a Frame that holds
// them: what the pipeline's bindings do, in small.
type world struct {
	scope *Scope
	frame *Frame
}

// input is one binding of a world: declared fields with their values.
type input struct {
	alias  string
	fields []Field
	row    map[string]string // JSON per field; not there = absent
}

func newWorld(t testing.TB, inputs ...input) *world {
	t.Helper()
	w := &world{scope: &Scope{}, frame: NewFrame(len(inputs))}
	for i, in := range inputs {
		row := &value.Row{}
		slots := map[string]int{}
		for _, f := range in.fields {
			slots[f.Name] = len(row.Slots)
			v := value.Value{}
			if text, ok := in.row[f.Name]; ok {
				v = mustJSON(t, text)
			}
			row.Slots = append(row.Slots, v)
		}
		w.frame.Rows[i] = row
		w.scope.Bindings = append(w.scope.Bindings, binding(i, in, slots))
	}
	return w
}

// binding resolves the first step to a slot and leaves the rest.
func binding(row int, in input, slots map[string]int) *Binding {
	return &Binding{
		Alias: in.alias,
		Resolve: func(path []codec.Step) (*Resolved, string) {
			if len(path) == 0 {
				return nil, "the alias alone is no value here"
			}
			for _, f := range in.fields {
				if f.Name != path[0].Name {
					continue
				}
				res := &Resolved{Ref: Ref{row, slots[f.Name]}, Type: f.Type, Rest: path[1:]}
				for _, s := range path[1:] {
					if s.IsIndex {
						res.Type = res.Type.elem()
					} else {
						res.Type, _ = res.Type.field(s.Name)
					}
				}
				return res, ""
			}
			return nil, ""
		},
		Names: func() []string {
			var names []string
			for _, f := range in.fields {
				names = append(names, f.Name)
			}
			return names
		},
	}
}

func mustJSON(t testing.TB, text string) value.Value {
	t.Helper()
	v, err := value.ParseJSON(text)
	if err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return v
}

// sample is the world of most tests.
func sample(t testing.TB) *world {
	object := Type{Kind: Object, Open: true}
	return newWorld(t, input{
		alias: "v",
		fields: []Field{
			{"i", Type{Kind: Int}}, {"j", Type{Kind: Int}}, {"big", Type{Kind: Int}}, {"f", Type{Kind: Float}},
			{"s", Type{Kind: String}}, {"urn", Type{Kind: String}}, {"b", Type{Kind: Bool}},
			{"ints", listOf(Type{Kind: Int})}, {"texts", listOf(Type{Kind: String})}, {"items", listOf(object)},
			{"o", object}, {"any", Type{}}, {"anyList", Type{}}, {"anyInt", Type{}}, {"a b", Type{Kind: String}},
			{"noInt", Type{Kind: Int}}, {"noString", Type{Kind: String}}, {"noBool", Type{Kind: Bool}}, {"no", Type{}}, {"noList", Type{Kind: List}},
		},
		row: map[string]string{
			"i": "7", "j": "-2", "big": "9223372036854775807", "f": "1.50", "s": `"Héllo"`, "urn": `"urn:linkedin:profile:1234"`, "b": "true",
			"ints": "[3,1,2]", "texts": `["a","b"]`, "items": `[{"n":1,"p":2.5},{"n":2,"p":null},{"n":3,"p":4}]`,
			"o": `{"a":1,"b":{"c":[10,20]},"x y":"z"}`, "any": `"text"`, "anyList": `[1,"x",null]`, "anyInt": "5", "a b": `"spaced"`,
			"noBool": "null",
		},
	})
}

// compile compiles in the world or fails the test.
func (w *world) compile(t testing.TB, text string) *Program {
	t.Helper()
	p, diags := Compile(Source{Text: text}, w.scope, Want{})
	if p == nil {
		t.Fatalf("compile %s:\n%s", text, list(diags))
	}
	return p
}

// list writes diagnostics one per line, with the text they point at.
func list(diags diag.List) string {
	var b strings.Builder
	for _, d := range diags {
		fmt.Fprintf(&b, "%d-%d %s: %s", d.Span.Start.Offset, d.Span.End.Offset, d.Code, d.Message)
		if d.Help != "" {
			fmt.Fprintf(&b, " | %s", d.Help)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// eval gives the result of text as JSON, or "error: ..." .
func (w *world) eval(t testing.TB, text string) string {
	t.Helper()
	p := w.compile(t, text)
	v, err := p.Eval(w.frame)
	direct, jsonErr := p.AppendJSON(nil, w.frame)
	onMachine, machineErr := (&lowerer{}).onMachine(p.tree).val(w.frame)
	if (err == nil) != (jsonErr == nil) || (err == nil) != (machineErr == nil) {
		t.Fatalf("%s: Eval says %v, AppendJSON %v, the machine %v", text, err, jsonErr, machineErr)
	}
	if err != nil {
		if err.Error() != jsonErr.Error() || err.Error() != machineErr.Error() {
			t.Fatalf("%s: Eval says %v, AppendJSON %v, the machine %v", text, err, jsonErr, machineErr)
		}
		return "error: " + err.Error()
	}
	out := string(value.AppendJSON(nil, v))
	if string(direct) != out {
		t.Fatalf("%s: Eval gives %s, AppendJSON %s", text, out, direct)
	}
	if machine := string(value.AppendJSON(nil, onMachine)); machine != out {
		t.Fatalf("%s: closures give %s, the machine %s", text, out, machine)
	}
	return out
}
