package expr

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net/url"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/value"
)

func encodingFunctions() []function {
	text := param{name: "text", kinds: stringKind}
	data := param{name: "data", kinds: textKind}
	str := Type{Kind: String}
	return []function{
		{name: "parse_json", params: []param{text}, call: parseJSON, doc: "The value that JSON text writes; text that is not JSON is an error of the record."},
		{name: "try_parse_json", params: []param{text}, call: try(parseJSON, stringKind), doc: "Like `parse_json`, but null where it fails."},
		{name: "to_json", params: []param{{name: "x", kinds: anyKind}}, result: str, call: toJSON, doc: "x as JSON text."},
		{name: "base64_encode", params: []param{data}, result: str, call: base64Encode, doc: "The bytes, or the string's UTF-8, in standard base64 with padding."},
		{name: "base64_decode", params: []param{text}, result: Type{Kind: Bytes}, call: base64Decode, doc: "The bytes that standard or URL-safe base64 stands for, with or without padding; `string(...)` makes text of them."},
		{name: "hex_encode", params: []param{data}, result: str, call: hexEncode, doc: "The bytes, or the string's UTF-8, in hexadecimal, lower case."},
		{name: "hex_decode", params: []param{text}, result: Type{Kind: Bytes}, call: hexDecode, doc: "The bytes that hexadecimal digits stand for."},
	}
}

func parseJSON(_ *Frame, args []value.Value) (value.Value, error) {
	return value.ParseJSON(args[0].Text)
}

func toJSON(_ *Frame, args []value.Value) (value.Value, error) {
	return value.OfString(string(value.AppendJSON(nil, args[0]))), nil
}

func base64Encode(_ *Frame, args []value.Value) (value.Value, error) {
	return value.OfString(base64.StdEncoding.EncodeToString([]byte(args[0].Text))), nil
}

func base64Decode(_ *Frame, args []value.Value) (value.Value, error) {
	text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(args[0].Text, "="))
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return value.Value{}, fmt.Errorf("%s is not base64", args[0].Short())
	}
	return value.OfBytes(b), nil
}

func hexEncode(_ *Frame, args []value.Value) (value.Value, error) {
	return value.OfString(hex.EncodeToString([]byte(args[0].Text))), nil
}

func hexDecode(_ *Frame, args []value.Value) (value.Value, error) {
	b, err := hex.DecodeString(args[0].Text)
	if err != nil {
		return value.Value{}, fmt.Errorf("%s is not hexadecimal", args[0].Short())
	}
	return value.OfBytes(b), nil
}

func urlFunctions() []function {
	address := param{name: "url", kinds: stringKind}
	text := param{name: "text", kinds: stringKind}
	str := Type{Kind: String}
	return []function{
		{name: "url_scheme", params: []param{address}, result: str, call: ofURL(func(u *url.URL) string { return u.Scheme }), doc: "The scheme, `https`; null when there is none. What is not a URL is an error of the record, here and below."},
		{name: "url_host", params: []param{address}, result: str, call: ofURL(func(u *url.URL) string { return strings.ToLower(u.Hostname()) }), doc: "The host without port, in lower case; null when there is none."},
		{name: "url_port", params: []param{address}, result: str, call: ofURL(func(u *url.URL) string { return u.Port() }), doc: "The port as text; null when the URL names none."},
		{name: "url_path", params: []param{address}, result: str, call: ofURL(func(u *url.URL) string { return u.Path }), doc: "The path, decoded; null when it is empty."},
		{name: "url_query", params: []param{address}, result: str, call: ofURL(func(u *url.URL) string { return u.RawQuery }), doc: "What follows the question mark, as it is; null when it is empty."},
		{name: "url_param", params: []param{address, {name: "name", kinds: stringKind}}, result: str, call: urlParam, doc: "The first query parameter of that name, decoded; null when there is none."},
		{name: "url_encode", params: []param{text}, result: str, call: onString(url.QueryEscape), doc: "The text as it may stand in a query."},
		{name: "url_decode", params: []param{text}, result: str, call: urlDecode, doc: "The text that an encoded one stands for."},
	}
}

