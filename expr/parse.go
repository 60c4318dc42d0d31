package expr

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/parser/lexer"

	"streamctl/internal/diag"
)

// Limits of one expression. They are far above what anybody writes and low
// enough that a hostile file is refused in milliseconds.
const (
	maxText    = 64 << 10 // bytes
	maxTokens  = 20_000
	maxNesting = 200 // brackets, and prefix operators in a row
)

// syntaxTree is a parsed expression: expr-lang's tree with the tokens, which
// it does not keep and without which the extent of a node is not known (its
// nodes point at one token: an operator, a property, an opening bracket).
type syntaxTree struct {
	root   ast.Node
	text   string
	tokens []lexer.Token
	bytes  []int // byte offset of each rune of text, and of its end
	match  []int // of a bracket token: the index of its partner; -1 for the rest
	// extents remembers extentOf.
	extents map[ast.Node]extent
}

// syntaxError is why a text does not parse, in byte offsets of it.
type syntaxError struct {
	code       diag.Code
	start, end int
	msg, help  string
}

// Names that expr-lang's grammar does not let a call begin with are replaced
// by names of the same length before it sees the text, so that positions stay
// right: `contains` is an operator there, and count() without an argument does
// not parse because it knows only count(list, predicate).
const (
	containsStandIn = "contain$"
	countStandIn    = "coun$"
)

// realName undoes the stand-ins.
func realName(name string) string {
	switch name {
	case containsStandIn:
		return "contains"
	case countStandIn:
		return "count"
	}
	return name
}

// parse turns text into a tree or says why not.
func parse(text string) (*syntaxTree, *syntaxError) {
	if len(text) > maxText {
		return nil, &syntaxError{codeTooLarge, 0, len(text), fmt.Sprintf("expression of %d bytes: at most %d are allowed", len(text), maxText), ""}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &syntaxError{codeSyntax, 0, len(text), "expression is empty", ""}
	}
	t := &syntaxTree{text: text, bytes: runeOffsets(text), extents: map[ast.Node]extent{}}
	if bad := t.lex(); bad != nil {
		return nil, bad
	}
	if bad := t.checkTokens(); bad != nil {
		return nil, bad
	}
	root, err := parseSafely(t.withStandIns())
	if err != nil {
		return nil, t.syntaxError(err)
	}
	t.root = root
	return t, nil
}

// lex cuts the text into tokens.
func (t *syntaxTree) lex() *syntaxError {
	l := lexer.New()
	l.Reset(file.NewSource(t.text))
	for {
		tok, err := l.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return t.lexError(err)
		case len(t.tokens) == maxTokens:
			return &syntaxError{codeTooLarge, 0, len(t.text), fmt.Sprintf("expression has too many words and signs: at most %d are allowed", maxTokens), ""}
		}
		t.tokens = append(t.tokens, tok)
	}
}

// lexError points at the whole of what is no token: the lexer only says where
// it gave up.
func (t *syntaxTree) lexError(err error) *syntaxError {
	bad := t.syntaxError(err)
	start := 0
	if n := len(t.tokens); n > 0 {
		_, start = t.tokenSpan(n - 1)
	}
	start += len(t.text[start:]) - len(strings.TrimLeft(t.text[start:], " \t\r\n"))
	if start > bad.end {
		return bad
	}
	switch {
	case strings.HasPrefix(bad.msg, "literal not terminated"):
		bad.start, bad.msg = start, "string is not closed"
		if end := strings.IndexByte(t.text[start:], '\n'); end >= 0 {
			bad.end = start + end
		} else {
			bad.end = len(t.text)
		}
	case strings.HasPrefix(bad.msg, "bad number"):
		for bad.end < len(t.text) && isWordByte(t.text[bad.end]) {
			bad.end++
		}
		bad.start, bad.msg = start, fmt.Sprintf("%s is not a number", t.text[start:bad.end])
	case strings.HasPrefix(bad.msg, "invalid char escape"):
		bad.msg = "string has an unknown escape"
	case strings.HasPrefix(bad.msg, "unrecognized character"):
		bad.msg = fmt.Sprintf("character %q has no meaning here", t.text[bad.start:bad.end])
	}
	return bad
}

// isWordByte is true for what may continue a number or name in ASCII.
func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// parseSafely runs expr-lang's parser; a panic in it must not take the tool
// down, whatever somebody typed.
func parseSafely(text string) (root ast.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("%v", r)
		}
	}()
	tree, err := parser.ParseWithConfig(text, nil)
	if err != nil {
		return nil, err
	}
	return tree.Node, nil
}

