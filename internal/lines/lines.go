// Package lines is the text form of records: one JSON object per line, as
// `produce` takes it and `consume` prints it. It owns that form alone; it
// knows nothing of brokers and pipelines.
//
//	{"key":"1234","value":{"viewerId":1234},"timestamp":1413215518000,"headers":{"trace":"a1"}}
//
// A key written as a JSON string is its text; any other JSON is a key of its
// compact text. A value is the compact text of whatever JSON stands there, a
// string included its quotes; value_text is a value of that plain text. What
// is neither JSON nor text is base64 in key_base64 and value_base64. null, and
// a member left out, are Kafka's null. The timestamp is milliseconds since the
// epoch or RFC 3339. Headers are an object, or, where a name repeats or a value
// is not text, a list of {"key":…,"value":…} with value_base64 as above.
package lines

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"streamctl/internal/record"
)

// line is what one line may hold. Pointers and raw messages tell "left out".
type line struct {
	Key         json.RawMessage `json:"key"`
	KeyBase64   *[]byte         `json:"key_base64"`
	Value       json.RawMessage `json:"value"`
	ValueText   *string         `json:"value_text"`
	ValueBase64 *[]byte         `json:"value_base64"`
	Timestamp   json.RawMessage `json:"timestamp"`
	Headers     json.RawMessage `json:"headers"`
	Partition   *int32          `json:"partition"`
	Offset      *int64          `json:"offset"` // what consume says; produce does not choose it
	Topic       *string         `json:"topic"`  // likewise
}

type header struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 *[]byte `json:"value_base64"`
}

// Parsed is a record and where its line wants it.
type Parsed struct {
	Record    record.Record // Time is -1 when the line has none
	Partition int32         // -1: the partitioner decides
}

// Parse reads one line.
func Parse(text []byte) (Parsed, error) {
	none := Parsed{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var l line
	if err := dec.Decode(&l); err != nil {
		return none, plainError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return none, errors.New("more than one JSON value")
	}
	p := Parsed{Partition: -1}
	var err error
	if p.Record.Key, err = keyBytes(l); err != nil {
		return none, err
	}
	if p.Record.Value, err = valueBytes(l); err != nil {
		return none, err
	}
	if p.Record.Time, err = timestamp(l.Timestamp); err != nil {
		return none, err
	}
	if p.Record.Headers, err = headers(l.Headers); err != nil {
		return none, err
	}
	if l.Partition != nil {
		if *l.Partition < 0 {
			return none, fmt.Errorf("partition %d is negative", *l.Partition)
		}
		p.Partition = *l.Partition
	}
	return p, nil
}

// plainError says what encoding/json found in words for people who write lines.
func plainError(err error) error {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		if wrongType.Field == "" {
			return fmt.Errorf("want a JSON object, got %s", wrongType.Value)
		}
		return fmt.Errorf("member %q: want %s, got %s", wrongType.Field, wrongType.Type, wrongType.Value)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON object is not closed")
	}
	if text, ok := bytes.CutPrefix([]byte(err.Error()), []byte("json: ")); ok {
		return errors.New(string(text))
	}
	return err
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func keyBytes(l line) ([]byte, error) {
	if l.KeyBase64 != nil {
		if !isNull(l.Key) {
			return nil, errors.New("both key and key_base64")
		}
		return *l.KeyBase64, nil
	}
	if isNull(l.Key) {
		return nil, nil
	}
	if l.Key[0] == '"' {
		var text string
		if err := json.Unmarshal(l.Key, &text); err != nil {
			return nil, err
		}
		return []byte(text), nil
	}
	return compact(l.Key)
}

func valueBytes(l line) ([]byte, error) {
	given := 0
	for _, there := range []bool{!isNull(l.Value), l.ValueText != nil, l.ValueBase64 != nil} {
		if there {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, errors.New("more than one of value, value_text and value_base64")
	case l.ValueText != nil:
		return []byte(*l.ValueText), nil
	case l.ValueBase64 != nil:
		return *l.ValueBase64, nil
	case isNull(l.Value):
		return nil, nil
	}
	return compact(l.Value)
}

func compact(raw json.RawMessage) ([]byte, error) {
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func timestamp(raw json.RawMessage) (int64, error) {
	if isNull(raw) {
		return -1, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return 0, fmt.Errorf("timestamp %q is not RFC 3339", text)
		}
		return t.UnixMilli(), nil
	}
	ms, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || ms < 0 {
		return 0, fmt.Errorf("timestamp %s is neither milliseconds since 1970 nor RFC 3339", raw)
	}
	return ms, nil
}

func headers(raw json.RawMessage) ([]record.Header, error) {
	if isNull(raw) {
		return nil, nil
	}
	if raw[0] == '[' {
		return headerList(raw)
	}
	// An object is read token by token: a map would lose the order.
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("headers are neither an object nor a list")
	}
	var out []record.Header
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var v *string
		if err := dec.Decode(&v); err != nil {
			return nil, fmt.Errorf("header %q: want a string", name)
		}
		h := record.Header{Key: name.(string)}
		if v != nil {
			h.Value = []byte(*v)
		}
		out = append(out, h)
	}
	return out, nil
}

