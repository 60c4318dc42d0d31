package value

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
)

// NumberText is a Number as Any gives it: JSON number text that no Go number holds.
type NumberText string

// Any returns v as plain Go data, for expressions that run on expr's machine:
// nil, bool, int, float64, NumberText, string, []byte, []any, map[string]any.
func (v Value) Any() any {
	switch v.Kind {
	case Bool:
		return v.AsBool()
	case Int:
		return int(v.AsInt())
	case Float:
		return v.AsFloat()
	case Number:
		return NumberText(v.Text)
	case String:
		return v.Text
	case Bytes:
		return []byte(v.Text)
	case Raw:
		return v.expandAll().Any()
	case List:
		list := make([]any, len(v.Tree.Items))
		for i, item := range v.Tree.Items {
			list[i] = item.Any()
		}
		return list
	case Map:
		m := make(map[string]any, len(v.Tree.Items))
		for i, item := range v.Tree.Items {
			m[v.Tree.Keys[i]] = item.Any()
		}
		return m
	}
	return nil
}

// FromAny is the way back. Keys of maps come out sorted. An error is a
// *TypeError: Go data of a type that has no place here, or a map whose keys are not strings.
func FromAny(x any) (Value, error) {
	switch x := x.(type) {
	case nil:
		return NullV(), nil
	case Value:
		return x, nil
	case bool:
		return OfBool(x), nil
	case int:
		return OfInt(int64(x)), nil
	case int64:
		return OfInt(x), nil
	case float64:
		return OfFloat(x), nil
	case string:
		return OfString(x), nil
	case NumberText:
		return OfNumber(string(x)), nil
	case []byte:
		return OfBytes(slices.Clone(x)), nil
	case []any:
		items := make([]Value, len(x))
		for i := range x {
			item, err := FromAny(x[i])
			if err != nil {
				return Value{}, err
			}
			items[i] = item
		}
		return OfList(items), nil
	case map[string]any:
		keys := slices.Sorted(maps.Keys(x))
		items := make([]Value, len(keys))
		for i, key := range keys {
			item, err := FromAny(x[key])
			if err != nil {
				return Value{}, err
			}
			items[i] = item
		}
		return OfMap(keys, items), nil
	}
	return fromReflect(reflect.ValueOf(x))
}

// fromReflect takes the other sizes of numbers, and lists and maps of them.
func fromReflect(r reflect.Value) (Value, error) {
	switch r.Kind() {
	case reflect.Bool:
		return OfBool(r.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return OfInt(r.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if u := r.Uint(); u > math.MaxInt64 {
			return OfNumber(strconv.FormatUint(u, 10)), nil
		}
		return OfInt(int64(r.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return OfFloat(r.Float()), nil
	case reflect.String:
		return OfString(r.String()), nil
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = r.Index(i).Interface()
		}
		return FromAny(list)
	case reflect.Map:
		if r.Type().Key().Kind() != reflect.String {
			return Value{}, &TypeError{fmt.Sprintf("keys of a map must be strings, got %s", r.Type().Key())}
		}
		m := make(map[string]any, r.Len())
		for entries := r.MapRange(); entries.Next(); {
			m[entries.Key().String()] = entries.Value().Interface()
		}
		return FromAny(m)
	case reflect.Pointer, reflect.Interface:
		if r.IsNil() {
			return NullV(), nil
		}
		return FromAny(r.Elem().Interface())
	}
	return Value{}, &TypeError{fmt.Sprintf("cannot use a Go %s as a value", r.Type())}
}
