package value

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// OfJSONNumber returns the value of a JSON number's text, which LexNumber has
// accepted and found to be an integer or not. Integers that fit int64 are Int;
// decimals that float64 holds, rounded, are Float with their text; everything
// else (integers beyond int64, 1e400, 1e-400) is a Number. -0 is the Float.
func OfJSONNumber(text string, integer bool) Value {
	if integer {
		if i, ok := parseInt(text); ok {
			if i == 0 && text[0] == '-' {
				return OfFloatText(math.Copysign(0, -1), text)
			}
			return OfInt(i)
		}
		return OfNumber(text)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f == 0 && !isZero(text) {
		return OfNumber(text)
	}
	return OfFloatText(f, text)
}

// ReadInt reads the number at i if it is an integer of at most 18 digits, in one
// pass. ok is false for everything that needs a closer look: a fraction, an
// exponent, more digits, a zero (which may be -0 or 01), or no number at all.
func ReadInt(doc []byte, i int) (n int64, end int, ok bool) {
	negative := i < len(doc) && doc[i] == '-'
	if negative {
		i++
	}
	first := i
	for i < len(doc) && doc[i]-'0' < 10 {
		n = n*10 + int64(doc[i]-'0')
		i++
	}
	if uint(i-first-1) >= 18 || doc[first] == '0' || i < len(doc) && (doc[i] == '.' || doc[i]|0x20 == 'e') {
		return 0, 0, false
	}
	if negative {
		n = -n
	}
	return n, i, true
}

// parseInt reads the text of a JSON integer; false when it does not fit.
func parseInt(text string) (int64, bool) {
	digits := text
	if text[0] == '-' {
		digits = text[1:]
	}
	if len(digits) > 19 {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(digits); i++ {
		n = n*10 + uint64(digits[i]-'0')
	}
	if len(digits) == len(text) {
		return int64(n), n <= math.MaxInt64
	}
	return -int64(n), n <= -math.MinInt64
}

// isZero tells whether the JSON number text has no digit but 0 in its mantissa.
func isZero(text string) bool {
	for i := 0; i < len(text) && text[i]|0x20 != 'e'; i++ {
		if text[i] >= '1' && text[i] <= '9' {
			return false
		}
	}
	return true
}

// exactInt returns f as an int64 if it is exactly that.
func exactInt(f float64) (int64, bool) {
	// -2^63 and 2^63 are floats; everything integral from the first up to below the second fits.
	if f >= -1<<63 && f < 1<<63 && f == math.Trunc(f) {
		return int64(f), true
	}
	return 0, false
}

// ToInt returns the int64 that v equals: that of an Int, or of a Float without fraction.
func (v Value) ToInt() (int64, bool) {
	switch v.Kind {
	case Int:
		return v.AsInt(), true
	case Float:
		return exactInt(v.AsFloat())
	}
	return 0, false
}

// ToFloat returns v as a float64, rounded to the nearest if need be: that of a
// Float, an Int or a Number within float64's range.
func (v Value) ToFloat() (float64, bool) {
	switch v.Kind {
	case Float:
		return v.AsFloat(), true
	case Int:
		return float64(v.AsInt()), true
	case Number:
		f, err := strconv.ParseFloat(v.Text, 64)
		return f, err == nil && (f != 0 || isZero(v.Text))
	}
	return 0, false
}

// decimal is an exact decimal number: ±0.d1d2d3... * 10^point, digits without
// zeros at either end. Zero has no digits.
type decimal struct {
	negative bool
	digits   string
	point    int64
}

// maxExponentDigits bounds the exponents that decimals are computed with.
const maxExponentDigits = 15

// decimalOf reads JSON number text; false when its exponent is out of all bounds.
func decimalOf(text string) (d decimal, ok bool) {
	if text[0] == '-' {
		d.negative, text = true, text[1:]
	}
	mantissa := text
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		mantissa = text[:e]
		exponent := strings.TrimPrefix(text[e+1:], "+")
		sign := int64(1)
		if exponent[0] == '-' {
			sign, exponent = -1, exponent[1:]
		}
		exponent = strings.TrimLeft(exponent, "0")
		if len(exponent) > maxExponentDigits {
			return d, isZero(mantissa)
		}
		for i := 0; i < len(exponent); i++ {
			d.point = d.point*10 + int64(exponent[i]-'0')
		}
		d.point *= sign
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d.point += int64(len(whole))
	digits := whole + fraction
	short := strings.TrimLeft(digits, "0")
	d.point -= int64(len(digits) - len(short))
	if d.digits = strings.TrimRight(short, "0"); d.digits == "" {
		return decimal{}, true
	}
	return d, true
}

// decimalOfValue is the exact value of a numeric v.
func decimalOfValue(v Value) (decimal, bool) {
	switch v.Kind {
	case Int:
		return decimalOf(strconv.FormatInt(v.AsInt(), 10))
	case Float:
		f := v.AsFloat()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return decimal{}, false
		}
		// No float64 needs more than 767 digits.
		return decimalOf(strconv.FormatFloat(f, 'e', 766, 64))
	}
	return decimalOf(v.Text)
}

func (a decimal) compare(b decimal) int {
	sign := func(d decimal) int {
		switch {
		case d.digits == "":
			return 0
		case d.negative:
			return -1
		}
		return 1
	}
	if c := cmp.Compare(sign(a), sign(b)); c != 0 || a.digits == "" {
		return c
	}
	c := cmp.Compare(a.point, b.point)
	if c == 0 {
		c = strings.Compare(a.digits, b.digits)
	}
	return c * sign(a)
}

// maxPlainDigits is how long an integer may be that canonical text writes out;
// it exceeds the 309 digits of the greatest float64, so that a longer one is
// still read as a Number when it stands with an exponent.
const maxPlainDigits = 400

// appendCanonical writes d such that equal numbers give equal text and the text reads as an equal number.
func (a decimal) appendCanonical(dst []byte) []byte {
	if a.digits == "" {
		return append(dst, '0')
	}
	if a.negative {
		dst = append(dst, '-')
	}
	if a.point >= int64(len(a.digits)) && a.point <= maxPlainDigits {
		dst = append(dst, a.digits...)
		for i := int64(len(a.digits)); i < a.point; i++ {
			dst = append(dst, '0')
		}
		return dst
	}
	dst = append(dst, a.digits[0])
	if len(a.digits) > 1 {
		dst = append(dst, '.')
		dst = append(dst, a.digits[1:]...)
	}
	dst = append(dst, 'e')
	return strconv.AppendInt(dst, a.point-1, 10)
}

// appendFloat writes f as encoding/json does: the shortest decimal that reads
// as f, with an exponent below 1e-6 and from 1e21.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if n := len(dst); format == 'e' && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst = append(dst[:n-2], dst[n-1]) // e-07 as e-7
	}
	return dst
}

// appendCanonicalNumber writes a numeric v by value: 1234 and 1234.0 alike.
func appendCanonicalNumber(dst []byte, v Value) []byte {
	if i, ok := v.ToInt(); ok {
		return strconv.AppendInt(dst, i, 10)
	}
	if v.Kind == Float {
		if f := v.AsFloat(); math.Abs(f) < 1<<63 || math.IsNaN(f) || math.IsInf(f, 0) {
			return appendFloat(dst, f)
		}
	}
	d, ok := decimalOfValue(v)
	if !ok {
		return append(dst, v.Text...)
	}
	return d.appendCanonical(dst)
}
