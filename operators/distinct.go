package operators

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"

	"github.com/axiomhq/hyperloglog"
	"github.com/cespare/xxhash/v2"

	"streamctl/internal/value"
)

// distinctAccumulator is count_distinct: every value, by its canonical text.
type distinctAccumulator struct {
	undoable bool
	values   map[string]int64 // how often
	bytes    int
	buf      []byte
}

func (d *distinctAccumulator) room(args []value.Value) error {
	if d.undoable {
		return nil
	}
	d.buf = value.AppendStored(d.buf[:0], args[0])
	if d.values[string(d.buf)] == 0 && d.bytes+len(d.buf) > maxCollected {
		return fmt.Errorf(`count_distinct keeps more than %d bytes of one group: count_distinct(x, "approx") does not grow`, maxCollected)
	}
	return nil
}

func (d *distinctAccumulator) add(args []value.Value, _ int64) {
	d.buf = value.AppendStored(d.buf[:0], args[0])
	d.count(string(d.buf), 1)
}

func (d *distinctAccumulator) count(text string, n int64) {
	if d.values == nil {
		d.values = make(map[string]int64)
	}
	if d.values[text] == 0 {
		d.bytes += len(text)
	}
	d.values[text] += n
}

func (d *distinctAccumulator) undo(args []value.Value) {
	d.buf = value.AppendStored(d.buf[:0], args[0])
	switch n := d.values[string(d.buf)]; {
	case n > 1:
		d.values[string(d.buf)] = n - 1
	case n == 1:
		d.bytes -= len(d.buf)
		delete(d.values, string(d.buf))
	}
}

func (d *distinctAccumulator) result() value.Value { return value.OfInt(int64(len(d.values))) }

// appendState appends [value, ...], sorted, and where values can be taken back
// [[value, n], ...].
func (d *distinctAccumulator) appendState(dst []byte) []byte {
	texts := make([]string, 0, len(d.values))
	for text := range d.values {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	dst = append(dst, '[')
	for i, text := range texts {
		if i > 0 {
			dst = append(dst, ',')
		}
		if d.undoable {
			dst = fmt.Appendf(dst, "[%s,%d]", text, d.values[text])
		} else {
			dst = append(dst, text...)
		}
	}
	return append(dst, ']')
}

func (d *distinctAccumulator) decode(state value.Value) error {
	items := state.Expand()
	if !items.IsList() {
		return fmt.Errorf("%s is no state of values", state.Short())
	}
	d.values, d.bytes = nil, 0
	for _, item := range items.Tree.Items {
		n := int64(1)
		if d.undoable {
			n, _ = item.Index(1).ToInt()
			item = item.Index(0)
		}
		d.count(string(appendKept(nil, item)), n)
	}
	return nil
}

func (d *distinctAccumulator) merge(later accumulator) {
	for text, n := range later.(*distinctAccumulator).values {
		d.count(text, n)
	}
}

func (d *distinctAccumulator) memory() int { return 64 + 48*len(d.values) + d.bytes }

// approxAccumulator is count_distinct(x, "approx"): 64 bit hashes while they are
// few, then HyperLogLog (Flajolet et al., 2007) with 2^14 registers, whose
// standard error is 0.8 %. Both are sets: neither order nor restarts matter.
type approxAccumulator struct {
	hashes []uint64 // sorted; nil once there is a sketch
	sketch *hyperloglog.Sketch
	buf    []byte
}

// exactHashes is up to how many different values are counted one by one.
const exactHashes = 1024

func (a *approxAccumulator) room([]value.Value) error { return nil }
func (a *approxAccumulator) undo([]value.Value)       {}

func (a *approxAccumulator) add(args []value.Value, _ int64) {
	a.buf = value.AppendStored(a.buf[:0], args[0])
	a.insert(xxhash.Sum64(a.buf))
}

func (a *approxAccumulator) insert(hash uint64) {
	if a.sketch != nil {
		a.sketch.InsertHash(hash)
		return
	}
	at, found := slices.BinarySearch(a.hashes, hash)
	if found {
		return
	}
	if a.hashes = slices.Insert(a.hashes, at, hash); len(a.hashes) > exactHashes {
		a.toSketch()
	}
}

func (a *approxAccumulator) toSketch() {
	// Not the library's sparse form: when that ends depends on when it is written.
	a.sketch = hyperloglog.NewNoSparse()
	for _, h := range a.hashes {
		a.sketch.InsertHash(h)
	}
	a.hashes = nil
}

func (a *approxAccumulator) result() value.Value {
	if a.sketch != nil {
		return value.OfInt(int64(a.sketch.Estimate()))
	}
	return value.OfInt(int64(len(a.hashes)))
}

// appendState appends the hashes as an array of hexadecimal numbers, or the sketch as base64.
func (a *approxAccumulator) appendState(dst []byte) []byte {
	if a.sketch != nil {
		data, err := a.sketch.MarshalBinary()
		if err != nil { // only of a sketch that was never made
			panic(fmt.Sprintf("operators: encode HyperLogLog: %v", err))
		}
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, data)
		return append(dst, '"')
	}
	dst = append(dst, '[')
	for i, h := range a.hashes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = fmt.Appendf(dst, `"%x"`, h)
	}
	return append(dst, ']')
}

func (a *approxAccumulator) decode(state value.Value) error {
	*a = approxAccumulator{}
	if state.Kind == value.String {
		data, err := base64.StdEncoding.DecodeString(state.Text)
		if err != nil {
			return err
		}
		a.sketch = &hyperloglog.Sketch{}
		return a.sketch.UnmarshalBinary(data)
	}
	for _, item := range state.Expand().Tree.Items {
		h, err := strconv.ParseUint(item.Text, 16, 64)
		if err != nil {
			return err
		}
		a.hashes = append(a.hashes, h)
	}
	return nil
}

func (a *approxAccumulator) merge(later accumulator) {
	l := later.(*approxAccumulator)
	for _, h := range l.hashes {
		a.insert(h)
	}
	if l.sketch == nil {
		return
	}
	if a.sketch == nil {
		a.toSketch()
	}
	if err := a.sketch.Merge(l.sketch); err != nil { // only of other precisions
		panic(fmt.Sprintf("operators: merge HyperLogLog: %v", err))
	}
}

func (a *approxAccumulator) memory() int {
	const sketch = 1<<14 + 128
	if a.sketch != nil {
		return sketch
	}
	return 64 + 8*cap(a.hashes)
}
