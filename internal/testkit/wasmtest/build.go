// Package wasmtest puts WebAssembly modules together for tests, byte by byte,
// after the binary format of the WebAssembly core specification: no binaries lie
// in the repository.
package wasmtest

// Value types.
const (
	I32 = 0x7f
	I64 = 0x7e
	F64 = 0x7c
)

// Instructions that the tests use.
const (
	OpUnreachable = 0x00
	OpLoop        = 0x03 // followed by the type of the block
	OpBr          = 0x0c
	OpEnd         = 0x0b
	OpDrop        = 0x1a
	OpLocalGet    = 0x20
	OpGlobalGet   = 0x23
	OpGlobalSet   = 0x24
	OpI32Store8   = 0x3a // alignment, offset
	OpMemoryGrow  = 0x40
	OpI32Const    = 0x41
	OpI64Const    = 0x42
	OpF64Const    = 0x44
	OpI32Eqz      = 0x45
	OpI32Add      = 0x6a
	OpI64Add      = 0x7c
	OpI64Or       = 0x84
	OpI64Shl      = 0x86
	OpF64Div      = 0xa3
	OpI64ExtendU  = 0xad // of an i32
	NoResult      = 0x40
)

// Func is a function of a module: its type and its body without the end.
type Func struct {
	Name            string
	Params, Results []byte
	Body            []byte
}

// Export makes a Func.
func Export(name string, params, results, body []byte) Func {
	return Func{Name: name, Params: params, Results: results, Body: body}
}

// Module describes what is to be put together.
type Module struct {
	Imports   bool   // one function, env.now
	Pages     uint32 // of memory, exported; 0 = none
	Functions []Func
}

// leb writes an unsigned number, 7 bits a byte.
func leb(n uint32) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// vec writes a vector: how many, then each.
func vec(items ...[]byte) []byte {
	out := leb(uint32(len(items)))
	for _, item := range items {
		out = append(out, item...)
	}
	return out
}

func str(s string) []byte { return append(leb(uint32(len(s))), s...) }

// section writes a section: its number, its length, its content.
func section(id byte, content []byte) []byte {
	return append(append([]byte{id}, leb(uint32(len(content)))...), content...)
}

// Bytes puts the module together. Global 0 is where free memory begins.
func (m Module) Bytes() []byte {
	out := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	var types, functions, exports, codes [][]byte
	first := 0
	var imports []byte
	if m.Imports {
		types = append(types, append(append([]byte{0x60}, vec()...), vec([]byte{I64})...))
		imports = section(2, vec(append(append(str("env"), str("now")...), 0x00, 0)))
		first = 1
	}
	for i, f := range m.Functions {
		kind := []byte{0x60}
		kind = append(append(kind, leb(uint32(len(f.Params)))...), f.Params...)
		kind = append(append(kind, leb(uint32(len(f.Results)))...), f.Results...)
		types = append(types, kind)
		functions = append(functions, leb(uint32(first+i)))
		exports = append(exports, append(append(str(f.Name), 0x00), leb(uint32(first+i))...))
		body := append(vec(), append(f.Body, OpEnd)...) // no locals
		codes = append(codes, append(leb(uint32(len(body))), body...))
	}
	out = append(out, section(1, vec(types...))...)
	out = append(out, imports...)
	out = append(out, section(3, vec(functions...))...)
	if m.Pages > 0 {
		out = append(out, section(5, vec(append([]byte{0x00}, leb(m.Pages)...)))...)
		exports = append(exports, append(str("memory"), 0x02, 0))
	}
	// One global, a mutable i32 that begins at 1024.
	out = append(out, section(6, vec([]byte{I32, 1, OpI32Const, 0x80, 0x08, OpEnd}))...)
	out = append(out, section(7, vec(exports...))...)
	return append(out, section(10, vec(codes...))...)
}

// Allocator is alloc: what is free begins behind what was asked for, and a byte.
func Allocator() Func {
	return Export("alloc", []byte{I32}, []byte{I32}, []byte{
		OpGlobalGet, 0, // the result
		OpGlobalGet, 0, OpLocalGet, 0, OpI32Add, OpI32Const, 1, OpI32Add, OpGlobalSet, 0,
	})
}

// Resetter is reset: all is free again.
func Resetter() Func {
	return Export("reset", nil, nil, []byte{OpI32Const, 0x80, 0x08, OpGlobalSet, 0})
}

// Exclaim gives its argument with a mark behind.
func Exclaim() Func {
	return Export("exclaim", []byte{I32, I32}, []byte{I64}, []byte{
		OpLocalGet, 0, OpLocalGet, 1, OpI32Add, OpI32Const, '!', OpI32Store8, 0, 0, // memory[address+length] = '!'
		OpLocalGet, 0, OpI64ExtendU, OpI64Const, 32, OpI64Shl,
		OpLocalGet, 1, OpI32Const, 1, OpI32Add, OpI64ExtendU, OpI64Or,
	})
}
