// Package wasm runs scalar functions that are exports of WebAssembly modules,
// on wazero: in pure Go, sandboxed, with limits of memory and time per call.
//
// A module is given nothing: it may import nothing, so it has no clock, no
// randomness, no files and no network, and equal arguments give equal results as
// long as it keeps nothing from one call to the next (which it must not: which
// instance a call meets is not said).
//
// How values pass:
//
//	int     i64
//	float   f64
//	bool    i32: 0 is false
//	string  argument: two i32, address and length in bytes, of UTF-8 in the module's memory
//	        result: one i64, address << 32 | length; 0 as a whole is null
//
// A module that takes strings exports its memory as `memory`, and
//
//	alloc(size: i32) -> i32
//
// which gives the address of so many bytes, free to be written until the call
// is over. An export `reset()` without results, if there is one, is called after
// each call, when the result has been read: what was allocated is free again. A null
// argument never reaches the module: the result is null.
//
// The package must not know pipelines, records or expressions.
package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"streamctl/internal/value"
)

// Kind is the type of a parameter or result.
type Kind uint8

// The kinds that can pass.
const (
	Int Kind = iota
	Float
	Bool
	String
)

// String is the word of the language.
func (k Kind) String() string { return [...]string{"int", "float", "bool", "string"}[k] }

// Signature says which export is called, and how.
type Signature struct {
	Export  string
	Params  []Kind
	Returns Kind
}

// Limits bound what one call may use.
type Limits struct {
	Memory  int64         // bytes of the module's memory; 0 = DefaultMemory. Rounded up to pages of 64 KiB
	Timeout time.Duration // of one call, wall clock; 0 = DefaultTimeout
}

// Limits where none are given.
const (
	DefaultMemory  = 16 << 20
	DefaultTimeout = 100 * time.Millisecond

	pageSize = 64 << 10
)

// Function is an export ready to be called, by any number of goroutines: each
// call under way has an instance of the module of its own. Instances are kept;
// one whose call has failed is thrown away.
type Function struct {
	signature Signature
	limits    Limits
	hash      string
	runtime   wazero.Runtime
	compiled  wazero.CompiledModule
	textual   bool // some parameter is a string

	mu   sync.Mutex
	free []*instance
}

// instance is the module with its memory.
type instance struct {
	module api.Module
	call   api.Function
	alloc  api.Function // nil = no string is passed
	reset  api.Function // nil = none
	stack  []uint64
}

// Compile checks and compiles a module. Its memory is freed when the Function
// is not reachable any more.
func Compile(module []byte, s Signature, l Limits) (*Function, error) {
	if l.Memory == 0 {
		l.Memory = DefaultMemory
	}
	if l.Timeout == 0 {
		l.Timeout = DefaultTimeout
	}
	ctx := context.Background()
	pages := uint32((l.Memory + pageSize - 1) / pageSize)
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true).WithMemoryLimitPages(pages))
	f := &Function{signature: s, limits: l, runtime: rt, textual: slices.Contains(s.Params, String)}
	err := f.compile(ctx, module)
	if err == nil {
		var first *instance
		if first, err = f.open(); err == nil { // a module that cannot start is told of now
			f.free = append(f.free, first)
		}
	}
	if err != nil {
		return nil, errors.Join(err, rt.Close(ctx))
	}
	runtime.AddCleanup(f, func(rt wazero.Runtime) { _ = rt.Close(context.Background()) }, rt)
	return f, nil
}

func (f *Function) compile(ctx context.Context, module []byte) (err error) {
	sum := sha256.Sum256(module)
	f.hash = hex.EncodeToString(sum[:])
	if f.compiled, err = f.runtime.CompileModule(ctx, module); err != nil {
		return fmt.Errorf("compile module: %s", firstLine(err))
	}
	if imports := f.compiled.ImportedFunctions(); len(imports) > 0 {
		from, name, _ := imports[0].Import()
		return fmt.Errorf("the module imports %s.%s: functions are given nothing, neither a clock nor files", from, name)
	}
	if len(f.compiled.ImportedMemories()) > 0 {
		return errors.New("the module imports its memory: it must have its own")
	}
	return f.checkExports()
}

// checkExports holds the module to the signature.
func (f *Function) checkExports() error {
	exports := f.compiled.ExportedFunctions()
	def := exports[f.signature.Export]
	if def == nil {
		var names []string
		for name := range exports {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("the module exports no function %q, but: %s", f.signature.Export, strings.Join(names, ", "))
	}
	var params []api.ValueType
	for _, p := range f.signature.Params {
		params = append(params, p.params()...)
	}
	results := []api.ValueType{f.signature.Returns.result()}
	if !slices.Equal(def.ParamTypes(), params) || !slices.Equal(def.ResultTypes(), results) {
		return fmt.Errorf("export %s is %s, and what is declared is %s", f.signature.Export,
			shape(def.ParamTypes(), def.ResultTypes()), shape(params, results))
	}
	if f.textual || f.signature.Returns == String {
		if f.compiled.ExportedMemories()["memory"] == nil {
			return errors.New(`strings pass through the module's memory, and it exports none called "memory"`)
		}
	}
	i32 := []api.ValueType{api.ValueTypeI32}
	if alloc := exports["alloc"]; f.textual && (alloc == nil || !slices.Equal(alloc.ParamTypes(), i32) || !slices.Equal(alloc.ResultTypes(), i32)) {
		return errors.New("a module that takes strings must export alloc(i32) -> i32")
	}
	if reset := exports["reset"]; reset != nil && len(reset.ParamTypes())+len(reset.ResultTypes()) > 0 {
		return errors.New("export reset must take nothing and give nothing")
	}
	return nil
}

func (k Kind) params() []api.ValueType {
	if k == String {
		return []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}
	}
	return []api.ValueType{k.result()}
}

