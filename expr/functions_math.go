package expr

import (
	"fmt"
	"math"

	"streamctl/internal/value"
)

func mathFunctions() []function {
	x := param{name: "x", kinds: numberKind}
	integer, float := Type{Kind: Int}, Type{Kind: Float}
	return []function{
		{name: "abs", params: []param{x}, resultOf: sameAsFirst, gives: "number", call: absolute, doc: "Without the sign."},
		{name: "ceil", params: []param{x}, result: integer, call: rounded(math.Ceil), doc: "The next int that is not less."},
		{name: "floor", params: []param{x}, result: integer, call: rounded(math.Floor), doc: "The next int that is not greater."},
		{name: "round", params: []param{x, {name: "digits", kinds: intKind, optional: true}}, resultOf: roundType, gives: "number", call: round, doc: "The nearest int, halves away from zero; with `digits`, the nearest float with so many decimals."},
		{name: "sqrt", params: []param{x}, result: float, call: onFloat(math.Sqrt), doc: "The square root; of a negative number an error."},
		{name: "pow", params: []param{x, {name: "exponent", kinds: numberKind}}, result: float, call: power, doc: "`x ** exponent`."},
		{name: "exp", params: []param{x}, result: float, call: onFloat(math.Exp), doc: "e to the power of x."},
		{name: "log", params: []param{x, {name: "base", kinds: numberKind, optional: true}}, result: float, call: logarithm, doc: "The logarithm, to base e unless said otherwise; of what is not positive an error."},
		{name: "mod", params: []param{{name: "x", kinds: intKind}, {name: "by", kinds: intKind}}, result: integer, call: modulo, prepare: constantDivisor, doc: "The remainder that is never negative: `mod(-1, 7)` is 6, where `-1 % 7` is -1."},
		{name: "div", params: []param{{name: "x", kinds: intKind}, {name: "by", kinds: intKind}}, result: integer, call: divide, prepare: constantDivisor, doc: "The quotient without its fraction, where `/` of two ints is a float."},
		{name: "min", params: []param{{name: "values", kinds: anyKind, repeats: true}}, resultOf: extremeType, gives: "number|string", call: extreme(-1), doc: "The least of several numbers or strings, null when one is null; of one list, its least element, nulls left out."},
		{name: "max", params: []param{{name: "values", kinds: anyKind, repeats: true}}, resultOf: extremeType, gives: "number|string", call: extreme(1), doc: "The greatest of several numbers or strings, null when one is null; of one list, its greatest element, nulls left out."},
		{name: "sum", params: []param{{name: "list", kinds: listKind}}, resultOf: elementOfFirst, gives: "number", call: sumCall, doc: "The sum of the elements of a list, nulls left out; `sum(list, expression)` of an expression per element."},
		{name: "mean", params: []param{{name: "list", kinds: listKind}}, result: float, call: mean, doc: "The mean of the elements of a list, nulls left out; null when there are none."},
	}
}

// onFloat makes an implementation of a function of a float; a result that is
// no number is an error.
func onFloat(fn func(x float64) float64) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		x, _ := args[0].ToFloat()
		return finite(fn(x), args[0])
	}
}

// finite refuses what is not a number.
func finite(x float64, of value.Value) (value.Value, error) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return value.Value{}, fmt.Errorf("no result for %s", of.Short())
	}
	return value.OfFloat(x), nil
}

func absolute(_ *Frame, args []value.Value) (value.Value, error) {
	if args[0].Kind == value.Int {
		if args[0].AsInt() < 0 {
			return value.Neg(args[0])
		}
		return args[0], nil
	}
	return value.OfFloat(math.Abs(args[0].AsFloat())), nil
}

// rounded makes an int of a number.
func rounded(fn func(x float64) float64) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		if args[0].Kind == value.Int {
			return args[0], nil
		}
		i, ok := value.OfFloat(fn(args[0].AsFloat())).ToInt()
		if !ok {
			return value.Value{}, fmt.Errorf("%s is beyond the ints", args[0].Short())
		}
		return value.OfInt(i), nil
	}
}

func roundType(args []*node) Type {
	if len(args) > 1 {
		return Type{Kind: Float}
	}
	return Type{Kind: Int}
}

// maxDigits is where decimals of a float end.
const maxDigits = 15

