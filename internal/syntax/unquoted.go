package syntax

import (
	"bytes"
	"strings"

	"gopkg.in/yaml.v3"

	"streamctl/internal/diag"
)

// An expression without quotes may hold signs that YAML takes for its own: a comma
// between brackets, " #", which begins a comment, a "!" in front, which is a tag.
// What YAML then makes of the rest is no help to anybody. This file finds the whole
// expression as it must have been meant, and shows it in quotes.

// bracketHelp begins the help for an expression between brackets.
const bracketHelp = "between brackets, an expression with [ ] { } , or ? in it must be put in single quotes: "

// longestShown is how far the end of an expression is looked for, in bytes: a hostile
// file must not make each of its values a search through all of it.
const longestShown = 4 << 10

// valueAround finds the value that a place lies in, from its first byte to the
// sign that must have been meant to end it: the end of the line or, between
// brackets, a comma or a closing bracket outside of all brackets that are opened in it.
func (s *source) valueAround(at int) (start, end int, inBrackets bool) {
	stack := openBrackets(s.text[:at])
	for len(stack) > 0 {
		open := stack[len(stack)-1]
		if open == 0 || strings.IndexByte(" \t\r\n:,[{-", s.text[open-1]) >= 0 {
			return s.valueBetween(open+1, at)
		}
		stack = stack[:len(stack)-1] // that of an index, as in key[0]
	}
	start, end = s.lineRange(s.pos(at).Line)
	for start < end && (isBlank(s.text[start]) || s.text[start] == '-' && start+1 < end && s.text[start+1] == ' ') {
		start++
	}
	if colon := bytes.Index(s.text[start:end], []byte(": ")); colon >= 0 && start+colon < at {
		start += colon + 2
	}
	start, end = s.trim(start, end)
	return start, end, false
}

// valueBetween is valueAround behind an opening bracket, the first byte behind which is from.
func (s *source) valueBetween(from, at int) (start, end int, inBrackets bool) {
	start = from
	named := false // the name of the value has been seen
	limit := min(len(s.text), max(from, at)+longestShown)
	for i := from; i < limit; i++ {
		switch c := s.text[i]; {
		case c == ',' && i < at:
			start, named = i+1, false
		case c == ':' && !named && i < at && i+1 < len(s.text) && isSpace(s.text[i+1]):
			start, named = i+1, true
		case c == '\n' && i < at: // a value goes on over lines
		case s.endsValue(i):
			start, end = s.trim(start, i)
			return start, end, true
		default:
			i = s.skipNested(i)
		}
	}
	start, end = s.trim(start, limit)
	return start, end, true
}

// endsValue says that a value between brackets ends in front of i, which is outside
// of all brackets in it.
func (s *source) endsValue(i int) bool { return strings.IndexByte(",]})\n", s.text[i]) >= 0 }