// runeOffsets maps rune indexes to byte offsets; the last entry is len(text).
func runeOffsets(text string) []int {
	offsets := make([]int, 0, utf8.RuneCountInString(text)+1)
	for i := range text {
		offsets = append(offsets, i)
	}
	return append(offsets, len(text))
}

// byteAt gives the byte offset of a rune index; what lies outside is clamped.
func (t *syntaxTree) byteAt(r int) int {
	return t.bytes[min(max(r, 0), len(t.bytes)-1)]
}

// checkTokens enforces the limits, pairs the brackets and looks at number
// literals, whose faults the parser reports at the token behind.
func (t *syntaxTree) checkTokens() *syntaxError {
	t.match = make([]int, len(t.tokens))
	var open []int
	prefixes := 0
	for i, tok := range t.tokens {
		t.match[i] = -1
		start, end := t.tokenSpan(i)
		if tok.Kind == lexer.Operator && (tok.Value == "!" || tok.Value == "not" || tok.Value == "-" || tok.Value == "+") {
			prefixes++
		} else {
			prefixes = 0
		}
		switch {
		case tok.Kind == lexer.Bracket && strings.Contains("([{", tok.Value):
			open = append(open, i)
		case tok.Kind == lexer.Bracket:
			if len(open) == 0 {
				return &syntaxError{codeSyntax, start, end, fmt.Sprintf("%s closes nothing", tok.Value), ""}
			}
			partner := open[len(open)-1]
			open = open[:len(open)-1]
			if opener := t.tokens[partner].Value; opener+tok.Value != "()" && opener+tok.Value != "[]" && opener+tok.Value != "{}" {
				return &syntaxError{codeSyntax, start, end, fmt.Sprintf("%s does not close %s", tok.Value, opener), ""}
			}
			t.match[i], t.match[partner] = partner, i
		case tok.Kind == lexer.Number:
			if msg := numberFault(tok.Value); msg != "" {
				return &syntaxError{codeSyntax, start, end, msg, ""}
			}
		}
		if len(open) > maxNesting || prefixes > maxNesting {
			return &syntaxError{codeTooLarge, start, end, fmt.Sprintf("expression is nested more than %d deep", maxNesting), ""}
		}
	}
	if len(open) > 0 {
		last := open[len(open)-1]
		start, end := t.tokenSpan(last)
		return &syntaxError{codeSyntax, start, end, fmt.Sprintf("%s is not closed", t.tokens[last].Value), ""}
	}
	return nil
}

// numberFault says what is wrong with a number literal, "" when nothing is.
func numberFault(literal string) string {
	text := strings.ToLower(strings.ReplaceAll(literal, "_", ""))
	var err error
	switch {
	case strings.HasPrefix(text, "0x"), strings.HasPrefix(text, "0b"), strings.HasPrefix(text, "0o"):
		_, err = strconv.ParseInt(text, 0, 64)
	case strings.ContainsAny(text, ".e"):
		_, err = strconv.ParseFloat(text, 64)
	default:
		_, err = strconv.ParseInt(text, 10, 64)
	}
	switch {
	case err == nil:
		return ""
	case errors.Is(err, strconv.ErrRange):
		return fmt.Sprintf("number %s is out of range: integers have 64 bits, floats are doubles", literal)
	}
	return fmt.Sprintf("%s is not a number", literal)
}

// withStandIns gives the text with calls of contains() and count() renamed.
func (t *syntaxTree) withStandIns() string {
	var b strings.Builder
	done := 0
	for i, tok := range t.tokens {
		if i+2 >= len(t.tokens) || !t.tokens[i+1].Is(lexer.Bracket, "(") {
			continue
		}
		standIn := ""
		switch {
		case tok.Is(lexer.Operator, "contains") && (i == 0 || t.expectsOperand(i-1)):
			standIn = containsStandIn
		case tok.Is(lexer.Identifier, "count") && t.tokens[i+2].Is(lexer.Bracket, ")") && (i == 0 || !t.tokens[i-1].Is(lexer.Operator, "|")):
			standIn = countStandIn
		}
		if standIn != "" {
			start, end := t.tokenSpan(i)
			b.WriteString(t.text[done:start])
			b.WriteString(standIn)
			done = end
		}
	}
	b.WriteString(t.text[done:])
	return b.String()
}

