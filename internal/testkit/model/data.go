package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Values are plain Go data: nil, bool, int64, float64, string, []any, object.

type object = map[string]any

// decode reads JSON. An integer that fits is an int64, any other number a float64.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("read JSON: more than one value")
	}
	return numbers(v), nil
}

// numbers turns the numbers of a decoded value into int64 and float64.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case object:
		for name := range v {
			v[name] = numbers(v[name])
		}
	}
	return v
}

// Canonical writes a JSON text in the one form that all equal texts have; ""
// for what is no JSON.
func Canonical(text []byte) string {
	v, err := decode(text)
	if err != nil {
		return ""
	}
	return canon(v)
}

// canon writes a value so that equal values give equal texts: names sorted,
// numbers by their value.
func canon(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatInt(int64(v), 10)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		text, _ := json.Marshal(v)
		return string(text)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = canon(v[i])
		}
		return "[" + strings.Join(parts, ",") + "]"
	case object:
		var parts []string
		for name, member := range v {
			parts = append(parts, canon(name)+":"+canon(member))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ",") + "}"
	case binding:
		return canon(v.value)
	}
	panic(fmt.Sprintf("model: a %T is no value", v))
}

// keyText is a key as a record key of format string.
func keyText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return canon(v)
}

// equal compares two values that are not null.
func equal(a, b any) bool { return canon(a) == canon(b) }

// order compares two numbers or two strings; ok is false for anything else.
func order(a, b any) (sign int, ok bool) {
	if x, isText := a.(string); isText {
		y, isText := b.(string)
		return strings.Compare(x, y), isText
	}
	x, okX := a.(int64)
	y, okY := b.(int64)
	if okX && okY {
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	}
	f, okX := number(a)
	g, okY := number(b)
	switch {
	case !okX || !okY:
		return 0, false
	case f < g:
		return -1, true
	case f > g:
		return 1, true
	}
	return 0, true
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}
