package model

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
)

var errOverflow = errors.New("overflow")

func arithmetic(op string, a, b any) (any, error) {
	if x, ok := a.(string); ok && op == "+" {
		if y, ok := b.(string); ok {
			return x + y, nil
		}
	}
	x, okX := a.(int64)
	y, okY := b.(int64)
	if okX && okY && op != "/" && op != "**" {
		return integers(op, x, y)
	}
	f, okX := number(a)
	g, okY := number(b)
	if !okX || !okY {
		return nil, fmt.Errorf("%s is not defined for %s and %s", op, canon(a), canon(b))
	}
	var out float64
	switch op {
	case "+":
		out = f + g
	case "-":
		out = f - g
	case "*":
		out = f * g
	case "/":
		if g == 0 {
			return nil, errors.New("division by zero")
		}
		out = f / g
	case "**":
		out = math.Pow(f, g)
	default:
		return nil, fmt.Errorf("%s is not defined for floats", op)
	}
	if math.IsInf(out, 0) || math.IsNaN(out) {
		return nil, errOverflow
	}
	return out, nil
}

func integers(op string, x, y int64) (any, error) {
	switch op {
	case "+":
		if sum := x + y; (sum > x) == (y > 0) {
			return sum, nil
		}
	case "-":
		if d := x - y; (d < x) == (y > 0) {
			return d, nil
		}
	case "*":
		high, low := bits.Mul64(uint64(max(x, -x)), uint64(max(y, -y)))
		if high == 0 && low <= math.MaxInt64 {
			return x * y, nil
		}
	case "%":
		if y == 0 {
			return nil, errors.New("division by zero")
		}
		return x % y, nil
	default:
		return nil, fmt.Errorf("the model does not know %s", op)
	}
	return nil, errOverflow
}

// call is a function or an aggregate.
func (s *scope) call(name string, nodes []ast.Node) (any, error) {
	if s.aggregate != nil && isAggregate(name) && (len(nodes) < 2 || !isFunction(name)) {
		return s.aggregate(name, nodes)
	}
	args := make([]any, len(nodes))
	for i, n := range nodes {
		v, err := s.plain(n)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	switch name {
	case "coalesce":
		for _, a := range args {
			if a != nil {
				return a, nil
			}
		}
		return nil, nil
	case "is_null":
		return args[0] == nil, nil
	}
	for _, a := range args {
		if a == nil {
			return nil, nil
		}
	}
	return function(name, args)
}

// function is one that gives null for null.
func function(name string, args []any) (any, error) {
	text, isText := args[0].(string)
	switch {
	case name == "upper" && isText:
		return strings.ToUpper(text), nil
	case name == "lower" && isText:
		return strings.ToLower(text), nil
	case name == "len" && isText:
		return int64(len([]rune(text))), nil
	case name == "split" && isText && len(args) == 2:
		var parts []any
		for _, part := range strings.Split(text, args[1].(string)) {
			parts = append(parts, part)
		}
		return parts, nil
	case name == "string":
		return keyText(args[0]), nil
	case name == "int" && isText:
		i, err := strconv.ParseInt(text, 10, 64)
		return i, err
	case name == "int":
		return args[0], nil
	case name == "abs" || name == "max" || name == "min":
		return extreme(name, args)
	case name == "len":
		if list, ok := args[0].([]any); ok {
			return int64(len(list)), nil
		}
	}
	return nil, fmt.Errorf("the model does not know %s(%s)", name, canon(args))
}

func extreme(name string, args []any) (any, error) {
	if name == "abs" {
		if sign, ok := order(args[0], int64(0)); !ok || sign >= 0 {
			return args[0], nil
		}
		return arithmetic("-", int64(0), args[0])
	}
	best := args[0]
	for _, a := range args[1:] {
		sign, ok := order(a, best)
		if !ok {
			return nil, fmt.Errorf("cannot compare %s with %s", canon(a), canon(best))
		}
		if sign > 0 == (name == "max") && sign != 0 {
			best = a
		}
	}
	return best, nil
}