// expectsOperand says whether what follows token i is an operand.
func (t *syntaxTree) expectsOperand(i int) bool {
	tok := t.tokens[i]
	return tok.Kind == lexer.Operator || tok.Kind == lexer.Bracket && strings.Contains("([{", tok.Value)
}

// syntaxError turns an error of expr-lang into ours: in bytes, in our words,
// with advice for habits from other languages.
func (t *syntaxTree) syntaxError(err error) *syntaxError {
	var located *file.Error
	if !errors.As(err, &located) {
		return &syntaxError{codeSyntax, 0, len(t.text), fmt.Sprintf("parse expression: %v", err), ""}
	}
	if strings.Contains(located.Message, "exceeds maximum allowed nodes") {
		return &syntaxError{codeTooLarge, 0, len(t.text), "expression has too many parts: at most 10000 are allowed", ""}
	}
	out := &syntaxError{code: codeSyntax, msg: located.Message}
	out.start, out.end = t.byteAt(located.From), t.byteAt(located.To)
	if strings.Contains(located.Message, "and coalesce expressions (??) cannot be mixed") {
		out.msg = fmt.Sprintf("?? and %s cannot stand side by side", t.text[out.start:out.end])
		out.help = "put one of them into parentheses"
		return out
	}
	if strings.HasPrefix(located.Message, "unexpected token EOF") || strings.HasPrefix(located.Message, "unexpected end") {
		out.start, out.end, out.msg = len(t.text), len(t.text), "expression ends too early"
		return out
	}
	if strings.HasPrefix(located.Message, "expected at least") {
		out.msg = "an argument is missing"
		return out
	}
	i := t.tokenAt(located.From)
	if i < 0 || !strings.HasPrefix(located.Message, "unexpected token") {
		return out
	}
	tok := t.tokens[i]
	out.start, out.end = t.tokenSpan(i)
	out.msg = fmt.Sprintf("unexpected %q", t.text[out.start:out.end])
	out.help = syntaxHelp(tok.Value)
	if help := t.otherSyntax(i); help != "" {
		out.help = help
	}
	if tok.Value == "*" && i >= 1 && t.tokens[i-1].Is(lexer.Bracket, "(") {
		out.help = "count() counts records; of a column, it counts those in which that is not null"
	}
	if tok.Value == ":" && i >= 2 && t.tokens[i-2].Is(lexer.Bracket, "{") {
		out.help = "in a predicate { begins a block: put the object into parentheses, ({name: x})"
	}
	return out
}

// syntaxHelp is advice for words of other languages.
func syntaxHelp(word string) string {
	switch strings.ToUpper(word) {
	case "=":
		return "compare with =="
	case "BETWEEN":
		return "write x >= 1 && x <= 3"
	case "AND", "OR", "NOT", "IN":
		return fmt.Sprintf("write %s", strings.ToLower(word))
	case "IS":
		return "compare with nil: x == nil, x != nil"
	case "LIKE", "=~":
		return `write x matches "regular expression", x contains "part" or x startsWith "beginning"`
	case "&":
		return "write &&"
	case ";":
		return "only a let ends with ;"
	}
	return ""
}

// otherSyntax is advice for what other languages write at token i and around it.
func (t *syntaxTree) otherSyntax(i int) string {
	is := func(at int, word string) bool { return at >= 0 && strings.EqualFold(t.tokens[at].Value, word) }
	before := func(word string) bool { // not as the name of a field
		for at := range i + 1 {
			if is(at, word) && !is(at-1, ".") {
				return true
			}
		}
		return false
	}
	call := t.around(i) // the name in front of the bracket that i stands in
	switch {
	case is(i, ">") && is(i-1, "<"):
		return "write !="
	case before("CASE"):
		return "write condition ? a : b; several cases are nested, c1 ? a : (c2 ? b : c)"
	case is(call, "CAST") || is(call, "TRY_CAST"):
		return "convert with int(x), float(x), string(x) or bool(x)"
	case is(i-1, "distinct") && is(call, "count"):
		return "write count_distinct(x)"
	case is(call-1, "in"), is(call, "in"):
		return "a list is written in brackets: x in [1, 2]"
	case is(i, ":") && is(i-1, ":"), is(i, "::"):
		return "convert with int(x), float(x), string(x) or bool(x)"
	case is(i, ":") && call >= 0 && is(i-1, "approx"):
		return "arguments have no names: write count_distinct(x, \"approx\")"
	case is(i, ":") && call >= 0 && t.tokens[i-1].Is(lexer.Identifier):
		return "arguments have no names: write the values alone, in their order"
	}
	return ""
}

