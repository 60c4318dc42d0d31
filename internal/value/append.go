package value

import (
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendJSON writes v as JSON. Raw, Number and the text of a Float go out byte
// for byte; null, absent and invalid as null; Bytes as a base64 string; strings with only
// those characters escaped that must be. Bytes of a string that are not UTF-8 become U+FFFD.
func AppendJSON(dst []byte, v Value) []byte {
	switch v.Kind {
	case Bool:
		return strconv.AppendBool(dst, v.AsBool())
	case Int:
		return strconv.AppendInt(dst, v.AsInt(), 10)
	case Float:
		if v.Text == "" {
			return appendFloat(dst, v.AsFloat())
		}
		return append(dst, v.Text...)
	case Number, Raw:
		return append(dst, v.Text...)
	case String:
		return AppendQuoted(dst, v.Text)
	case Bytes:
		return appendBase64(dst, v.Text)
	case List:
		dst = append(dst, '[')
		for i, item := range v.Tree.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSON(dst, item)
		}
		return append(dst, ']')
	case Map:
		dst = append(dst, '{')
		for i, item := range v.Tree.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendQuoted(dst, v.Tree.Keys[i])
			dst = append(dst, ':')
			dst = AppendJSON(dst, item)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// AppendKey writes v as canonical JSON: equal values give equal bytes. Numbers
// go by value (1234.0 as 1234), strings as in AppendJSON, objects with their
// fields sorted bytewise and the last of equal names, no white space.
func AppendKey(dst []byte, v Value) []byte {
	switch v.Kind {
	case Int:
		return strconv.AppendInt(dst, v.AsInt(), 10)
	case Float, Number:
		return appendCanonicalNumber(dst, v)
	case Raw, List, Map:
		return appendKeyTree(dst, v.expandAll())
	}
	return AppendJSON(dst, v)
}

func appendKeyTree(dst []byte, v Value) []byte {
	if v.Kind == List {
		dst = append(dst, '[')
		for i, item := range v.Tree.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendKey(dst, item)
		}
		return append(dst, ']')
	}
	order := make([]int, len(v.Tree.Keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if v.Tree.Keys[a] < v.Tree.Keys[b] {
			return -1
		}
		return 1
	})
	dst = append(dst, '{')
	for n, i := range order {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = AppendQuoted(dst, v.Tree.Keys[i])
		dst = append(dst, ':')
		dst = AppendKey(dst, v.Tree.Items[i])
	}
	return append(dst, '}')
}

// AppendText writes v as the text of a record key of format string: strings
// and bytes as they are, everything else as AppendKey does.
func AppendText(dst []byte, v Value) []byte {
	switch v.Kind {
	case String, Bytes:
		return append(dst, v.Text...)
	}
	return AppendKey(dst, v)
}

// Short is v as JSON text for messages, cut after some 40 bytes.
func (v Value) Short() string {
	const most = 40
	text := v.Text
	if v.Kind != Raw && v.Kind != Number {
		if v.Kind == String && len(text) > 2*most {
			v.Text = text[:2*most] // enough to be cut below
		}
		text = string(AppendJSON(nil, v))
	}
	if len(text) <= most {
		return text
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

func appendBase64(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, bytesOf(s))
	return append(dst, '"')
}

// AppendQuoted writes s as a JSON string. Escaped are the quote, the backslash
// and the controls below 0x20, nothing else; invalid UTF-8 becomes U+FFFD.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	b := bytesOf(s)
	done := 0 // b[:done] is written
	for i := 0; i < len(b); {
		for i+8 <= len(b) {
			m := StringMarks(binary.LittleEndian.Uint64(b[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			break
		}
		c := b[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n <= 1 {
				dst = append(dst, b[done:i]...)
				dst = append(dst, "\uFFFD"...)
				done = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, b[done:i]...)
		dst = appendEscaped(dst, c)
		i++
		done = i
	}
	dst = append(dst, b[done:]...)
	return append(dst, '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
