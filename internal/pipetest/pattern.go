package pipetest

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/internal/value"
)

// Codes of this package's diagnostics.
const (
	codeUnknownField  diag.Code = "unknown-field"
	codeMissingField  diag.Code = "missing-field"
	codeWrongType     diag.Code = "wrong-type"
	codeBadValue      diag.Code = "bad-value"
	codeBadDuration   diag.Code = "bad-duration"
	codeUnknownName   diag.Code = "unknown-name"
	codeDuplicateName diag.Code = "duplicate-name"
	codeTestFailed    diag.Code = "test-failed"
)

// rest is what stands for further fields or further elements.
const rest = "..."

// patternKind says what a pattern accepts.
type patternKind uint8

const (
	exactly  patternKind = iota // a scalar that is equal as a value
	object                      // its fields, and others if it is open
	list                        // its elements in order
	anything                    // any value that is there, null too
	absent                      // no value
	matching                    // a text that a regular expression finds something in
	nearly                      // a number, about
	further                     // in a list: any number of elements
)

// pattern is what a value is compared with.
type pattern struct {
	kind patternKind
	span diag.Span

	value             value.Value
	fields            []fieldPattern
	items             []*pattern
	open              bool // object: other fields are allowed
	regex             *regexp.Regexp
	number, tolerance float64
}

type fieldPattern struct {
	name string
	*pattern
}

// defaultTolerance is how far a number may be from `approx N`, relative to N.
const defaultTolerance = 1e-6

// patternOf reads a pattern from a value of tests.yaml.
func patternOf(n *syntax.Node, faults *diag.List) *pattern {
	p := &pattern{span: n.Span}
	switch {
	case n.Kind == syntax.Mapping:
		p.kind = object
		for _, e := range n.Entries {
			if isRest(e.Key) && e.Value.IsNull() {
				p.open = true
				continue
			}
			field := fieldPattern{e.Key.Value, patternOf(e.Value, faults)}
			if e.Value.IsNull() {
				field.span = e.Key.Span
			}
			p.fields = append(p.fields, field)
		}
	case n.Kind == syntax.Sequence:
		p.kind = list
		for _, item := range n.Items {
			if isRest(item) {
				p.items = append(p.items, &pattern{kind: further, span: item.Span})
				continue
			}
			p.items = append(p.items, patternOf(item, faults))
		}
	case !p.matcher(n, faults):
		p.value = scalarOf(n, faults)
	}
	return p
}

// isRest says whether a scalar is the `...` that allows more.
func isRest(n *syntax.Node) bool {
	return n.Kind == syntax.Scalar && n.Style == syntax.Plain && n.Value == rest
}

// matcher reads a scalar that is a matcher, and says whether it is one. A word
// alone is one only without quotes; the others may be quoted as a whole, as
// YAML wants it for some characters.
func (p *pattern) matcher(n *syntax.Node, faults *diag.List) bool {
	if n.Tag != syntax.TagStr {
		return false
	}
	word, arg, found := strings.Cut(n.Value, " ")
	arg = strings.TrimSpace(arg)
	switch {
	case !found && n.Style == syntax.Plain && word == "any":
		p.kind = anything
	case !found && n.Style == syntax.Plain && word == "absent":
		p.kind = absent
	case word == "matches" && isQuoted(arg):
		p.kind = matching
		text, err := unquote(arg)
		if err == nil {
			p.regex, err = regexp.Compile(text)
		}
		if err != nil {
			faults.Errorf(codeBadValue, n.Span, "the pattern of matches cannot be read: %v", err).
				Help = `write matches "REGEX", as Go's regexp package has them`
			p.kind = anything
		}
	case word == "equals" && isQuoted(arg):
		text, err := unquote(arg)
		if err != nil {
			faults.Errorf(codeBadValue, n.Span, "the text of equals cannot be read: %v", err)
		}
		p.value = value.OfString(text)
	case word == "approx" && found:
		p.approx(n, arg, faults)
	default:
		return false
	}
	return true
}

// approx reads "1.5" or "1.5 +- 0.1".
func (p *pattern) approx(n *syntax.Node, arg string, faults *diag.List) {
	p.kind = nearly
	number, tolerance, given := strings.Cut(strings.ReplaceAll(arg, "±", "+-"), "+-")
	var err, err2 error
	p.number, err = strconv.ParseFloat(strings.TrimSpace(number), 64)
	p.tolerance = defaultTolerance * max(p.number, -p.number)
	if given {
		p.tolerance, err2 = strconv.ParseFloat(strings.TrimSpace(tolerance), 64)
	}
	if err != nil || err2 != nil || p.tolerance < 0 {
		faults.Errorf(codeBadValue, n.Span, "%q is no number with a tolerance", arg).
			Help = "write approx 1.5, or approx 1.5 +- 0.1"
	}
}

func isQuoted(s string) bool {
	return len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0]
}

// unquote takes the text out of quotes. Between double ones \" is a quote and all
// else stands for itself: a regular expression is full of backslashes.
func unquote(s string) (string, error) {
	inside := s[1 : len(s)-1]
	if s[0] == '\'' {
		return strings.ReplaceAll(inside, "''", "'"), nil
	}
	text := strings.ReplaceAll(inside, `\"`, `"`)
	if strings.Count(text, `"`) != strings.Count(inside, `\"`) {
		return "", fmt.Errorf("there is a quote inside the quotes; write \\\" for it")
	}
	return text, nil
}