// around gives the token in front of the innermost ( that token i stands in, -1 = none.
func (t *syntaxTree) around(i int) int {
	for at := i - 1; at >= 0; at-- {
		switch tok := t.tokens[at]; {
		case tok.Kind != lexer.Bracket:
		case strings.Contains(")]}", tok.Value):
			at = t.match[at]
		case tok.Value == "(":
			return at - 1
		default:
			return -1
		}
	}
	return -1
}

// tokenAt gives the index of the token that begins at or holds the rune, -1
// when there is none.
func (t *syntaxTree) tokenAt(r int) int {
	lo, hi := 0, len(t.tokens)
	if hi > 0 && t.tokens[hi-1].Kind == lexer.EOF {
		hi-- // it lies over the last rune
	}
	last := hi - 1
	for lo < hi {
		mid := (lo + hi) / 2
		if t.tokens[mid].To <= r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return min(lo, last)
}

// tokenSpan is the byte range of token i.
func (t *syntaxTree) tokenSpan(i int) (start, end int) {
	return t.byteAt(t.tokens[i].From), t.byteAt(t.tokens[i].To)
}

// extent is a range of tokens, both ends included.
type extent struct{ first, last int }

// cover is the smallest extent that holds both.
func (e extent) cover(o extent) extent {
	return extent{min(e.first, o.first), max(e.last, o.last)}
}

// balance widens e until every bracket in it has its partner in it: the tree
// has no nodes for parentheses. kids are extents inside e that are balanced
// already; skipping them keeps the work linear in the text.
func (t *syntaxTree) balance(e extent, kids ...extent) extent {
	for i := e.first; i <= e.last; i++ {
		for _, kid := range kids {
			if i >= kid.first && i < kid.last {
				i = kid.last
			}
		}
		if m := t.match[i]; m >= 0 {
			e.first, e.last = min(e.first, m), max(e.last, m)
		}
	}
	return e
}

// span is e in bytes.
func (t *syntaxTree) span(e extent) (start, end int) {
	start, _ = t.tokenSpan(e.first)
	_, end = t.tokenSpan(e.last)
	return start, end
}

// extentOf finds all the text of a node.
func (t *syntaxTree) extentOf(n ast.Node) extent {
	if e, ok := t.extents[n]; ok {
		return e
	}
	at := t.tokenAt(n.Location().From)
	e := extent{at, at}
	var kids []extent
	add := func(kid ast.Node) {
		if kid != nil {
			kids = append(kids, t.extentOf(kid))
		}
	}
	switch n := n.(type) {
	case *ast.UnaryNode:
		add(n.Node)
	case *ast.BinaryNode:
		add(n.Left)
		add(n.Right)
	case *ast.ChainNode:
		add(n.Node)
	case *ast.MemberNode:
		add(n.Node)
	case *ast.SliceNode:
		add(n.Node)
	case *ast.CallNode:
		e = t.callExtent(e, n.Arguments)
	case *ast.BuiltinNode:
		e = t.callExtent(e, n.Arguments)
	case *ast.PredicateNode:
		add(n.Node)
	case *ast.PointerNode:
		if n.Name != "" {
			e.last = min(e.last+1, len(t.tokens)-1)
		}
	case *ast.ConditionalNode:
		add(n.Cond)
		add(n.Exp2)
		e = kids[0]
		for !n.Ternary && e.first > 0 && !t.tokens[e.first].Is(lexer.Operator, "if") {
			e.first--
		}
	case *ast.VariableDeclaratorNode:
		add(n.Expr)
		e.first = max(at-1, 0)
	case *ast.SequenceNode:
		for _, node := range n.Nodes {
			add(node)
		}
	}
	for _, kid := range kids {
		e = e.cover(kid)
	}
	e = t.balance(e, kids...)
	t.extents[n] = e
	return e
}

// callExtent covers a call from its first argument, which a pipe puts in front
// of the name, to its closing parenthesis.
func (t *syntaxTree) callExtent(name extent, args []ast.Node) extent {
	e := name
	if name.first+1 < len(t.tokens) && t.match[name.first+1] > 0 {
		e.last = t.match[name.first+1]
	}
	if len(args) > 0 && args[0].Location().From < t.tokens[name.first].From {
		e = e.cover(t.extentOf(args[0]))
	}
	return e
}