// skipNested gives the last byte of what begins at i: a quoted text, something in
// brackets, or the byte alone. What is not closed on its line ends with that.
func (s *source) skipNested(i int) int {
	from := i
	_, end := s.lineRange(s.pos(i).Line)
	end = min(end, i+longestShown)
	depth := 0
	for ; i < end; i++ {
		switch c := s.text[i]; c {
		case '"', '\'':
			if i == 0 || !isWord(s.text[i-1]) { // else it is an apostrophe
				i = quoteEnd(s.text[:end], i)
			}
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		if depth <= 0 {
			return i
		}
	}
	return max(i-1, from) // the line may end here, with a carriage return
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// trim takes blanks off both ends of a range.
func (s *source) trim(start, end int) (int, int) {
	for start < end && isSpace(s.text[start]) {
		start++
	}
	for end > start && isSpace(s.text[end-1]) {
		end--
	}
	return start, end
}

// quoted writes a text in single quotes. Strings in it get double ones, if it has none.
func quoted(text []byte) string {
	inside := "''"
	if !bytes.ContainsAny(text, `"\`) {
		inside = `"`
	}
	return "'" + strings.ReplaceAll(string(text), "'", inside) + "'"
}

// unquoted explains a problem whose reason is that the value it lies in has no quotes.
func (s *source) unquoted(p problem, at int) (diag.Diagnostic, bool) {
	start, end, inBrackets := s.valueAround(at)
	if at <= start || at > end || start == end {
		return diag.Diagnostic{}, false
	}
	text := s.text[start:end]
	switch {
	case text[0] == '!':
		return s.tagged(start, end), true
	case inBrackets && bytes.IndexByte(text, '[') > 0 &&
		(strings.HasPrefix(p.match, "alphabetic") || p.match == "cannot start any token" || p.match == "expected node content"):
		return diag.Errorf(CodeSyntax, s.span(start, end), "this expression ends, between brackets, in front of its [").
			WithHelp("%s", bracketHelp+quoted(text)), true
	}
	return diag.Diagnostic{}, false
}

// tagged explains an expression that begins with "!".
func (s *source) tagged(start, end int) diag.Diagnostic {
	return diag.Errorf(CodeSyntax, s.span(start, end), "a value that begins with ! is a tag of YAML").
		WithHelp("put the expression in single quotes: %s", quoted(s.text[start:end]))
}

// opens counts the brackets that a text without quotes opens and does not close.
func opens(text string) int {
	n := 0
	for _, c := range []byte(text) {
		switch c {
		case '(', '[', '{':
			n++
		case ')', ']', '}':
			n--
		}
	}
	return n
}

// commented finds a comment that begins inside of an expression: behind a scalar
// without quotes in which a bracket is open. The scalar gets all of the line.
func (c *converter) commented(n *Node) {
	text := c.src.text
	end := n.Span.End.Offset
	hash := end
	for hash < len(text) && isBlank(text[hash]) {
		hash++
	}
	if n.Style != Plain || hash == len(text) || text[hash] != '#' || opens(n.Value) <= 0 {
		return
	}
	_, line := c.src.lineRange(c.src.pos(hash).Line)
	_, line = c.src.trim(n.at, line)
	if c.src.pos(n.at).Line != c.src.pos(hash).Line {
		return
	}
	c.list.Add(c.src.hash(n.at, hash, line))
	c.rest(n, line)
}

// hash explains a comment at a place inside of an expression.
func (s *source) hash(start, hash, end int) diag.Diagnostic {
	return diag.Errorf(CodeSyntax, s.span(hash, end), "a # behind a blank begins a comment").
		WithHelp("put the expression in single quotes: %s", quoted(s.text[start:end]))
}

// hashIn finds a comment inside of an expression on the line of a place between brackets.
func (s *source) hashIn(at int) (diag.Diagnostic, bool) {
	_, end := s.lineRange(s.pos(at).Line)
	for i := at + 1; i < end; i++ {
		if s.text[i] != '#' || !isBlank(s.text[i-1]) {
			continue
		}
		start, last, _ := s.valueAround(i - 1)
		if opens(string(s.text[start:i])) <= 0 || last < i {
			return diag.Diagnostic{}, false
		}
		for last > i && opens(string(s.text[start:last])) < 0 {
			last-- // a bracket that closes what is around the value
		}
		return s.hash(start, i, last), true
	}
	return diag.Diagnostic{}, false
}

// rest gives a scalar without quotes the text up to end.
func (c *converter) rest(n *Node, end int) {
	n.Value, n.Tag = string(c.src.text[n.at:end]), TagStr
	n.Span = c.src.span(n.at, end)
}

// cutByComma finds out that the value of an entry between brackets is an expression which a
// comma has cut, and gives it the whole. It returns how many of the entries that
// follow, as keys and values in turn, are parts of it.
func (c *converter) cutByComma(value *Node, y *yaml.Node, follow []*yaml.Node) int {
	if value.Kind != Scalar || value.Style != Plain || y.Kind != yaml.ScalarNode || opens(value.Value) <= 0 || len(follow) == 0 {
		return 0
	}
	_, end, inBrackets := c.src.valueBetween(value.at, value.at)
	parts := 0
	for parts+1 < len(follow) && c.src.offset(follow[parts].Line, follow[parts].Column) < end {
		parts += 2
	}
	if !inBrackets || parts == 0 || opens(string(c.src.text[value.at:end])) != 0 {
		return 0
	}
	c.list.Add(diag.Errorf(CodeSyntax, c.src.span(value.at, end), "a comma between { and } ends the value: this expression is cut in pieces").
		WithHelp("%s", bracketHelp+quoted(c.src.text[value.at:end])))
	c.rest(value, end)
	return parts
}
