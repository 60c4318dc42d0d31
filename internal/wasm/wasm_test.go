package wasm

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"streamctl/internal/testkit/wasmtest"
	"streamctl/internal/value"
)

func numbers() []wasmtest.Func {
	return []wasmtest.Func{
		wasmtest.Export("add", []byte{wasmtest.I64, wasmtest.I64}, []byte{wasmtest.I64}, []byte{wasmtest.OpLocalGet, 0, wasmtest.OpLocalGet, 1, wasmtest.OpI64Add}),
		wasmtest.Export("ratio", []byte{wasmtest.F64, wasmtest.F64}, []byte{wasmtest.F64}, []byte{wasmtest.OpLocalGet, 0, wasmtest.OpLocalGet, 1, wasmtest.OpF64Div}),
		wasmtest.Export("flip", []byte{wasmtest.I32}, []byte{wasmtest.I32}, []byte{wasmtest.OpLocalGet, 0, wasmtest.OpI32Eqz}),
		wasmtest.Export("forever", []byte{wasmtest.I64}, []byte{wasmtest.I64}, []byte{wasmtest.OpLoop, wasmtest.NoResult, wasmtest.OpBr, 0, wasmtest.OpEnd, wasmtest.OpLocalGet, 0}),
		wasmtest.Export("trap", []byte{wasmtest.I64}, []byte{wasmtest.I64}, []byte{wasmtest.OpUnreachable}),
		wasmtest.Export("wild", []byte{wasmtest.I64}, []byte{wasmtest.I64}, []byte{wasmtest.OpLocalGet, 0}), // as a string: whatever address is asked for
	}
}

// growing asks for more pages than are allowed: memory.grow then gives -1.
func growing() wasmtest.Func {
	return wasmtest.Export("grow", []byte{wasmtest.I64}, []byte{wasmtest.I32}, []byte{wasmtest.OpI32Const, 100, wasmtest.OpMemoryGrow, 0, wasmtest.OpI32Const, 1, wasmtest.OpI32Add, wasmtest.OpI32Eqz})
}

func texts() []wasmtest.Func {
	return []wasmtest.Func{wasmtest.Allocator(), wasmtest.Resetter(), wasmtest.Exclaim()}
}

func mustCompile(t testing.TB, m wasmtest.Module, s Signature, l Limits) *Function {
	t.Helper()
	f, err := Compile(m.Bytes(), s, l)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNumbers(t *testing.T) {
	m := wasmtest.Module{Functions: numbers()}
	for _, c := range []struct {
		s    Signature
		args []value.Value
		want string
	}{
		{Signature{"add", []Kind{Int, Int}, Int}, []value.Value{value.OfInt(-5), value.OfInt(1 << 62)}, "4611686018427387899"},
		{Signature{"ratio", []Kind{Float, Float}, Float}, []value.Value{value.OfInt(1), value.OfFloat(4)}, "0.25"},
		{Signature{"flip", []Kind{Bool}, Bool}, []value.Value{value.OfBool(true)}, "false"},
		{Signature{"flip", []Kind{Bool}, Bool}, []value.Value{value.OfBool(false)}, "true"},
	} {
		f := mustCompile(t, m, c.s, Limits{})
		for range 3 {
			v, err := f.Call(c.args)
			if got := string(value.AppendJSON(nil, v)); got != c.want || err != nil {
				t.Errorf("%s%v = %s, %v, want %s", c.s.Export, c.args, got, err, c.want)
			}
		}
	}
}

func TestStrings(t *testing.T) {
	f := mustCompile(t, wasmtest.Module{Pages: 1, Functions: texts()}, Signature{"exclaim", []Kind{String}, String}, Limits{})
	for _, text := range []string{"hello", "Straße 東京", strings.Repeat("x", 60_000), "a"} {
		for range 3 { // without reset the second long one would not fit
			if v, err := f.Call([]value.Value{value.OfString(text)}); err != nil || v.Text != text+"!" {
				t.Errorf("exclaim(%.20q): %.30v, %v", text, v.Text, err)
			}
		}
	}
	// A text that does not fit is an error of this call alone.
	if _, err := f.Call([]value.Value{value.OfString(strings.Repeat("x", 70_000))}); err == nil || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("too long a text: %v", err)
	}
	if v, err := f.Call([]value.Value{value.OfString("on")}); err != nil || v.Text != "on!" {
		t.Errorf("after an error: %v, %v", v.Text, err)
	}
}