// scalarOf reads a scalar as the JSON value it stands for.
func scalarOf(n *syntax.Node, faults *diag.List) value.Value {
	switch {
	case n.IsNull():
		return value.NullV()
	case n.Tag == syntax.TagBool:
		return value.OfBool(strings.EqualFold(n.Value, "true"))
	case n.Style == syntax.Plain && isNumber(n.Value): // YAML takes 1e400 for a text
		return value.OfLexed([]byte(n.Value), 0, len(n.Value))
	case n.Tag == syntax.TagInt || n.Tag == syntax.TagFloat:
		faults.Errorf(codeBadValue, n.Span, "%s is a number to YAML but not to JSON", n.Value).
			Help = "write it as JSON does, or in quotes if it is a text"
		return value.NullV()
	}
	return value.OfString(n.Value)
}

// isNumber says whether a text is a JSON number.
func isNumber(text string) bool {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return false
	}
	end, _ := value.LexNumber([]byte(text), 0)
	return end == len(text)
}

// appendJSON writes a node as JSON text: fields in their order, numbers as written.
func appendJSON(dst []byte, n *syntax.Node, faults *diag.List) []byte {
	switch n.Kind {
	case syntax.Mapping:
		dst = append(dst, '{')
		for i, e := range n.Entries {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(value.AppendQuoted(dst, e.Key.Value), ':')
			dst = appendJSON(dst, e.Value, faults)
		}
		return append(dst, '}')
	case syntax.Sequence:
		dst = append(dst, '[')
		for i, item := range n.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, item, faults)
		}
		return append(dst, ']')
	}
	return value.AppendJSON(dst, scalarOf(n, faults))
}

// valueOf reads a node as the value that a pipeline would see.
func valueOf(n *syntax.Node, faults *diag.List) value.Value {
	if n.Kind == syntax.Scalar {
		return scalarOf(n, faults)
	}
	return value.OfRaw(appendJSON(nil, n, faults))
}

// asWritten makes a pattern for what is written in a format: where that makes a
// text of every value, the pattern is one of the text. key says that it is the
// key of a record.
func (p *pattern) asWritten(f codec.Format, key bool, n *syntax.Node) *pattern {
	if f != codec.FormatString || p.kind != exactly && p.kind != object && p.kind != list || p.value.IsNull() && p.kind == exactly {
		return p
	}
	if p.kind == exactly && p.value.Kind == value.String || p.kind != exactly && p.holdsMatchers() {
		return p
	}
	encode := codec.Encode
	if key {
		encode = codec.EncodeKey
	}
	text, err := encode(nil, f, valueOf(n, &diag.List{}))
	if err != nil {
		return p
	}
	return &pattern{kind: exactly, span: p.span, value: value.OfString(string(text))}
}

func (p *pattern) holdsMatchers() bool {
	if p.kind != exactly && p.kind != object && p.kind != list || p.open {
		return true
	}
	for _, f := range p.fields {
		if f.holdsMatchers() {
			return true
		}
	}
	for _, item := range p.items {
		if item.holdsMatchers() {
			return true
		}
	}
	return false
}

// String is the pattern as it is shown: JSON, with the matchers as they are written.
func (p *pattern) String() string {
	var out strings.Builder
	p.write(&out)
	return out.String()
}

func (p *pattern) write(out *strings.Builder) {
	switch p.kind {
	case exactly:
		out.WriteString(show(p.value))
	case object:
		out.WriteByte('{')
		for i, f := range p.fields {
			if i > 0 {
				out.WriteByte(',')
			}
			out.Write(value.AppendQuoted(nil, f.name))
			out.WriteByte(':')
			f.write(out)
		}
		if p.open {
			if len(p.fields) > 0 {
				out.WriteByte(',')
			}
			out.WriteString(rest)
		}
		out.WriteByte('}')
	case list:
		out.WriteByte('[')
		for i, item := range p.items {
			if i > 0 {
				out.WriteByte(',')
			}
			item.write(out)
		}
		out.WriteByte(']')
	case anything:
		out.WriteString("any")
	case absent:
		out.WriteString("absent")
	case matching:
		fmt.Fprintf(out, `matches "%s"`, p.regex)
	case nearly:
		fmt.Fprintf(out, "approx %s", strconv.FormatFloat(p.number, 'g', -1, 64))
		if p.tolerance != defaultTolerance*max(p.number, -p.number) {
			fmt.Fprintf(out, " +- %s", strconv.FormatFloat(p.tolerance, 'g', -1, 64))
		}
	case further:
		out.WriteString(rest)
	}
}

// show writes a value for people: JSON, bytes marked as such, nothing for what is not there.
func show(v value.Value) string {
	switch v.Kind {
	case value.Absent:
		return "nothing"
	case value.Bytes:
		return "base64 " + base64.StdEncoding.EncodeToString(v.AsBytes())
	}
	return string(value.AppendJSON(nil, v))
}
