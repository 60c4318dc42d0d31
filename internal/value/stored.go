package value

import (
	"encoding/base64"
	"strings"
)

// bytesTag begins the stored form of bytes: {"$bytes":"base64"}. An object of
// that one field and no other is read as bytes.
const bytesTag = `{"$bytes":`

// AppendStored writes v as the key of a row: as AppendKey does, except that
// bytes are marked. Their base64 text alone would be the same key as a string
// of these letters, and would come back as one.
func AppendStored(dst []byte, v Value) []byte {
	switch v.Kind {
	case Bytes:
		return append(appendBase64(append(dst, bytesTag...), v.Text), '}')
	case List:
		dst = append(dst, '[')
		for i, item := range v.Tree.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendStored(dst, item)
		}
		return append(dst, ']')
	}
	return AppendKey(dst, v)
}

// IsStored says of a key's JSON text that it is what AppendStored writes of the value
// it holds, so that it can be taken as it stands. It looks for what keys mostly are: an
// integer of at most 18 digits, and a string without escapes. Of anything else it says
// no, be it canonical or not, and of text that is no JSON.
func IsStored(key []byte) bool {
	if len(key) > 0 && key[0] == '"' {
		end, plain := LexString(key, 0)
		return plain && end == len(key)
	}
	_, end, ok := ReadInt(key, 0)
	return ok && end == len(key)
}

// ParseStored reads what AppendStored wrote.
func ParseStored[T text](key T) (Value, error) {
	v, err := ParseJSON(key)
	if err != nil || v.Kind != Raw || !strings.Contains(v.Text, bytesTag) {
		return v, err
	}
	return unmark(v), nil
}

// unmark turns marked bytes, alone or in a list, into Bytes.
func unmark(v Value) Value {
	if v.Kind != Raw {
		return v
	}
	if v.Text[0] == '[' {
		v = v.Expand()
		for i, item := range v.Tree.Items {
			v.Tree.Items[i] = unmark(item)
		}
		return v
	}
	text, ok := strings.CutPrefix(v.Text, bytesTag+`"`)
	if !ok || !strings.HasSuffix(text, `"}`) {
		return v
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, `"}`))
	if err != nil {
		return v
	}
	return OfBytes(data)
}
