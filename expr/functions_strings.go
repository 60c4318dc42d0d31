package expr

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"streamctl/internal/value"
)

// maxMade bounds strings that a short expression could make huge, in bytes.
const maxMade = 1 << 20

// onString makes an implementation of a function of one string.
func onString(fn func(s string) string) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		return value.OfString(fn(args[0].Text)), nil
	}
}

// twoStrings makes an implementation of a string from two.
func twoStrings(fn func(a, b string) string) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		return value.OfString(fn(args[0].Text, args[1].Text)), nil
	}
}

func stringFunctions() []function {
	text := param{name: "text", kinds: stringKind}
	part := param{name: "part", kinds: stringKind}
	str, boolean, integer := Type{Kind: String}, Type{Kind: Bool}, Type{Kind: Int}
	return []function{
		{name: "lower", params: []param{text}, result: str, call: onString(strings.ToLower), doc: "Letters in lower case."},
		{name: "upper", params: []param{text}, result: str, call: onString(strings.ToUpper), doc: "Letters in upper case."},
		{name: "trim", params: []param{text}, result: str, call: onString(strings.TrimSpace), doc: "Without white space at both ends."},
		{name: "trim_prefix", params: []param{text, part}, result: str, call: twoStrings(strings.TrimPrefix), doc: "Without `part` at the beginning, if it is there."},
		{name: "trim_suffix", params: []param{text, part}, result: str, call: twoStrings(strings.TrimSuffix), doc: "Without `part` at the end, if it is there."},
		{name: "replace", params: []param{text, {name: "old", kinds: stringKind}, {name: "new", kinds: stringKind}}, result: str, call: replaceText, doc: "Every `old` replaced by `new`."},
		{name: "split", params: []param{text, {name: "separator", kinds: stringKind}}, result: listOf(str), call: splitText, doc: "The parts between the separators; the characters one by one when the separator is empty. `split(urn, \":\")[3]` takes one part without making the list."},
		{name: "join", params: []param{{name: "list", kinds: listKind}, {name: "separator", kinds: stringKind, optional: true}}, result: str, call: joinTexts, doc: "The elements as text with the separator (default: nothing) between them. Null elements are left out."},
		{name: "substring", params: []param{text, {name: "from", kinds: intKind}, {name: "length", kinds: intKind, optional: true}}, result: str, call: substring, doc: "Characters from index `from` (0 is the first, -1 the last) on, at most `length`. What lies beyond the ends is left out."},
		{name: "starts_with", params: []param{text, part}, result: boolean, operator: opStartsWith, doc: "Whether the text begins with `part`; the operator `startsWith` is the same."},
		{name: "ends_with", params: []param{text, part}, result: boolean, operator: opEndsWith, doc: "Whether the text ends with `part`; the operator `endsWith` is the same."},
		{name: "contains", params: []param{{name: "in", kinds: stringKind | listKind}, {name: "part", kinds: anyKind}}, result: boolean, operator: opContains, doc: "Whether a string has `part` in it, or a list has it as an element; the operator `contains` is the same."},
		{name: "index_of", params: []param{text, part}, result: integer, call: indexOf, doc: "Index of the first character of the first `part`, -1 when it is not there."},
		{name: "repeat", params: []param{text, {name: "times", kinds: intKind}}, result: str, call: repeatText, doc: "The text so many times, at most 1 MiB."},
		{name: "pad_left", params: []param{text, {name: "length", kinds: intKind}, {name: "with", kinds: stringKind, optional: true}}, result: str, call: padText(true), doc: "Filled at the beginning with `with` (default: a space) up to `length` characters."},
		{name: "pad_right", params: []param{text, {name: "length", kinds: intKind}, {name: "with", kinds: stringKind, optional: true}}, result: str, call: padText(false), doc: "Filled at the end with `with` (default: a space) up to `length` characters."},
		{name: "reverse", params: []param{{name: "x", kinds: stringKind | listKind}}, resultOf: sameAsFirst, gives: "string|list", call: reverse, doc: "The characters of a string, or the elements of a list, from the last to the first."},
		{name: "format", params: []param{{name: "template", kinds: stringKind}, {name: "values", kinds: anyKind, repeats: true, optional: true}}, result: str, call: formatText, doc: "The template with each `{}` replaced by the next value as text; `{{` and `}}` are braces."},
	}
}

// sameAsFirst types a result as the first argument.
func sameAsFirst(args []*node) Type { return args[0].typ }