func headerList(raw json.RawMessage) ([]record.Header, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var list []header
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("headers: %w", plainError(err))
	}
	out := make([]record.Header, len(list))
	for i, h := range list {
		out[i].Key = h.Key
		switch {
		case h.Value != nil && h.ValueBase64 != nil:
			return nil, fmt.Errorf("header %q: both value and value_base64", h.Key)
		case h.Value != nil:
			out[i].Value = []byte(*h.Value)
		case h.ValueBase64 != nil:
			out[i].Value = *h.ValueBase64
		}
	}
	return out, nil
}

// Append writes rec as one line, without the newline, so that Parse of it
// gives the record back. Only white space between the tokens of a JSON value is lost.
func Append(dst []byte, tp record.TopicPartition, rec *record.Record) []byte {
	dst = append(dst, `{"partition":`...)
	dst = strconv.AppendInt(dst, int64(tp.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, rec.Offset, 10)
	return appendMembers(append(dst, ','), rec)
}

// AppendPlain is Append without partition and offset, for a record that lies nowhere yet.
func AppendPlain(dst []byte, rec *record.Record) []byte {
	return appendMembers(append(dst, '{'), rec)
}

func appendMembers(dst []byte, rec *record.Record) []byte {
	if rec.Time >= 0 {
		dst = append(dst, `"timestamp":`...)
		dst = strconv.AppendInt(dst, rec.Time, 10)
		dst = append(dst, ',')
	}
	if len(rec.Headers) > 0 {
		dst = append(dst, `"headers":`...)
		dst = appendHeaders(dst, rec.Headers)
		dst = append(dst, ',')
	}
	switch {
	case rec.Key == nil:
		dst = append(dst, `"key":null`...)
	case utf8.Valid(rec.Key):
		dst = append(dst, `"key":`...)
		dst = appendString(dst, rec.Key)
	default:
		dst = append(dst, `"key_base64":`...)
		dst = appendBase64(dst, rec.Key)
	}
	return append(appendValue(dst, rec.Value), '}')
}

func appendValue(dst, v []byte) []byte {
	if v == nil {
		return append(dst, `,"value":null`...)
	}
	// The JSON text null is a value of four bytes and must not come back as Kafka's null.
	if string(bytes.TrimSpace(v)) != "null" {
		out := bytes.NewBuffer(append(dst, `,"value":`...))
		if err := json.Compact(out, v); err == nil {
			return out.Bytes()
		} // else it is not JSON; Compact has left dst as it was
	}
	if utf8.Valid(v) {
		return appendString(append(dst, `,"value_text":`...), v)
	}
	return appendBase64(append(dst, `,"value_base64":`...), v)
}

func appendHeaders(dst []byte, hs []record.Header) []byte {
	seen := make(map[string]bool, len(hs))
	plain := true
	for _, h := range hs {
		plain = plain && !seen[h.Key] && utf8.Valid(h.Value)
		seen[h.Key] = true
	}
	for i, h := range hs {
		open := ","
		if i == 0 && plain {
			open = "{"
		} else if i == 0 {
			open = "["
		}
		dst = append(dst, open...)
		if plain {
			dst = append(appendString(dst, []byte(h.Key)), ':')
		} else {
			dst = append(dst, `{"key":`...)
			dst = append(appendString(dst, []byte(h.Key)), `,"value`...)
			if h.Value != nil && !utf8.Valid(h.Value) {
				dst = append(dst, `_base64`...)
			}
			dst = append(dst, `":`...)
		}
		switch {
		case h.Value == nil:
			dst = append(dst, "null"...)
		case utf8.Valid(h.Value):
			dst = appendString(dst, h.Value)
		default:
			dst = appendBase64(dst, h.Value)
		}
		if !plain {
			dst = append(dst, '}')
		}
	}
	if plain {
		return append(dst, '}')
	}
	return append(dst, ']')
}

func appendBase64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// appendString writes valid UTF-8 as a JSON string.
func appendString(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c < 0x20:
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
