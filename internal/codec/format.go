package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
	"unsafe"

	"streamctl/internal/value"
)

// Format is how the key or the value of a record is written.
type Format uint8

const (
	FormatJSON   Format = iota // UTF-8 JSON text
	FormatString               // UTF-8 text
	FormatBytes                // bytes as they are
	FormatInt                  // 4 bytes, big endian, two's complement
	FormatLong                 // 8 bytes, big endian, two's complement
	FormatDouble               // 8 bytes, big endian, IEEE 754
)

// FormatNames lists the names of all formats, by Format.
func FormatNames() []string {
	return []string{"json", "string", "bytes", "int", "long", "double"}
}

// String is the name of the format as pipelines write it.
func (f Format) String() string {
	if names := FormatNames(); int(f) < len(names) {
		return names[f]
	}
	return "unknown format"
}

// ParseFormat is the way back from the name.
func ParseFormat(name string) (Format, error) {
	for i, n := range FormatNames() {
		if n == name {
			return Format(i), nil
		}
	}
	return 0, fmt.Errorf("parse format %q: it is none of json, string, bytes, int, long, double", name)
}

// HoldsKeysOf says whether f can write every key that can be written in other.
func (f Format) HoldsKeysOf(other Format) bool {
	switch f {
	case other, FormatJSON, FormatString:
		return true
	case FormatLong, FormatDouble:
		return other == FormatInt
	}
	return false
}

// Decode reads the value of a record; nil is null. The result shares data,
// which must not be written afterwards. JSON is checked as in value.ParseJSON, strings must be valid
// UTF-8, numbers must have exactly their size; a double that is infinite or no number is an error.
func Decode(f Format, data []byte) (value.Value, error) {
	v, err := decode(f, data)
	if err != nil {
		return value.Value{}, fmt.Errorf("decode %s: %w", f, err)
	}
	return v, nil
}

// DecodeKey is Decode for the key of a record; its errors say so.
func DecodeKey(f Format, key []byte) (value.Value, error) {
	v, err := decode(f, key)
	if err != nil {
		return value.Value{}, fmt.Errorf("decode key as %s: %w", f, err)
	}
	return v, nil
}

func decode(f Format, data []byte) (value.Value, error) {
	if data == nil {
		return value.NullV(), nil
	}
	switch f {
	case FormatJSON:
		return value.ParseJSON(data)
	case FormatString:
		if !utf8.Valid(data) {
			return value.Value{}, errors.New("not valid UTF-8 (format bytes takes anything)")
		}
		return value.OfString(unsafe.String(unsafe.SliceData(data), len(data))), nil
	case FormatBytes:
		return value.OfBytes(data), nil
	case FormatInt:
		if len(data) != 4 {
			return value.Value{}, sizeError(4, data)
		}
		return value.OfInt(int64(int32(binary.BigEndian.Uint32(data)))), nil
	case FormatLong:
		if len(data) != 8 {
			return value.Value{}, sizeError(8, data)
		}
		return value.OfInt(int64(binary.BigEndian.Uint64(data))), nil
	case FormatDouble:
		if len(data) != 8 {
			return value.Value{}, sizeError(8, data)
		}
		return value.Finite(math.Float64frombits(binary.BigEndian.Uint64(data)), "read double")
	}
	return value.Value{}, errors.New("no such format")
}

func sizeError(want int, data []byte) error {
	return fmt.Errorf("want %d bytes, got %d", want, len(data))
}

// Encode appends v as the value of a record. Null gives nil: Kafka's null;
// anything else a slice that is not nil, even if it is empty.
// JSON and string write what was read byte for byte (value.AppendJSON; strings
// and bytes bare as string). The numeric formats take ints and floats that
// they hold exactly, bytes takes bytes and strings; all else is an error.
func Encode(dst []byte, f Format, v value.Value) ([]byte, error) {
	return encode(dst, f, v, "encode")
}

// EncodeKey appends v as the key of a record. It differs from Encode where
// equal values must give equal bytes, so that they meet in one partition: JSON is
// value.AppendKey, string is value.AppendText.
func EncodeKey(dst []byte, f Format, v value.Value) ([]byte, error) {
	if !v.IsNull() {
		switch f {
		case FormatJSON:
			return value.AppendKey(dst, v), nil
		case FormatString:
			return value.AppendText(notNil(dst), v), nil
		}
	}
	return encode(dst, f, v, "encode key")
}

func encode(dst []byte, f Format, v value.Value, what string) ([]byte, error) {
	if v.IsNull() {
		return nil, v.Err()
	}
	dst = notNil(dst)
	switch f {
	case FormatJSON:
		return value.AppendJSON(dst, v), nil
	case FormatString:
		if v.Kind == value.String || v.Kind == value.Bytes {
			return append(dst, v.Text...), nil
		}
		return value.AppendJSON(dst, v), nil
	case FormatBytes:
		if v.Kind == value.String || v.Kind == value.Bytes {
			return append(dst, v.Text...), nil
		}
	case FormatInt:
		if i, ok := v.ToInt(); ok && i == int64(int32(i)) {
			return binary.BigEndian.AppendUint32(dst, uint32(i)), nil
		}
	case FormatLong:
		if i, ok := v.ToInt(); ok {
			return binary.BigEndian.AppendUint64(dst, uint64(i)), nil
		}
	case FormatDouble:
		if f, ok := v.ToFloat(); ok && value.Equal(value.OfFloat(f), v) {
			return binary.BigEndian.AppendUint64(dst, math.Float64bits(f)), nil
		}
	}
	return nil, fmt.Errorf("%s as %s: cannot hold %s %s", what, f, v.TypeName(), v.Short())
}

// notNil keeps an empty text apart from null: nothing appended to nil is nil.
func notNil(dst []byte) []byte {
	if dst == nil {
		return []byte{}
	}
	return dst
}