func round(f *Frame, args []value.Value) (value.Value, error) {
	if len(args) == 1 {
		return rounded(math.Round)(f, args)
	}
	digits := args[1].AsInt()
	if digits < -maxDigits || digits > maxDigits {
		return value.Value{}, fmt.Errorf("digits must lie between -%d and %d, not %d", maxDigits, maxDigits, digits)
	}
	x, _ := args[0].ToFloat()
	scale := math.Pow(10, math.Abs(float64(digits)))
	if digits < 0 {
		return finite(math.Round(x/scale)*scale, args[0])
	}
	if scaled := x * scale; math.Abs(scaled) < 1<<53 {
		return value.OfFloat(math.Round(scaled) / scale), nil
	}
	return value.OfFloat(x), nil // it has no such decimals
}

func power(_ *Frame, args []value.Value) (value.Value, error) {
	return value.Pow(args[0], args[1])
}

func logarithm(_ *Frame, args []value.Value) (value.Value, error) {
	x, _ := args[0].ToFloat()
	if len(args) == 1 {
		return finite(math.Log(x), args[0])
	}
	switch base, _ := args[1].ToFloat(); base {
	case 2:
		return finite(math.Log2(x), args[0])
	case 10:
		return finite(math.Log10(x), args[0])
	default:
		return finite(math.Log(x)/math.Log(base), args[0])
	}
}

// zeroDivisor is the error of a division of ints by zero.
func zeroDivisor(by int64) error {
	if by == 0 {
		return fmt.Errorf("division by zero")
	}
	return nil
}

func modulo(_ *Frame, args []value.Value) (value.Value, error) {
	x, by := args[0].AsInt(), args[1].AsInt()
	if err := zeroDivisor(by); err != nil {
		return value.Value{}, err
	}
	r := x % by
	if r < 0 {
		if by > 0 {
			r += by
		} else {
			r -= by
		}
	}
	return value.OfInt(r), nil
}

// constantDivisor refuses the constant 0. Of two constants folding tells.
func constantDivisor(n *node) *argumentFault {
	if n.kids[0].constant() || !n.kids[1].isZero() {
		return nil
	}
	return &argumentFault{-1, codeAlwaysFail, "expression always fails: " + n.fn.name + ": division by zero"}
}

func divide(_ *Frame, args []value.Value) (value.Value, error) {
	x, by := args[0].AsInt(), args[1].AsInt()
	if err := zeroDivisor(by); err != nil {
		return value.Value{}, err
	}
	if x == math.MinInt64 && by == -1 {
		return value.Neg(args[0]) // its error says what overflows
	}
	return value.OfInt(x / by), nil
}

// extremeType is the common type of the arguments, or of the elements of the
// one list.
func extremeType(args []*node) Type {
	if len(args) == 1 && args[0].typ.Kind == List {
		return args[0].typ.elem()
	}
	t := Type{Kind: Null}
	for _, arg := range args {
		t = unify(t, arg.typ)
	}
	return t
}

// extreme finds the least (-1) or greatest (1) of the arguments.
func extreme(sign int) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		if len(args) == 1 && args[0].IsList() {
			args = args[0].Expand().Tree.Items
		}
		best := value.NullV()
		for _, x := range args {
			if x.IsNull() {
				continue
			}
			if !(numberKind | textKind).holds(x) {
				return value.Value{}, fmt.Errorf("want numbers or strings, got %s", describe(x))
			}
			if best.IsNull() {
				best = x
				continue
			}
			order, ok := value.Compare(x, best)
			if !ok {
				return value.Value{}, fmt.Errorf("cannot compare %s with %s", describe(x), describe(best))
			}
			if order*sign > 0 {
				best = x
			}
		}
		return best, nil
	}
}

func elementOfFirst(args []*node) Type { return args[0].typ.elem() }

func sumCall(_ *Frame, args []value.Value) (value.Value, error) {
	return sumOf(args[0].Expand().Tree.Items)
}

func mean(_ *Frame, args []value.Value) (value.Value, error) {
	items := args[0].Expand().Tree.Items
	sum, err := sumOf(items)
	if err != nil {
		return sum, err
	}
	count := int64(0)
	for _, item := range items {
		if !item.IsNull() {
			count++
		}
	}
	if count == 0 {
		return value.NullV(), nil
	}
	return value.Div(sum, value.OfInt(count))
}
