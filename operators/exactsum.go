package operators

import (
	"fmt"
	"math"
	"math/bits"

	"streamctl/internal/value"
)

// exactSum adds numbers without rounding: ints in 128 bits, floats as an
// expansion of non-overlapping doubles (Shewchuk, "Adaptive Precision
// Floating-Point Arithmetic and Fast Robust Geometric Predicates", 1997, and the
// way Python's math.fsum rounds it). So a sum does not depend on the order of
// its numbers, and what is taken out leaves nothing behind: 0.1 + 0.2 - 0.2 - 0.1
// is 0. It is rounded once, when it is read.
type exactSum struct {
	n      int64 // numbers that are in it
	floats int64 // of these: floats
	high   int64 // of the sum of the ints
	low    uint64
	parts  []float64 // of the sum of the floats: increasing in magnitude, none zero
}

// addInt adds sign * i.
func (s *exactSum) addInt(i, sign int64) {
	s.n += sign
	high, low := i>>63, uint64(i)
	var carry uint64
	if sign > 0 {
		s.low, carry = bits.Add64(s.low, low, 0)
		s.high += high + int64(carry)
		return
	}
	s.low, carry = bits.Sub64(s.low, low, 0)
	s.high -= high + int64(carry)
}

// addFloat adds sign * f.
func (s *exactSum) addFloat(f float64, sign int64) {
	s.n += sign
	s.floats += sign
	s.parts = growExpansion(s.parts, f*float64(sign))
}

// growExpansion adds x to an expansion, in its memory where that suffices.
func growExpansion(parts []float64, x float64) []float64 {
	kept := 0
	for _, y := range parts {
		if math.Abs(x) < math.Abs(y) {
			x, y = y, x
		}
		high := x + y
		if low := y - (high - x); low != 0 {
			parts[kept] = low
			kept++
		}
		x = high
	}
	parts = parts[:kept]
	if x != 0 {
		parts = append(parts, x)
	}
	return parts
}

// roundExpansion is the double next to the value of an expansion, ties to even.
func roundExpansion(parts []float64) float64 {
	n := len(parts)
	if n == 0 {
		return 0
	}
	high, low := parts[n-1], 0.0
	for n--; n > 0 && low == 0; n-- {
		x, y := high, parts[n-1]
		high = x + y
		low = y - (high - x)
	}
	// Half of the last place is left, and more of the same sign behind it.
	if n > 0 && (low < 0 && parts[n-1] < 0 || low > 0 && parts[n-1] > 0) {
		if twice := low * 2; twice == (high+twice)-high {
			high += twice
		}
	}
	return high
}

// expansion appends to dst the whole sum, ints and floats.
func (s *exactSum) expansion(dst []float64) []float64 {
	dst = append(dst, s.parts...)
	if s.low == 0 && s.high == 0 {
		return dst
	}
	const half = 1 << 32
	dst = growExpansion(dst, float64(s.low%half))
	dst = growExpansion(dst, float64(s.low/half)*half)
	dst = growExpansion(dst, float64(uint64(s.high)%half)*half*half)
	return growExpansion(dst, float64(s.high>>32)*half*half*half)
}

// float is the sum as a double.
func (s *exactSum) float() float64 {
	if s.floats == 0 {
		if i, ok := s.int(); ok {
			return float64(i)
		}
	}
	var room [8]float64
	return roundExpansion(s.expansion(room[:0]))
}

// int is the sum of the ints; false when it has more than 64 bits.
func (s *exactSum) int() (int64, bool) {
	return int64(s.low), s.high == int64(s.low)>>63
}

// appendState appends [numbers, floats, high, low, parts...], and of ints that
// fit just [numbers, 0, sum].
func (s *exactSum) appendState(dst []byte) []byte {
	if i, ok := s.int(); ok && s.floats == 0 && len(s.parts) == 0 {
		return fmt.Appendf(dst, "[%d,0,%d]", s.n, i)
	}
	dst = fmt.Appendf(dst, "[%d,%d,%d,%d", s.n, s.floats, s.high, int64(s.low))
	for _, p := range s.parts {
		dst = value.AppendJSON(append(dst, ','), value.OfFloat(p))
	}
	return append(dst, ']')
}

func (s *exactSum) decode(state value.Value) error {
	*s = exactSum{}
	if !state.IsList() { // the sum of a group from before there were expansions
		return s.take(state, 1)
	}
	items := state.Expand().Tree.Items
	var head [4]int64
	for i := range min(len(items), len(head)) {
		n, ok := items[i].ToInt()
		if !ok {
			return fmt.Errorf("%s is no state of a sum", state.Short())
		}
		head[i] = n
	}
	if len(items) == 3 {
		s.addInt(head[2], 1)
		s.n = head[0]
		return nil
	}
	if len(items) < len(head) {
		return fmt.Errorf("%s is no state of a sum", state.Short())
	}
	s.n, s.floats, s.high, s.low = head[0], head[1], head[2], uint64(head[3])
	for _, item := range items[4:] {
		f, ok := item.ToFloat()
		if !ok {
			return fmt.Errorf("%s is no state of a sum", state.Short())
		}
		s.parts = append(s.parts, f)
	}
	return nil
}

// take adds sign * v, which is an int or a float.
func (s *exactSum) take(v value.Value, sign int64) error {
	switch v.Kind {
	case value.Int:
		s.addInt(v.AsInt(), sign)
	case value.Float:
		s.addFloat(v.AsFloat(), sign)
	default:
		return fmt.Errorf("%s is no number", v.Short())
	}
	return nil
}