func (k Kind) result() api.ValueType {
	switch k {
	case Float:
		return api.ValueTypeF64
	case Bool:
		return api.ValueTypeI32
	}
	return api.ValueTypeI64
}

// shape writes a signature of WebAssembly.
func shape(params, results []api.ValueType) string {
	names := func(types []api.ValueType) string {
		var out []string
		for _, t := range types {
			out = append(out, api.ValueTypeName(t))
		}
		return "(" + strings.Join(out, ", ") + ")"
	}
	return names(params) + " -> " + names(results)
}

// open makes an instance.
func (f *Function) open() (*instance, error) {
	ctx, cancel := context.WithTimeout(context.Background(), max(f.limits.Timeout, time.Second)) // it is not called for a record
	defer cancel()
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize")
	module, err := f.runtime.InstantiateModule(ctx, f.compiled, config)
	if err != nil {
		return nil, fmt.Errorf("start module: %s", firstLine(err))
	}
	i := &instance{module: module, call: module.ExportedFunction(f.signature.Export), reset: module.ExportedFunction("reset")}
	if f.textual {
		i.alloc = module.ExportedFunction("alloc")
	}
	i.stack = make([]uint64, max(1, 2*len(f.signature.Params)))
	return i, nil
}

// take gives an instance that nobody uses.
func (f *Function) take() (*instance, error) {
	f.mu.Lock()
	if n := len(f.free); n > 0 {
		i := f.free[n-1]
		f.free = f.free[:n-1]
		f.mu.Unlock()
		return i, nil
	}
	f.mu.Unlock()
	return f.open()
}

// Call computes the function. args have the kinds of the signature, none is null.
func (f *Function) Call(args []value.Value) (value.Value, error) {
	i, err := f.take()
	if err != nil {
		return value.Value{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.limits.Timeout)
	v, err := f.run(ctx, i, args)
	late := ctx.Err() != nil
	cancel()
	if err != nil {
		_ = i.module.Close(context.Background()) // what it left behind is not to be trusted
		if late {
			return value.Value{}, fmt.Errorf("took longer than %s", f.limits.Timeout)
		}
		return value.Value{}, err
	}
	f.mu.Lock()
	f.free = append(f.free, i)
	f.mu.Unlock()
	return v, nil
}

// run calls the export of one instance.
func (f *Function) run(ctx context.Context, i *instance, args []value.Value) (value.Value, error) {
	n, err := f.pass(ctx, i, args)
	if err != nil {
		return value.Value{}, err
	}
	if err := i.call.CallWithStack(ctx, i.stack[:max(n, 1)]); err != nil {
		return value.Value{}, errors.New(firstLine(err))
	}
	v, err := f.result(i, i.stack[0])
	if err == nil && i.reset != nil {
		if _, err := i.reset.Call(ctx); err != nil {
			return value.Value{}, fmt.Errorf("reset: %s", firstLine(err))
		}
	}
	return v, err
}

// pass puts the arguments on the stack and says how many words they take.
func (f *Function) pass(ctx context.Context, i *instance, args []value.Value) (n int, err error) {
	for at, arg := range args {
		switch f.signature.Params[at] {
		case Int:
			i.stack[n] = uint64(arg.AsInt())
		case Float:
			x, _ := arg.ToFloat()
			i.stack[n] = api.EncodeF64(x)
		case Bool:
			i.stack[n] = 0
			if arg.AsBool() {
				i.stack[n] = 1
			}
		case String:
			address, err := i.write(ctx, arg.Text)
			if err != nil {
				return n, err
			}
			i.stack[n], i.stack[n+1] = uint64(address), uint64(len(arg.Text))
			n++
		}
		n++
	}
	return n, nil
}

// write puts a text into the module's memory.
func (i *instance) write(ctx context.Context, text string) (address uint32, err error) {
	if text == "" {
		return 0, nil
	}
	if len(text) > 1<<31-1 {
		return 0, errors.New("a string of 2 GiB does not fit into the module")
	}
	var stack [1]uint64
	stack[0] = uint64(len(text))
	if err := i.alloc.CallWithStack(ctx, stack[:]); err != nil {
		return 0, fmt.Errorf("alloc: %s", firstLine(err))
	}
	address = uint32(stack[0])
	if address == 0 || !i.module.Memory().WriteString(address, text) {
		return 0, fmt.Errorf("alloc gave address %d for %d bytes, which its memory of %d bytes does not have", address, len(text), i.module.Memory().Size())
	}
	return address, nil
}

// result reads what the export gave.
func (f *Function) result(i *instance, word uint64) (value.Value, error) {
	switch f.signature.Returns {
	case Int:
		return value.OfInt(int64(word)), nil
	case Float:
		return value.Finite(api.DecodeF64(word), "result")
	case Bool:
		return value.OfBool(uint32(word) != 0), nil
	}
	if word == 0 {
		return value.NullV(), nil
	}
	text, ok := i.module.Memory().Read(uint32(word>>32), uint32(word))
	if !ok {
		return value.Value{}, fmt.Errorf("the result of %d bytes at address %d lies outside of the module's memory", uint32(word), uint32(word>>32))
	}
	if !utf8.Valid(text) {
		return value.Value{}, errors.New("the result is not UTF-8")
	}
	return value.OfString(string(text)), nil
}

// Canonical names what is computed: the module by its hash, and the export.
func (f *Function) Canonical() string { return "wasm " + f.hash + " " + f.signature.Export }

// firstLine is an error without the stack trace below it.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimSuffix(strings.TrimPrefix(line, "wasm error: "), " (recovered by wazero)")
}