func replaceText(_ *Frame, args []value.Value) (value.Value, error) {
	text, old, with := args[0].Text, args[1].Text, args[2].Text
	if len(with) > len(old) {
		if n := strings.Count(text, old); n > 0 && len(text)+n*(len(with)-len(old)) > maxMade {
			return value.Value{}, fmt.Errorf("result is longer than %d bytes", maxMade)
		}
	}
	return value.OfString(strings.ReplaceAll(text, old, with)), nil
}

func splitText(_ *Frame, args []value.Value) (value.Value, error) {
	parts := strings.Split(args[0].Text, args[1].Text)
	items := make([]value.Value, len(parts))
	for i, part := range parts {
		items[i] = value.OfString(part)
	}
	return value.OfList(items), nil
}

func joinTexts(_ *Frame, args []value.Value) (value.Value, error) {
	separator := ""
	if len(args) > 1 {
		separator = args[1].Text
	}
	var out []byte
	first := true
	for _, item := range args[0].Expand().Tree.Items {
		if item.IsNull() {
			continue
		}
		if !first {
			out = append(out, separator...)
		}
		first = false
		if out = value.AppendText(out, item); len(out) > maxMade {
			return value.Value{}, fmt.Errorf("result is longer than %d bytes", maxMade)
		}
	}
	return value.OfString(string(out)), nil
}

func substring(_ *Frame, args []value.Value) (value.Value, error) {
	text := args[0].Text
	length := utf8.RuneCountInString(text)
	from, to := clampIndex(args[1].AsInt(), length), length
	if len(args) > 2 {
		n := args[2].AsInt()
		if n < 0 {
			return value.Value{}, fmt.Errorf("length %d is negative", n)
		}
		to = from + int(min(n, int64(length-from)))
	}
	return value.OfString(runes(text, from, to)), nil
}

func indexOf(_ *Frame, args []value.Value) (value.Value, error) {
	at := strings.Index(args[0].Text, args[1].Text)
	if at > 0 {
		at = utf8.RuneCountInString(args[0].Text[:at])
	}
	return value.OfInt(int64(at)), nil
}

func repeatText(_ *Frame, args []value.Value) (value.Value, error) {
	n := args[1].AsInt()
	switch {
	case n < 0:
		return value.Value{}, fmt.Errorf("times %d is negative", n)
	case n > maxMade || int64(len(args[0].Text))*n > maxMade:
		return value.Value{}, fmt.Errorf("result is longer than %d bytes", maxMade)
	}
	return value.OfString(strings.Repeat(args[0].Text, int(n))), nil
}

func padText(left bool) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		text, width, with := args[0].Text, args[1].AsInt(), " "
		if len(args) > 2 {
			with = args[2].Text
		}
		missing := width - int64(utf8.RuneCountInString(text))
		switch {
		case missing <= 0:
			return args[0], nil
		case width > maxMade/utf8.UTFMax:
			return value.Value{}, fmt.Errorf("length %d is more than %d", width, maxMade/utf8.UTFMax)
		case with == "":
			return value.Value{}, fmt.Errorf("nothing to fill with")
		}
		unit := int64(utf8.RuneCountInString(with))
		fill := runes(strings.Repeat(with, int(missing/unit)+1), 0, int(missing))
		if left {
			return value.OfString(fill + text), nil
		}
		return value.OfString(text + fill), nil
	}
}

func reverse(_ *Frame, args []value.Value) (value.Value, error) {
	if args[0].Kind == value.String {
		chars := []rune(args[0].Text)
		slices.Reverse(chars)
		return value.OfString(string(chars)), nil
	}
	items := slices.Clone(args[0].Expand().Tree.Items)
	slices.Reverse(items)
	return value.OfList(items), nil
}

// formatText fills a template in.
func formatText(_ *Frame, args []value.Value) (value.Value, error) {
	template, rest := args[0].Text, args[1:]
	out := make([]byte, 0, len(template)+16*len(rest))
	for i := 0; i < len(template); i++ {
		c := template[i]
		next := byte(0)
		if i+1 < len(template) {
			next = template[i+1]
		}
		switch {
		case c == '{' && next == '}':
			if len(rest) == 0 {
				return value.Value{}, fmt.Errorf("template has more {} than there are values (%d)", len(args)-1)
			}
			out, rest = value.AppendText(out, rest[0]), rest[1:]
			i++
		case (c == '{' || c == '}') && next == c:
			out = append(out, c)
			i++
		case c == '{' || c == '}':
			return value.Value{}, fmt.Errorf("template has a single %c: write %c%c for a brace", c, c, c)
		default:
			out = append(out, c)
		}
	}
	if len(rest) > 0 {
		return value.Value{}, fmt.Errorf("template has %d {} for %d values", len(args)-1-len(rest), len(args)-1)
	}
	return value.OfString(string(out)), nil
}
