package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// Codes of parse and resolve.
const (
	codeUnknownKey    diag.Code = "unknown-field"
	codeMissingField  diag.Code = "missing-field"
	codeWrongType     diag.Code = "wrong-type"
	codeBadValue      diag.Code = "bad-value"
	codeBadType       diag.Code = "unknown-type"
	codeBadName       diag.Code = "bad-name"
	codeBadTopic      diag.Code = "bad-topic"
	codeConflict      diag.Code = "conflict"
	codeNotSupported            = syntax.CodeNotSupported
	codeInterpolation           = syntax.CodeInterpolation
)

// key is one key that a mapping may have.
type key struct {
	name     string
	read     func(*syntax.Node)
	required string // what to write when it is missing; "" = optional
	silent   bool   // allowed, but not offered as an alternative
	noun     string // what is missing, when it is not called like the key
}

// hints say for a key that does not belong here what to do instead.
type hints map[string]string

// mapping reads n by its keys. what names n in messages; at is where missing
// keys are reported; later lists keys that the language has and this version
// does not do.
func (p *parser) mapping(n *syntax.Node, what string, at diag.Span, keys []key, help hints, later ...string) {
	if n.Kind != syntax.Mapping {
		p.wrongType(n, what, "a mapping")
		return
	}
	found := map[string]bool{} // keys given, or meant by a misspelt one
	unsupported := false
	for _, e := range n.Entries {
		found[e.Key.Value] = true
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == e.Key.Value })
		switch {
		case i >= 0 && keys[i].read != nil:
			keys[i].read(e.Value)
		case slices.Contains(later, e.Key.Value):
			unsupported = true
			p.list.Errorf(codeNotSupported, e.Key.Span, "%s is not supported by this version", e.Key.Value).
				Help = "remove it from " + what
		default:
			found[p.unknownField(e.Key, what, keys, help)] = true
		}
	}
	for _, k := range keys {
		if k.required == "" || found[k.name] || unsupported {
			continue
		}
		noun := k.noun
		if noun == "" {
			noun = k.name
		}
		p.list.Errorf(codeMissingField, at, "%s has no %s", what, noun).
			Help = "add `" + k.required + "`"
	}
}

// unknownField reports a key that does not belong here and returns the key
// that was probably meant, or "".
func (p *parser) unknownField(name *syntax.Node, what string, keys []key, help hints) string {
	d := p.list.Errorf(codeUnknownKey, name.Span, "unknown field %q in %s", name.Value, what)
	allowed := make([]string, 0, len(keys))
	for _, k := range keys {
		if !k.silent {
			allowed = append(allowed, k.name)
		}
	}
	if text, ok := help[name.Value]; ok {
		d.Help = text
		meant, _ := strings.CutPrefix(text, "did you mean \"")
		return strings.TrimSuffix(meant, "\"?")
	}
	near := diag.Nearest(name.Value, allowed)
	if near != "" {
		d.Help = fmt.Sprintf("did you mean %q?", near)
		return near
	}
	d.Help = "allowed here: " + strings.Join(allowed, ", ")
	return ""
}

// wrongType reports a value of the wrong kind.
func (p *parser) wrongType(n *syntax.Node, what, expected string) {
	p.list.Errorf(codeWrongType, n.Span, "%s: expected %s, got %s", what, expected, n.Describe())
}

// text reads a scalar of the logic part; expected says what it should hold.
func (p *parser) text(n *syntax.Node, expected string) Text {
	t, ok := p.scalar(n, expected)
	if !ok {
		return Text{}
	}
	if start, end, found := syntax.FindInterpolation(t.Value); found {
		p.list.Errorf(codeInterpolation, n.At(start, end), "${...} is replaced only under kafka:").
			Help = "the logic of a pipeline is the same everywhere; for one run, override a value with --set path=value"
		return Text{}
	}
	return t
}

