package value

import (
	"fmt"
	"math"
	"math/bits"
)

// ArithmeticError is an operation without a right result: overflow of int64 or
// float64, division by zero.
type ArithmeticError struct{ Text string }

func (e *ArithmeticError) Error() string { return e.Text }

// Finite returns f as a Float, or an error naming the operation what if f is
// infinite or not a number.
func Finite(f float64, what string) (Value, error) {
	if math.IsInf(f, 0) {
		return Value{}, &ArithmeticError{what + ": overflow of float"}
	}
	if f != f {
		return Value{}, &ArithmeticError{what + ": result is not a number"}
	}
	return OfFloat(f), nil
}

// Add returns a + b: of ints an Int, of other numbers a Float, of strings
// their concatenation, null if one of them is null, whatever the other. Overflow is an
// *ArithmeticError, any other kind a *TypeError; so with all operations below.
func Add(a, b Value) (Value, error) {
	if a.Kind == Int && b.Kind == Int {
		x, y := a.AsInt(), b.AsInt()
		sum := x + y
		if (x^sum)&(y^sum) < 0 {
			return overflow("+", a, b)
		}
		return OfInt(sum), nil
	}
	if a.Kind == String && b.Kind == String {
		return OfString(a.Text + b.Text), nil
	}
	x, y, done, err := floats("+", a, b)
	if done {
		return NullV(), err
	}
	return Finite(x+y, "+")
}

// Sub returns a - b.
func Sub(a, b Value) (Value, error) {
	if a.Kind == Int && b.Kind == Int {
		x, y := a.AsInt(), b.AsInt()
		difference := x - y
		if (x^y)&(x^difference) < 0 {
			return overflow("-", a, b)
		}
		return OfInt(difference), nil
	}
	x, y, done, err := floats("-", a, b)
	if done {
		return NullV(), err
	}
	return Finite(x-y, "-")
}

// Mul returns a * b.
func Mul(a, b Value) (Value, error) {
	if a.Kind == Int && b.Kind == Int {
		product, ok := mulInt(a.AsInt(), b.AsInt())
		if !ok {
			return overflow("*", a, b)
		}
		return OfInt(product), nil
	}
	x, y, done, err := floats("*", a, b)
	if done {
		return NullV(), err
	}
	return Finite(x*y, "*")
}

// mulInt multiplies the magnitudes in 128 bits.
func mulInt(x, y int64) (int64, bool) {
	high, low := bits.Mul64(magnitude(x), magnitude(y))
	negative := (x < 0) != (y < 0)
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	if high != 0 || low > limit {
		return 0, false
	}
	if negative {
		return -int64(low), true
	}
	return int64(low), true
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

// Div returns a / b as a Float, also for ints. Division by zero is an error.
func Div(a, b Value) (Value, error) {
	x, y, done, err := floats("/", a, b)
	if done {
		return NullV(), err
	}
	if y == 0 {
		return Value{}, &ArithmeticError{"/: division by zero"}
	}
	return Finite(x/y, "/")
}

// Mod returns the remainder of a / b, which must be ints, with the sign of a.
func Mod(a, b Value) (Value, error) {
	if a.Kind == Int && b.Kind == Int {
		if b.AsInt() == 0 {
			return Value{}, &ArithmeticError{"%: division by zero"}
		}
		return OfInt(a.AsInt() % b.AsInt()), nil
	}
	if a.IsNull() || b.IsNull() {
		_, _, _, err := floats("%", a, b)
		return NullV(), err
	}
	return Value{}, &TypeError{fmt.Sprintf("%%: want two ints, got %s and %s", a.TypeName(), b.TypeName())}
}

// Pow returns a to the power of b as a Float, also for ints.
func Pow(a, b Value) (Value, error) {
	x, y, done, err := floats("**", a, b)
	if done {
		return NullV(), err
	}
	if x == 0 && y < 0 {
		return Value{}, &ArithmeticError{"**: division by zero"}
	}
	return Finite(math.Pow(x, y), "**")
}

// Neg returns -a.
func Neg(a Value) (Value, error) {
	switch {
	case a.Kind == Int:
		if a.AsInt() == math.MinInt64 {
			return Value{}, &ArithmeticError{fmt.Sprintf("-(%d): overflow of int", a.AsInt())}
		}
		return OfInt(-a.AsInt()), nil
	case a.Kind == Float:
		return OfFloat(-a.AsFloat()), nil
	case a.IsNull():
		return NullV(), a.Err()
	}
	return Value{}, operandError("-", a)
}

func overflow(op string, a, b Value) (Value, error) {
	return Value{}, &ArithmeticError{fmt.Sprintf("%d %s %d: overflow of int", a.AsInt(), op, b.AsInt())}
}

// floats prepares a and b for a float operation. done is true when there is
// nothing to compute: one is null, or err says what is wrong.
func floats(op string, a, b Value) (x, y float64, done bool, err error) {
	for _, v := range [2]Value{a, b} {
		if v.Kind == Invalid {
			return 0, 0, true, v.Err()
		}
	}
	if a.IsNull() || b.IsNull() {
		return 0, 0, true, nil
	}
	for _, v := range [2]Value{a, b} {
		if v.Kind != Int && v.Kind != Float {
			return 0, 0, true, operandError(op, v)
		}
	}
	x, _ = a.ToFloat()
	y, _ = b.ToFloat()
	return x, y, false, nil
}

func operandError(op string, v Value) error {
	if v.Kind == Number {
		return &TypeError{fmt.Sprintf("%s: number %s does not fit 64 bits", op, v.Short())}
	}
	return &TypeError{fmt.Sprintf("%s: not defined for %s", op, v.TypeName())}
}
