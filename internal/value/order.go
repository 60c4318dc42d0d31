package value

import (
	"encoding/binary"
	"math"
	"strconv"
)

// Tags of AppendOrdered, in the order of the kinds. The end of a list is below all.
const (
	orderEnd    = 0x01
	orderNull   = 0x08
	orderBool   = 0x10
	orderNumber = 0x20
	orderString = 0x30
	orderBytes  = 0x38
	orderList   = 0x40
	orderObject = 0x50
)

// AppendOrdered writes v so that the order of the bytes is the order of the
// values: null, false, true, numbers by value, strings and bytes bytewise, lists
// by their elements, objects by their canonical text. Values that are equal as
// keys give equal bytes, and none is the beginning of another, so that several
// can stand one behind the other.
func AppendOrdered(dst []byte, v Value) []byte {
	switch v.Kind {
	case Bool:
		return append(dst, orderBool|byte(v.num))
	case Int, Float, Number:
		return appendOrderedNumber(append(dst, orderNumber), v)
	case String:
		return appendOrderedText(append(dst, orderString), v.Text)
	case Bytes:
		return appendOrderedText(append(dst, orderBytes), v.Text)
	case Raw, List, Map:
		if v = v.Expand(); v.Kind == Map {
			return appendOrderedText(append(dst, orderObject), string(AppendKey(nil, v)))
		}
		dst = append(dst, orderList)
		for _, item := range v.Tree.Items {
			dst = AppendOrdered(dst, item)
		}
		return append(dst, orderEnd)
	}
	return append(dst, orderNull)
}

// appendOrderedText writes text with its zeros escaped, and an end below all that
// can follow.
func appendOrderedText(dst []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if dst = append(dst, text[i]); text[i] == 0 {
			dst = append(dst, 0xff)
		}
	}
	return append(dst, 0, orderEnd)
}

// appendOrderedNumber writes the nearest float64 in the order of its bits; where
// that is not the number itself, on which side of it the number lies, and the
// exact decimal.
func appendOrderedNumber(dst []byte, v Value) []byte {
	f := nearestFloat(v)
	bits := math.Float64bits(f + 0) // -0 is 0
	if f < 0 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	dst = binary.BigEndian.AppendUint64(dst, bits)
	side := 0
	if v.Kind != Float {
		side, _ = compareNumbers(v, OfFloat(f))
		if math.IsInf(f, 0) { // beyond all floats, yet finite
			side = 1
			if f > 0 {
				side = -1
			}
		}
	}
	if dst = append(dst, byte(2+side)); side == 0 {
		return dst
	}
	d, _ := decimalOfValue(v)
	return d.appendOrdered(dst)
}

// nearestFloat is v rounded; beyond the greatest it is infinite.
func nearestFloat(v Value) float64 {
	if v.Kind == Number {
		f, _ := strconv.ParseFloat(v.Text, 64)
		if f == 0 {
			return 0
		}
		return f
	}
	f, _ := v.ToFloat()
	if f == 0 {
		return 0
	}
	return f
}

// appendOrdered writes a decimal that is not zero: its point, then its digits;
// of a negative one inverted.
func (a decimal) appendOrdered(dst []byte) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.point)^1<<63)
	dst = append(append(dst, a.digits...), 0)
	if a.negative {
		Invert(dst[start:])
	}
	return dst
}

// Invert turns the order of what AppendOrdered wrote around.
func Invert(ordered []byte) {
	for i := range ordered {
		ordered[i] = ^ordered[i]
	}
}