// scalar reads any scalar that is not null.
func (p *parser) scalar(n *syntax.Node, expected string) (Text, bool) {
	if n.IsNull() || n.Kind != syntax.Scalar {
		p.list.Errorf(codeWrongType, n.Span, "expected %s, got %s", expected, n.Describe())
		return Text{}, false
	}
	return Text{Value: n.Value, Set: true, Span: n.Span, Node: n}, true
}

// expression reads the text of an expression.
func (p *parser) expression(into *Text) func(*syntax.Node) {
	return func(n *syntax.Node) { *into = p.expressionText(n) }
}

func (p *parser) expressionText(n *syntax.Node) Text {
	switch {
	case n.IsNull() && n.Value != "":
		p.list.Errorf(codeWrongType, n.Span, "expected an expression, got nothing").
			Help = "the value null is written nil"
		return Text{}
	case n.Kind != syntax.Scalar:
		p.list.Errorf(codeWrongType, n.Span, "expected an expression, got %s", n.Describe()).
			Help = "put the expression in single quotes: '{a: x}' or '[x, y]'"
		return Text{}
	}
	t := p.text(n, "an expression")
	if t.Set && strings.TrimSpace(t.Value) == "" {
		p.list.Errorf(codeWrongType, n.Span, "expected an expression, got an empty text").
			Help = `an empty text as a value is written '""'`
		return Text{}
	}
	return t
}

// choice reads one of a few words; later holds words to come.
func (p *parser) choice(n *syntax.Node, what string, words, later []string) Text {
	t := p.text(n, "one of "+strings.Join(words, ", "))
	if !t.Set || slices.Contains(words, t.Value) {
		return t
	}
	if slices.Contains(later, t.Value) {
		p.list.Errorf(codeNotSupported, t.Span, "%s %s is not supported by this version", what, t.Value).
			Help = "use one of " + strings.Join(words, ", ")
		return Text{}
	}
	d := p.list.Errorf(codeBadValue, t.Span, "%s cannot be %q", what, t.Value)
	if near := diag.Nearest(t.Value, words); near != "" {
		d.Help = fmt.Sprintf("did you mean %q?", near)
	} else {
		d.Help = "use one of " + strings.Join(words, ", ")
	}
	return Text{}
}

func (p *parser) onError(into *Text) func(*syntax.Node) {
	return func(n *syntax.Node) { *into = p.choice(n, "on_error", onErrors(), nil) }
}

func (p *parser) onGap(into *Text, policies []string) func(*syntax.Node) {
	return func(n *syntax.Node) { *into = p.choice(n, "on_gap", policies, nil) }
}

func (p *parser) format(into *Text) func(*syntax.Node) {
	return func(n *syntax.Node) { *into = p.choice(n, "format", formats(), laterFormats()) }
}

// count reads a whole number from 1 to limit.
func (p *parser) count(n *syntax.Node, what string, limit int) Text {
	return p.number(n, what, 1, limit)
}

// number reads a whole number from least to limit.
func (p *parser) number(n *syntax.Node, what string, least, limit int) Text {
	t := p.text(n, "a whole number")
	if !t.Set {
		return t
	}
	if v, err := strconv.Atoi(t.Value); err != nil || v < least || v > limit {
		p.list.Errorf(codeBadValue, t.Span, "%s must be a whole number from %d to %d, got %q", what, least, limit, t.Value)
		return Text{}
	}
	return t
}

// Names are parts of topic names, file names and transactional ids.
const (
	maxPipelineName   = 100
	maxDefinitionName = 60
)

func (p *parser) pipelineName(n *syntax.Node) Text {
	t := p.text(n, "a name")
	if !t.Set {
		return t
	}
	ok := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }
	if p.nameFault(t, "a pipeline's name", "lower-case letters, digits and -", maxPipelineName, ok) {
		return Text{}
	}
	return t
}

func (p *parser) definitionName(n *syntax.Node, kind string) Text {
	t := Text{Value: n.Value, Set: true, Span: n.Span, Node: n}
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	}
	p.nameFault(t, "the name of a "+kind, "letters, digits, _ and -", maxDefinitionName, ok)
	return t
}