func (s *exactSum) merge(later *exactSum) {
	var carry uint64
	s.low, carry = bits.Add64(s.low, later.low, 0)
	s.high += later.high + int64(carry)
	s.n, s.floats = s.n+later.n, s.floats+later.floats
	for _, p := range later.parts {
		s.parts = growExpansion(s.parts, p)
	}
}

// sumAccumulator is sum(x) of what may be floats, or may be taken back.
type sumAccumulator struct {
	exactSum
	undoable bool
}

func (s *sumAccumulator) room(args []value.Value) error {
	if s.undoable {
		return nil
	}
	if args[0].Kind == value.Float || s.floats > 0 {
		f, _ := args[0].ToFloat()
		_, err := value.Finite(s.float()+f, "sum")
		return err
	}
	next := s.exactSum
	next.addInt(args[0].AsInt(), 1)
	if _, ok := next.int(); !ok {
		return &value.ArithmeticError{Text: "sum: overflow of int"}
	}
	return nil
}

func (s *sumAccumulator) add(args []value.Value, _ int64) { _ = s.take(args[0], 1) }
func (s *sumAccumulator) undo(args []value.Value)         { _ = s.take(args[0], -1) }

func (s *sumAccumulator) result() value.Value {
	if s.n == 0 {
		return value.NullV()
	}
	if s.floats > 0 {
		return finiteOr(s.float(), "sum")
	}
	i, ok := s.int()
	if !ok {
		return value.OfInvalid("sum: overflow of int")
	}
	return value.OfInt(i)
}

// finiteOr is f, or an Invalid that says that what overflows.
func finiteOr(f float64, what string) value.Value {
	v, err := value.Finite(f, what)
	if err != nil {
		return value.OfInvalid(err.Error())
	}
	return v
}

func (s *sumAccumulator) merge(later accumulator) {
	s.exactSum.merge(&later.(*sumAccumulator).exactSum)
}
func (s *sumAccumulator) memory() int { return 80 + 8*cap(s.parts) }

// avgAccumulator is avg(x): the exact sum, divided by the count.
type avgAccumulator struct{ sumAccumulator }

func (a *avgAccumulator) room([]value.Value) error { return nil }

func (a *avgAccumulator) result() value.Value {
	if a.n == 0 {
		return value.NullV()
	}
	return finiteOr(a.float()/float64(a.n), "avg")
}

func (a *avgAccumulator) merge(later accumulator) {
	a.exactSum.merge(&later.(*avgAccumulator).exactSum)
}

// stddevAccumulator is stddev(x), of a sample: exact sums of the numbers and of
// their squares. The usual objection to these, that the difference of two large
// sums is all rounding, does not hold where nothing is rounded.
type stddevAccumulator struct {
	sum     exactSum
	squares []float64 // expansion
}

// maxSquared bounds the numbers of a stddev: their squares are finite doubles,
// also when there are many.
const maxSquared = 1e150

func (s *stddevAccumulator) room([]value.Value) error        { return nil }
func (s *stddevAccumulator) add(args []value.Value, _ int64) { s.take(args[0], 1) }
func (s *stddevAccumulator) undo(args []value.Value)         { s.take(args[0], -1) }

func (s *stddevAccumulator) take(v value.Value, sign int64) {
	f, _ := v.ToFloat()
	s.sum.addFloat(f, sign)
	square := float64(f * f) // rounded: nothing may be fused with it
	s.squares = growExpansion(s.squares, math.FMA(f, f, -square)*float64(sign))
	s.squares = growExpansion(s.squares, square*float64(sign))
}

// result is the root of (n Σx² - (Σx)²) / n (n-1).
func (s *stddevAccumulator) result() value.Value {
	if s.sum.n < 2 {
		return value.NullV()
	}
	n := float64(s.sum.n)
	var room [24]float64
	difference := room[:0]
	for _, q := range s.squares {
		difference = growProduct(difference, n, q)
	}
	for _, a := range s.sum.parts {
		for _, b := range s.sum.parts {
			difference = growProduct(difference, -a, b)
		}
	}
	variance := max(0, roundExpansion(difference)/n/(n-1))
	return finiteOr(math.Sqrt(variance), "stddev")
}

// growProduct adds a * b to an expansion.
func growProduct(parts []float64, a, b float64) []float64 {
	product := float64(a * b)
	return growExpansion(growExpansion(parts, math.FMA(a, b, -product)), product)
}

// appendState appends [sum, parts of the squares...].
func (s *stddevAccumulator) appendState(dst []byte) []byte {
	dst = s.sum.appendState(append(dst, '['))
	for _, p := range s.squares {
		dst = value.AppendJSON(append(dst, ','), value.OfFloat(p))
	}
	return append(dst, ']')
}

func (s *stddevAccumulator) decode(state value.Value) error {
	items := state.Expand()
	if !items.IsList() || len(items.Tree.Items) == 0 {
		return fmt.Errorf("%s is no state of a stddev", state.Short())
	}
	if err := s.sum.decode(items.Index(0)); err != nil {
		return err
	}
	s.squares = s.squares[:0]
	for _, item := range items.Tree.Items[1:] {
		f, ok := item.ToFloat()
		if !ok {
			return fmt.Errorf("%s is no state of a stddev", state.Short())
		}
		s.squares = append(s.squares, f)
	}
	return nil
}

func (s *stddevAccumulator) merge(later accumulator) {
	l := later.(*stddevAccumulator)
	s.sum.merge(&l.sum)
	for _, p := range l.squares {
		s.squares = growExpansion(s.squares, p)
	}
}

func (s *stddevAccumulator) memory() int { return 104 + 8*cap(s.sum.parts) + 8*cap(s.squares) }
