package expr

import (
	"math"
	"strings"

	"streamctl/internal/value"
)

// call computes a function. Arguments lie on the Frame's stack, so that a call
// allocates nothing of its own.
func (l *lowerer) call(n *node) code {
	at, fn, impl := l.failure(n), n.fn, n.impl
	if c, ok := l.intCall(n); ok {
		return c
	}
	args := make([]func(f *Frame) (value.Value, error), len(n.kids))
	for i, kid := range n.kids {
		args[i] = l.lower(kid).val
	}
	return code{val: func(f *Frame) (value.Value, error) {
		base := len(f.args)
		for _, arg := range args {
			v, err := arg(f)
			if err != nil {
				f.args = f.args[:base]
				return v, err
			}
			f.args = append(f.args, v)
		}
		v, err := fn.invoke(impl, f, f.args[base:])
		f.args = f.args[:base]
		return v, at.wrap(err)
	}}
}

// intCall is a short cut for the conversions that run once per record: of keys
// and times. Whatever is not the usual case takes the usual way.
func (l *lowerer) intCall(n *node) (code, bool) {
	var quick func(v value.Value) (int64, bool)
	switch n.fn.name {
	case "int":
		quick = quickInt
	case "seconds":
		quick = quickSeconds
	default:
		return code{}, false
	}
	at, fn, impl := l.failure(n), n.fn, n.impl
	arg := l.lower(n.kids[0]).val
	return code{i64: func(f *Frame) (int64, bool, error) {
		v, err := arg(f)
		if err != nil {
			return 0, false, err
		}
		if i, ok := quick(v); ok {
			return i, true, nil
		}
		v, err = fn.invoke(impl, f, []value.Value{v})
		return v.AsInt(), v.Kind == value.Int, at.wrap(err)
	}}, true
}

// quickInt is int() of an int or a short string of digits.
func quickInt(v value.Value) (int64, bool) {
	switch v.Kind {
	case value.Int:
		return v.AsInt(), true
	case value.String:
		return shortInt(v.Text)
	}
	return 0, false
}

// quickSeconds is seconds() of an int.
func quickSeconds(v value.Value) (int64, bool) {
	const most = math.MaxInt64 / 1000
	if s := v.AsInt(); v.Kind == value.Int && s <= most && s >= -most {
		return s * 1000, true
	}
	return 0, false
}

// splitPart is split(text, "sep")[i] without the list: the usual way to take a
// URN apart.
func (l *lowerer) splitPart(n *node, i int64) (code, bool) {
	call := n.kids[0]
	if call.op != opCall || call.fn.name != "split" || len(call.kids) != 2 || i < 0 {
		return code{}, false
	}
	sep := call.kids[1]
	if !sep.constant() || sep.val.Kind != value.String || sep.val.Text == "" || !call.kids[0].typ.is(String) {
		return code{}, false
	}
	text, separator := l.splitText(call), sep.val.Text
	return code{str: func(f *Frame) (string, bool, error) {
		s, ok, err := text(f)
		if !ok {
			return "", false, err
		}
		for range i {
			at := strings.Index(s, separator)
			if at < 0 {
				return "", false, nil
			}
			s = s[at+len(separator):]
		}
		if at := strings.Index(s, separator); at >= 0 {
			s = s[:at]
		}
		return s, true, nil
	}}, true
}

// splitText is the first argument of split, with the error that split itself
// would give for another kind than a string.
func (l *lowerer) splitText(call *node) func(f *Frame) (string, bool, error) {
	at, text, fn := l.failure(call), l.lower(call.kids[0]), call.fn
	return func(f *Frame) (string, bool, error) {
		v, err := text.val(f)
		if err != nil {
			return "", false, err
		}
		if v.Kind == value.String {
			return v.Text, true, nil
		}
		_, err = fn.invoke(fn.call, f, []value.Value{v, value.OfString(":")})
		return "", false, at.wrap(err)
	}
}