// parseURL reads a URL; its message does not repeat the whole of a long one.
func parseURL(v value.Value) (*url.URL, error) {
	u, err := url.Parse(v.Text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a URL", v.Short())
	}
	return u, nil
}

// ofURL makes an implementation that reads a part; an empty part is null.
func ofURL(part func(u *url.URL) string) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		u, err := parseURL(args[0])
		if err != nil {
			return value.Value{}, err
		}
		s := part(u)
		if s == "" {
			return value.NullV(), nil
		}
		return value.OfString(s), nil
	}
}

func urlParam(_ *Frame, args []value.Value) (value.Value, error) {
	u, err := parseURL(args[0])
	if err != nil {
		return value.Value{}, err
	}
	// Parameters that are not well formed are left out by ParseQuery.
	params, _ := url.ParseQuery(u.RawQuery)
	found := params[args[1].Text]
	if len(found) == 0 {
		return value.NullV(), nil
	}
	return value.OfString(found[0]), nil
}

func urlDecode(_ *Frame, args []value.Value) (value.Value, error) {
	s, err := url.QueryUnescape(args[0].Text)
	if err != nil {
		return value.Value{}, fmt.Errorf("%s is not URL-encoded", args[0].Short())
	}
	return value.OfString(s), nil
}

func hashFunctions() []function {
	data := param{name: "data", kinds: textKind}
	str := Type{Kind: String}
	return []function{
		{name: "hash", params: []param{{name: "x", kinds: anyKind}}, result: Type{Kind: Int}, call: hashCall, doc: "A 64-bit int that is the same for equal values, today and in every release (FNV-1a of the canonical JSON). Not for secrets."},
		{name: "murmur2", params: []param{data}, result: Type{Kind: Int}, call: murmur2, doc: "The hash by which Kafka's default partitioner places a key, without its sign: `murmur2(key) % partitions` is the partition."},
		{name: "md5", params: []param{data}, result: str, call: digest(func(b []byte) []byte { h := md5.Sum(b); return h[:] }), doc: "MD5 in hexadecimal. Not for secrets."},
		{name: "sha1", params: []param{data}, result: str, call: digest(func(b []byte) []byte { h := sha1.Sum(b); return h[:] }), doc: "SHA-1 in hexadecimal. Not for secrets."},
		{name: "sha256", params: []param{data}, result: str, call: digest(func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }), doc: "SHA-256 in hexadecimal."},
		{name: "uuid_of", params: []param{{name: "namespace", kinds: stringKind}, {name: "name", kinds: stringKind}}, result: str, call: uuidOf, doc: "The UUID (version 5) that a name has in a namespace, itself a UUID, or one of `dns`, `url`, `oid`, `x500`: always the same, so a rerun gives the same."},
	}
}

func hashCall(_ *Frame, args []value.Value) (value.Value, error) {
	h := fnv.New64a()
	h.Write(value.AppendKey(nil, args[0]))
	return value.OfInt(int64(h.Sum64())), nil
}

func murmur2(_ *Frame, args []value.Value) (value.Value, error) {
	return value.OfInt(int64(codec.Murmur2([]byte(args[0].Text)) & 0x7fffffff)), nil
}

func digest(sum func(b []byte) []byte) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		return value.OfString(hex.EncodeToString(sum([]byte(args[0].Text)))), nil
	}
}

// uuidOf is RFC 9562, section 5.5.
func uuidOf(_ *Frame, args []value.Value) (value.Value, error) {
	namespace := args[0].Text
	switch namespace {
	case "dns":
		namespace = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	case "url":
		namespace = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
	case "oid":
		namespace = "6ba7b812-9dad-11d1-80b4-00c04fd430c8"
	case "x500":
		namespace = "6ba7b814-9dad-11d1-80b4-00c04fd430c8"
	}
	space, err := hex.DecodeString(strings.ReplaceAll(namespace, "-", ""))
	if err != nil || len(space) != 16 || len(namespace) != 36 {
		return value.Value{}, fmt.Errorf("namespace %s is not a UUID", args[0].Short())
	}
	h := sha1.Sum(append(space, args[1].Text...))
	id := h[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return value.OfString(fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])), nil
}