func TestLimitsAndTraps(t *testing.T) {
	for _, c := range []struct {
		s    Signature
		want string
	}{
		{Signature{"forever", []Kind{Int}, Int}, "took longer than 30ms"},
		{Signature{"trap", []Kind{Int}, Int}, "unreachable"},
		{Signature{"grow", []Kind{Int}, Bool}, ""},
		{Signature{"wild", []Kind{Int}, String}, "lies outside of the module's memory"},
	} {
		f := mustCompile(t, wasmtest.Module{Pages: 1, Functions: append(append(numbers(), growing()), texts()...)}, c.s, Limits{Memory: 1 << 20, Timeout: 30 * time.Millisecond})
		for range 2 { // what has failed is replaced
			v, err := f.Call([]value.Value{value.OfInt(1 << 62)})
			switch {
			case c.want == "" && (err != nil || !v.AsBool()):
				t.Errorf("%s: %v, %v: memory has grown past its limit", c.s.Export, v, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s: error %v, want %s", c.s.Export, err, c.want)
			}
		}
	}
	ratio := mustCompile(t, wasmtest.Module{Functions: numbers()}, Signature{"ratio", []Kind{Float, Float}, Float}, Limits{})
	if v, err := ratio.Call([]value.Value{value.OfInt(1), value.OfInt(0)}); err == nil {
		t.Errorf("infinity is %v", v)
	}
}

func TestModulesThatAreRefused(t *testing.T) {
	numeric := wasmtest.Module{Functions: numbers()}.Bytes()
	for want, c := range map[string]struct {
		module []byte
		s      Signature
		l      Limits
	}{
		"compile module: invalid magic number":                                           {[]byte("text"), Signature{"add", nil, Int}, Limits{}},
		`the module exports no function "sub", but: add, flip, forever`:                  {numeric, Signature{"sub", nil, Int}, Limits{}},
		"export add is (i64, i64) -> (i64), and what is declared is (i64) -> (i64)":      {numeric, Signature{"add", []Kind{Int}, Int}, Limits{}},
		"export add is (i64, i64) -> (i64), and what is declared is (i64, i64) -> (f64)": {numeric, Signature{"add", []Kind{Int, Int}, Float}, Limits{}},
		"the module imports env.now: functions are given nothing":                        {wasmtest.Module{Imports: true, Functions: numbers()}.Bytes(), Signature{"add", []Kind{Int, Int}, Int}, Limits{}},
		`it exports none called "memory"`:                                                {numeric, Signature{"wild", []Kind{Int}, String}, Limits{}},
		"must export alloc(i32) -> i32":                                                  {wasmtest.Module{Pages: 1, Functions: []wasmtest.Func{wasmtest.Exclaim()}}.Bytes(), Signature{"exclaim", []Kind{String}, String}, Limits{}},
		"compile module: section memory: min 20 pages":                                   {wasmtest.Module{Pages: 20, Functions: texts()}.Bytes(), Signature{"exclaim", []Kind{String}, String}, Limits{Memory: 1 << 20}},
	} {
		if _, err := Compile(c.module, c.s, c.l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Workers call one function at the same time, each in memory of its own.
func TestConcurrentCalls(t *testing.T) {
	f := mustCompile(t, wasmtest.Module{Pages: 1, Functions: texts()}, Signature{"exclaim", []Kind{String}, String}, Limits{Timeout: time.Minute})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			text := strings.Repeat(string(rune('a'+w)), 100)
			for range 500 {
				if v, err := f.Call([]value.Value{value.OfString(text)}); err != nil || v.Text != text+"!" {
					t.Errorf("worker %d: %q, %v", w, v.Text, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(f.free); n > 4 {
		t.Errorf("%d instances for 4 workers", n)
	}
	runtime.KeepAlive(f)
}

func TestCanonical(t *testing.T) {
	a := mustCompile(t, wasmtest.Module{Functions: numbers()}, Signature{"flip", []Kind{Bool}, Bool}, Limits{}).Canonical()
	b := mustCompile(t, wasmtest.Module{Functions: numbers()[2:]}, Signature{"flip", []Kind{Bool}, Bool}, Limits{}).Canonical()
	if a == b || !strings.HasPrefix(a, "wasm ") || !strings.HasSuffix(a, " flip") {
		t.Errorf("canonical texts %s and %s", a, b)
	}
}

func BenchmarkCall(b *testing.B) {
	f := mustCompile(b, wasmtest.Module{Functions: numbers()}, Signature{"add", []Kind{Int, Int}, Int}, Limits{})
	args := []value.Value{value.OfInt(1), value.OfInt(2)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Call(args); err != nil {
			b.Fatal(err)
		}
	}
}
