package operators

import (
	"streamctl/expr"
	"streamctl/internal/value"
)

// evalKey computes a key of one or more components; null says that one of them
// is null, which makes the whole key null.
func evalKey(components []*expr.Program, f *expr.Frame) (v value.Value, null bool, err error) {
	if len(components) == 1 {
		v, err = components[0].Eval(f)
		return v, v.IsNull(), err
	}
	items := make([]value.Value, len(components))
	for i, p := range components {
		if items[i], err = p.Eval(f); err != nil {
			return v, false, err
		}
		null = null || items[i].IsNull()
	}
	return value.OfList(items), null, nil
}

// appendKey appends the canonical JSON of a key to dst: what state and the
// keys of internal topics use. It does not allocate.
func appendKey(dst []byte, components []*expr.Program, f *expr.Frame) (out []byte, null bool, err error) {
	if len(components) == 1 {
		v, err := components[0].Eval(f)
		if err != nil || v.IsNull() {
			return dst, true, err
		}
		return value.AppendStored(dst, v), false, nil
	}
	start := len(dst)
	for i, p := range components {
		v, err := p.Eval(f)
		if err != nil || v.IsNull() {
			return dst[:start], true, err
		}
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		dst = value.AppendStored(append(dst, sep), v)
	}
	return append(dst, ']'), false, nil
}
