package expr

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/internal/value"
)

func TestProgramTellsWhatItReads(t *testing.T) {
	w := sample(t)
	p := w.compile(t, `v.i + v.j > v.i && now() > 0`)
	if got, want := p.Refs(), []Ref{{0, 0}, {0, 1}}; !slices.Equal(got, want) {
		t.Errorf("Refs %v, want %v", got, want)
	}
	if p.Pure() || !w.compile(t, `v.i + 1`).Pure() {
		t.Error("only what reads the clock is not pure")
	}
	if p.Text() != `v.i + v.j > v.i && now() > 0` || p.Type().Kind != Bool {
		t.Errorf("Text %q, Type %s", p.Text(), p.Type())
	}
	if ref, ok := w.compile(t, `(v.s)`).Ref(); !ok || ref != (Ref{0, 4}) {
		t.Errorf("Ref %v %v", ref, ok)
	}
	if _, ok := w.compile(t, `v.o.a`).Ref(); ok {
		t.Error("a slot with a path below is no plain reference")
	}
	if v, ok := w.compile(t, `seconds(3) + 1`).Const(); !ok || v.AsInt() != 3001 {
		t.Errorf("Const %v %v", v, ok)
	}
	if _, ok := w.compile(t, `now()`).Const(); ok {
		t.Error("now() is not constant")
	}
}

func TestTypedResults(t *testing.T) {
	w := sample(t)
	if ok, err := w.compile(t, `v.noInt > 1`).Bool(w.frame); ok || err != nil {
		t.Errorf("null as a condition: %v %v", ok, err)
	}
	if i, ok, err := w.compile(t, `v.noInt`).Int(w.frame); i != 0 || ok || err != nil {
		t.Errorf("null as an int: %d %v %v", i, ok, err)
	}
	if i, ok, err := w.compile(t, `8 / 2`).Int(w.frame); i != 4 || !ok || err != nil {
		t.Errorf("a float without fraction as an int: %d %v %v", i, ok, err)
	}
	if _, _, err := w.compile(t, `v.f`).Int(w.frame); err == nil || err.Error() != "want an int, got float 1.50" {
		t.Errorf("1.5 as an int: %v", err)
	}
	if _, err := w.compile(t, `v.any`).Bool(w.frame); err == nil || err.Error() != `want a bool, got string "text"` {
		t.Errorf("a string as a condition: %v", err)
	}
}