// nameFault reports a name that is empty, too long, or has other characters.
func (p *parser) nameFault(t Text, what, allowed string, limit int, ok func(rune) bool) bool {
	if t.Value == "" {
		p.list.Errorf(codeBadName, t.Span, "%s cannot be empty", what).
			Help = "use " + allowed
		return true
	}
	if i := strings.IndexFunc(t.Value, func(r rune) bool { return !ok(r) }); i >= 0 {
		bad := runeAt(t.Value, i)
		p.list.Errorf(codeBadName, t.Node.At(i, i+len(bad)), "%s cannot contain %q", what, bad).
			Help = "use " + allowed + ": it becomes part of topic names"
		return true
	}
	if len(t.Value) > limit {
		p.list.Errorf(codeBadName, t.Span, "%s has %d characters, more than %d", what, len(t.Value), limit).
			Help = "it becomes part of topic names, whose length Kafka limits"
		return true
	}
	if strings.HasPrefix(t.Value, "-") {
		p.list.Errorf(codeBadName, t.Node.At(0, 1), "%s cannot begin with \"-\"", what).
			Help = "begin it with a letter or a digit"
		return true
	}
	return false
}

// fieldDecls reads fields:.
func (p *parser) fieldDecls(n *syntax.Node) []FieldDecl {
	if n.Kind != syntax.Mapping {
		p.wrongType(n, "fields", "a mapping of field names to types")
		return nil
	}
	var fields []FieldDecl
	for _, e := range n.Entries {
		name := Text{Value: e.Key.Value, Set: true, Span: e.Key.Span, Node: e.Key}
		if e.Value.IsNull() {
			p.list.Errorf(codeWrongType, e.Key.Span, "field %q has no type", e.Key.Value).
				Help = "use one of " + strings.Join(fieldTypes(), ", ")
			continue
		}
		fields = append(fields, p.fieldDecl(name, e.Value))
	}
	return fields
}

func (p *parser) fieldDecl(name Text, n *syntax.Node) FieldDecl {
	d := FieldDecl{Name: name}
	composite := func(word string) Text { return Text{Value: word, Set: true, Span: n.Span, Node: n} }
	switch n.Kind {
	case syntax.Mapping:
		d.Type = composite("object")
		d.Sub = p.fieldDecls(n)
	case syntax.Sequence:
		d.Type = composite("list")
		if len(n.Items) != 1 {
			p.list.Errorf(codeWrongType, n.Span, "a list type names the type of its elements once, got %d entries", len(n.Items)).
				Help = "write [string], or [{name: string}] for a list of objects"
			return d
		}
		d.Sub = []FieldDecl{p.fieldDecl(Text{}, n.Items[0])}
	default:
		d.Type = p.fieldType(n)
	}
	return d
}

func (p *parser) fieldType(n *syntax.Node) Text {
	t := p.text(n, "a type")
	if !t.Set || slices.Contains(fieldTypes(), t.Value) {
		return t
	}
	d := p.list.Errorf(codeBadType, t.Span, "unknown type %q", t.Value)
	if other := cmp.Or(otherTypeNames()[strings.ToLower(t.Value)], diag.Nearest(t.Value, fieldTypes())); other != "" {
		d.Help = fmt.Sprintf("did you mean %q?", other)
	} else {
		d.Help = "types are " + strings.Join(fieldTypes(), ", ") + "; a mapping declares an object's fields, [TYPE] a list's elements"
	}
	return Text{}
}

func fieldTypes() []string {
	return []string{"int", "float", "bool", "string", "list", "object", "any"}
}

// otherTypeNames are what other languages call our types.
func otherTypeNames() map[string]string {
	return map[string]string{
		"integer": "int", "long": "int", "int64": "int", "bigint": "int", "int32": "int",
		"double": "float", "number": "float", "float64": "float", "decimal": "float",
		"boolean": "bool", "str": "string", "text": "string", "varchar": "string",
		"array": "list", "map": "object", "struct": "object", "json": "any",
	}
}

func quote(s string) string { return strconv.Quote(s) }