// TestErrorsCarryTheirPlace: the place is that of the operator or function
// that failed, in bytes.
func TestErrorsCarryTheirPlace(t *testing.T) {
	w := sample(t)
	for _, c := range []struct{ text, at string }{
		{`"ü" + string(v.big + 1)`, `v.big + 1`},
		{`{a: v.i, b: (v.i / (v.j + 2)) + 1}`, `v.i / (v.j + 2)`},
		{`v.s == "x" || int(v.s) > 3`, `int(v.s)`},
		{`map(v.ints, # / (# - #))[0]`, `# / (# - #)`},
		{`let x = v.s; int(x | upper())`, `int(x | upper())`},
		{`v.any && v.b`, `v.any`},
		{`not v.any`, `v.any`},
		{`v.i > 3 ? v.any.field : 2`, `v.any.field`},
		{`sum(v.anyList, #)`, `sum(v.anyList, #)`},
	} {
		_, err := w.compile(t, c.text).Eval(w.frame)
		e, ok := err.(*Error)
		if !ok {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := c.text[e.Start:e.End]; got != c.at {
			t.Errorf("%s: error %q at %q, want %q", c.text, e.Msg, got, c.at)
		}
	}
}

func TestRowsThatAreNotThere(t *testing.T) {
	w := sample(t)
	p := w.compile(t, `{i: v.i, t: v.o.a, ok: v.s == "x", n: v.i == nil, u: upper(v.s), p: int(split(v.urn, ":")[3])}`)
	w.frame.Rows[0] = nil
	got, err := p.AppendJSON(nil, w.frame)
	if want := `{"i":null,"t":null,"ok":null,"n":true,"u":null,"p":null}`; err != nil || string(got) != want {
		t.Errorf("got %s %v, want %s", got, err, want)
	}
}

func TestInvalidSlotIsAnError(t *testing.T) {
	w := sample(t)
	w.frame.Rows[0].Slots[0] = value.OfInvalid("cannot read i")
	for _, text := range []string{`v.i`, `v.i == 1`, `v.i == nil`, `v.i != 3`, `v.i ?? 3`, `v.i + 1`, `v.i > 1`, `string(v.i)`, `is_null(v.i)`, `{a: v.i}`, `int(v.i)`, `v.i in [1]`, `coalesce(v.i, 1)`} {
		if got := w.eval(t, text); got != "error: cannot read i" {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// TestComputedNames: a name may stand for another program, which is then a part.
func TestComputedNames(t *testing.T) {
	w := sample(t)
	inner := w.compile(t, `{title: v.s, n: v.i + v.j, bad: v.i / (v.j + 2)}`)
	w.scope.Bindings = append(w.scope.Bindings, &Binding{Alias: "d", Resolve: func(path []codec.Step) (*Resolved, string) {
		if len(path) == 0 {
			return &Resolved{Program: inner, Type: inner.Type()}, ""
		}
		typ, ok := inner.Type().field(path[0].Name)
		if !ok {
			return nil, ""
		}
		return &Resolved{Program: inner, Type: typ, Rest: path}, ""
	}, Names: func() []string { return []string{"title", "n", "bad"} }})
	part := w.compile(t, `{title: v.s, n: v.i + v.j}`)
	w.scope.Bindings[1].Resolve = func(path []codec.Step) (*Resolved, string) {
		if len(path) > 0 && path[0].Name == "bad" {
			return &Resolved{Program: inner, Type: Type{Kind: Float}, Rest: path}, ""
		}
		if len(path) == 0 {
			return &Resolved{Program: part, Type: part.Type()}, ""
		}
		typ, ok := part.Type().field(path[0].Name)
		if !ok {
			return nil, ""
		}
		return &Resolved{Program: part, Type: typ, Rest: path}, ""
	}
	for _, c := range [][2]string{
		{`d`, `{"title":"Héllo","n":5}`}, {`d.n * 2`, `10`}, {`upper(d.title)`, `"HÉLLO"`}, {`[d, d.n]`, `[{"title":"Héllo","n":5},5]`},
		{`map(v.ints, # + d.n)`, `[8,6,7]`}, {`d.bad`, `error: /: division by zero (in {title: v.s, n: v.i + v.j, bad: v.i / (v.j + 2)})`},
	} {
		if got := w.eval(t, c[0]); got != c[1] {
			t.Errorf("%s: got %s, want %s", c[0], got, c[1])
		}
	}
	if got := w.compile(t, `d.n`).Refs(); len(got) != 3 {
		t.Errorf("the refs of a program count: %v", got)
	}
	if _, diags := Compile(Source{Text: `d.titel`}, w.scope, Want{}); !strings.Contains(list(diags), "did you mean d.title?") {
		t.Error(list(diags))
	}
}

func TestAmbiguousNames(t *testing.T) {
	in := func(names ...string) input {
		var fields []Field
		for _, name := range names {
			fields = append(fields, Field{name, Type{Kind: Int}})
		}
		return input{fields: fields}
	}
	w := newWorld(t, in("a", "both"), in("b", "both"))
	_, diags := Compile(Source{Text: `a + b + both`}, w.scope, Want{})
	if got, want := list(diags), "8-12 ambiguous-name: name both is ambiguous: more than one input has it\n"; got != want {
		t.Errorf("got %swant %s", got, want)
	}
}

func TestAggregatesAreHandedOver(t *testing.T) {
	w := sample(t)
	var calls []AggregateCall
	w.scope.Aggregate = func(call AggregateCall) (Resolved, diag.List) {
		calls = append(calls, call)
		if call.Name == "avg" {
			var diags diag.List
			diags.Errorf("not-yet", call.Span, "no avg")
			return Resolved{}, diags
		}
		return Resolved{Ref: Ref{Row: 1, Slot: len(calls) - 1}, Type: Type{Kind: Int}}, nil
	}
	w.frame.Rows = append(w.frame.Rows, &value.Row{Slots: []value.Value{value.OfInt(10), value.OfInt(3), value.OfInt(99)}})
	text := `{total: sum(v.i * 2), n: count(), most: max(v.i, v.j), mean: sum(v.i) / count(), list: sum(v.ints, # + 1)}`
	w.frame.Rows[1].Slots = append(w.frame.Rows[1].Slots, value.OfInt(4))
	got, err := w.compile(t, text).AppendJSON(nil, w.frame)
	if want := `{"total":10,"n":3,"most":7,"mean":24.75,"list":9}`; err != nil || string(got) != want {
		t.Errorf("got %s %v, want %s", got, err, want)
	}
	var texts []string
	for _, call := range calls {
		texts = append(texts, call.Text)
	}
	if got, want := strings.Join(texts, "; "), "sum(v.i * 2); count(); sum(v.i); count()"; got != want {
		t.Errorf("handed over %s, want %s", got, want)
	}
	arg := calls[0].Args[0]
	if arg.Text() != "v.i * 2" || arg.Type().Kind != Int {
		t.Errorf("argument %q of type %s", arg.Text(), arg.Type())
	}
	if i, _, _ := arg.Int(w.frame); i != 14 {
		t.Errorf("argument gives %d", i)
	}
	if _, diags := Compile(Source{Text: `sum(count())`}, w.scope, Want{}); list(diags) != "4-11 aggregate-here: count stands inside sum: an aggregate is over single records, not over another aggregate | write them side by side, as columns or as operands: sum(x) / count()\n" {
		t.Errorf("an aggregate of an aggregate: %s", list(diags))
	}
	if _, diags := Compile(Source{Text: `1 + avg(v.i)`}, w.scope, Want{}); list(diags) != "4-12 not-yet: no avg\n" {
		t.Errorf("the scope's own diagnostics: %s", list(diags))
	}
}

func TestGroupScope(t *testing.T) {
	w := sample(t)
	outer := &Scope{Group: w.scope, Aggregate: func(call AggregateCall) (Resolved, diag.List) { return Resolved{Type: Type{Kind: Int}}, nil }}
	if _, diags := Compile(Source{Text: `sum(v.i)`}, outer, Want{}); diags.HasErrors() {
		t.Error(list(diags))
	}
	if _, diags := Compile(Source{Text: `sum(v.i) + v.i`}, outer, Want{}); !strings.Contains(list(diags), "11-14 unknown-name") {
		t.Errorf("fields of single records are not known beside aggregates: %s", list(diags))
	}
}

func TestErrorOfAnArgumentCountsFromItsOwnText(t *testing.T) {
	w := sample(t)
	var arg *Program
	w.scope.Aggregate = func(call AggregateCall) (Resolved, diag.List) {
		arg = call.Args[0]
		return Resolved{Type: Type{Kind: Int}}, nil
	}
	w.compile(t, `1 + sum(v.i + int(v.s))`)
	_, err := arg.Eval(w.frame)
	if e, ok := err.(*Error); !ok || arg.Text()[e.Start:e.End] != "int(v.s)" {
		t.Errorf("%q: %#v", arg.Text(), err)
	}
}

func TestJoinTerms(t *testing.T) {
	w := newWorld(t,
		input{alias: "v", fields: []Field{{"id", Type{Kind: Int}}, {"name", Type{Kind: String}}}, row: map[string]string{"id": "7", "name": `"x"`}},
		input{alias: "p", fields: []Field{{"key", Type{Kind: String}}, {"name", Type{Kind: String}}}, row: map[string]string{"key": `"urn:a:b:7"`, "name": `"x"`}},
	)
	src := Source{Text: `int(split(p.key, ":")[3]) == v.id and (v.name == p.name)`}
	terms, diags := CompileJoin(src, w.scope, "p")
	if diags.HasErrors() || len(terms) != 2 {
		t.Fatalf("%d terms\n%s", len(terms), list(diags))
	}
	first := terms[0]
	if first.Left.Text() != "v.id" || first.Right.Text() != `int(split(p.key, ":")[3])` || first.RightSource.Text != first.Right.Text() {
		t.Errorf("sides %q and %q (%q)", first.Left.Text(), first.Right.Text(), first.RightSource.Text)
	}
	l, _, _ := first.Left.Int(w.frame)
	r, _, err := first.Right.Int(w.frame)
	if l != 7 || r != 7 || err != nil {
		t.Errorf("keys %d and %d, %v", l, r, err)
	}
	again, diags := Compile(first.RightSource, w.scope, Want{})
	if again == nil {
		t.Fatal(list(diags))
	}
	if span := terms[1].RightSource.At(0, 6); src.Text[span.Start.Offset:span.End.Offset] != "p.name" {
		t.Errorf("the part's place is lost: %+v", span)
	}
}

// TestPlacesInFiles: every byte goes through Source.At.
func TestPlacesInFiles(t *testing.T) {
	src := Source{Text: "v.s == 'ü' &&\n  v.nope", At: func(start, end int) diag.Span {
		return diag.Span{File: "p.yaml", Start: diag.Pos{Offset: 100 + start}, End: diag.Pos{Offset: 100 + end}}
	}}
	_, diags := Compile(src, sample(t).scope, Want{})
	at := 100 + strings.Index(src.Text, "v.nope")
	if len(diags) != 1 || diags[0].Span.File != "p.yaml" || diags[0].Span.Start.Offset != at || diags[0].Span.End.Offset != at+6 {
		t.Errorf("%+v", diags)
	}
}

// TestHostileTexts: whatever the text, an answer comes quickly.
func TestHostileTexts(t *testing.T) {
	w := sample(t)
	for name, c := range map[string]struct {
		text string
		code diag.Code
	}{
		"long text":        {strings.Repeat("v.i + ", 20_000) + "1", codeTooLarge},
		"many nodes":       {"[" + strings.Repeat("-1,", 6_000) + "1]" + strings.Repeat(" ", 10), codeTooLarge},
		"deep brackets":    {strings.Repeat("(", 5_000) + "1" + strings.Repeat(")", 5_000), codeTooLarge},
		"deep lists":       {strings.Repeat("[", 201) + strings.Repeat("]", 201), codeTooLarge},
		"prefix operators": {strings.Repeat("!", 30_000) + "v.b", codeTooLarge},
		"minus signs":      {strings.Repeat("- ", 9_000) + "1", codeTooLarge},
		"open brackets":    {strings.Repeat("f(", 150), codeSyntax},
		"dots":             {"v" + strings.Repeat(".", 10_000), codeSyntax},
		"unknown names":    {strings.Repeat("nope + ", 2_000) + "1", codeUnknown},
		"bad UTF-8":        {"v.s == \"\xff\xfe\" && \xff", codeSyntax},
		"no expression":    {"// only a comment", codeSyntax},
		"huge pattern":     {`v.s matches "` + strings.Repeat("a", 2_000) + `"`, codeRegex},
		"pattern of size":  {`v.s matches "((a{1000}){1000}){1000}"`, codeRegex},
	} {
		start := time.Now()
		p, diags := Compile(Source{Text: c.text}, w.scope, Want{})
		if p != nil || len(diags) == 0 || diags[0].Code != c.code {
			t.Errorf("%s: want %s, got %.200s", name, c.code, list(diags))
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
	for name, text := range map[string]string{
		"long sum":      strings.Repeat("v.i + ", 2_000) + "1",
		"long or":       strings.Repeat("v.s == 'a' || ", 1_500) + "v.b",
		"long path":     "v.o" + strings.Repeat(".a", 2_000),
		"long ternary":  strings.Repeat("v.b && false ? 1 : ", 1_000) + "2",
		"long coalesce": strings.Repeat("v.noInt ?? ", 2_000) + "2",
	} {
		start := time.Now()
		w.eval(t, text)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
}

// TestNoRecordTakesForever: loops in loops end with an error of the record.
func TestNoRecordTakesForever(t *testing.T) {
	w := sample(t)
	for _, text := range []string{
		`all(1..100000, all(1..100000, true))`,
		`map(1..100000, 1..100000)`,
		`map(1..100000, map(v.ints, 1..1000))`,
		`map(1..100000, repeat(v.s, 100000))`,
		`reduce(1..100000, reduce(1..100000, #acc + #, 0), 0)`,
		`map(1..100000, filter(1..100000, true))`,
		`map(1..100000, concat(1..10000, v.ints))`,
	} {
		start := time.Now()
		_, err := w.compile(t, text).Eval(w.frame)
		if err == nil || !strings.Contains(err.Error(), "more than 10000000 steps") {
			t.Errorf("%s: %v", text, err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s took %s", text, took)
		}
	}
	if got := w.eval(t, `count(1..100000, # % 2 == 0)`); got != "50000" {
		t.Errorf("got %s", got)
	}
}

// TestSharedProgram: a program belongs to nobody; frames do.
func TestSharedProgram(t *testing.T) {
	p := sample(t).compile(t, `format_time(v.i + sum(v.ints, # * v.i), "%Y-%m-%d", v.b ? "Europe/Berlin" : "UTC") + upper(v.s) + string(any(v.items, .p == 4))`)
	var wg sync.WaitGroup
	for range 4 {
		frame := sample(t).frame
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 200 {
				if v, err := p.Eval(frame); err != nil || v.Text != "1970-01-01HÉLLOtrue" {
					t.Errorf("got %q %v", v.Text, err)
					return
				}
			}
		}()
	}
	wg.Wait()
}

// TestSteadyStateDoesNotAllocate holds the conditions and results of a join to it.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	w := sample(t)
	dst := make([]byte, 0, 1024)
	for _, text := range []string{
		`v.s == "x"`, `v.any == "x"`, `v.i > 3 && v.s != nil`, `v.s in ["a", "b"]`, `v.s startsWith "H"`, `v.s matches "^H"`,
		`v.i * 3 + v.j % 7`, `seconds(v.i)`, `int(split(v.urn, ":")[3])`, `split(v.urn, ":")[3]`, `v.noInt ?? v.i`,
		`{jobTitle: v.s, company: v.o.a, list: [v.i, v.f]}`, `v.o`, `len(v.s)`, `abs(v.j)`, `truncate_time(v.i, "day", "Europe/Berlin")`,
	} {
		p := w.compile(t, text)
		allocs := testing.AllocsPerRun(100, func() {
			var err error
			if dst, err = p.AppendJSON(dst[:0], w.frame); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 0 {
			t.Errorf("%s allocates %v times", text, allocs)
		}
	}
}

func ExampleCompile() {
	scope := &Scope{Bindings: []*Binding{{
		Resolve: func(path []codec.Step) (*Resolved, string) {
			if len(path) == 1 && path[0].Name == "price" {
				return &Resolved{Ref: Ref{Row: 0, Slot: 0}, Type: Type{Kind: Int}}, ""
			}
			return nil, ""
		},
		Names: func() []string { return []string{"price"} },
	}}}
	program, _ := Compile(Source{Text: `{gross: price * 119 / 100, dear: price > 1000}`}, scope, Want{})
	frame := NewFrame(1)
	frame.Rows[0] = &value.Row{Slots: []value.Value{value.OfInt(2000)}}
	out, _ := program.AppendJSON(nil, frame)
	fmt.Println(string(out))

	_, diags := Compile(Source{Text: `prise + 1`}, scope, Want{})
	fmt.Println(diags[0].Message+":", diags[0].Help)
	// Output:
	// {"gross":2380,"dear":true}
	// unknown name prise: did you mean price?
}
