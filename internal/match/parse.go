package match

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of one query. They keep a slip, or malice, from costing every document.
const (
	MaxQueryBytes = 64 << 10
	MaxTerms      = 1024 // words, phrases and prefixes
	MaxDepth      = 100  // of parentheses and NOTs
)

// Query is a parsed query. It is immutable.
type Query struct {
	root *node
}

// nodeKind says what a node of a query is.
type nodeKind uint8

const (
	andNode nodeKind = iota
	orNode
	notNode
	wordNode
	prefixNode
	phraseNode
)

// node is a part of a query.
type node struct {
	kind  nodeKind
	kids  []*node
	field string   // of a term, "" = any
	words []string // of a term, folded: one, or several of a phrase
}

// SyntaxError is a fault in a query.
type SyntaxError struct {
	At  int // bytes from the beginning of the query
	Col int // characters from the beginning, counted from 1
	Msg string
}

// Error says where and what.
func (e *SyntaxError) Error() string { return fmt.Sprintf("at character %d: %s", e.Col, e.Msg) }

// Parse reads a query, of which it keeps nothing: the text may lie in memory that is
// written again. The error is a *SyntaxError.
func Parse(text string) (*Query, error) {
	p := &parser{text: text}
	root, err := p.query()
	if err != nil {
		return nil, err
	}
	return &Query{root}, nil
}

// String writes the query in one way: fully parenthesised, folded.
func (q *Query) String() string {
	var b strings.Builder
	q.root.write(&b)
	return b.String()
}

func (n *node) write(b *strings.Builder) {
	if n.field != "" {
		b.WriteString(n.field + ":")
	}
	switch n.kind {
	case wordNode:
		b.WriteString(n.words[0])
	case prefixNode:
		b.WriteString(n.words[0] + "*")
	case phraseNode:
		b.WriteString(`"` + strings.Join(n.words, " ") + `"`)
	case notNode:
		b.WriteString("NOT ")
		n.kids[0].write(b)
	default:
		b.WriteByte('(')
		for i, kid := range n.kids {
			if i > 0 {
				b.WriteString([]string{" AND ", " OR "}[n.kind])
			}
			kid.write(b)
		}
		b.WriteByte(')')
	}
}

// parser reads one query by recursive descent.
type parser struct {
	text  string
	tok   token
	next  int    // where the text goes on behind tok
	prev  string // how the token before tok is called
	field string // that holds for what is being read
	terms int
	depth int
	cut   cutter
}

// tokenKind is what the text is cut into.
type tokenKind uint8

const (
	endToken tokenKind = iota
	openToken
	closeToken
	quotedToken
	wordToken
	fieldToken // a word with the colon behind it
	andToken
	orToken
	notToken
)

// token is a piece of the text.
type token struct {
	kind tokenKind
	at   int
	text string // without quotes and colon
}

// fail makes an error.
func (p *parser) fail(at int, format string, args ...any) error {
	return &SyntaxError{At: at, Col: utf8.RuneCountInString(p.text[:at]) + 1, Msg: fmt.Sprintf(format, args...)}
}

// query reads the whole text.
func (p *parser) query() (*node, error) {
	if len(p.text) > MaxQueryBytes {
		return nil, p.fail(0, "the query is longer than %d bytes", MaxQueryBytes)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == endToken {
		return nil, p.fail(0, "the query is empty")
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.tok.kind == closeToken {
		return nil, p.fail(p.tok.at, `")" closes nothing`)
	}
	return n, nil
}

func (p *parser) or() (*node, error) {
	return p.chain(orNode, p.and, func() bool { return p.tok.kind == orToken })
}

// and reads what must all occur; AND may be left out.
func (p *parser) and() (*node, error) {
	return p.chain(andNode, p.one, func() bool {
		switch p.tok.kind {
		case endToken, closeToken, orToken:
			return false
		}
		return true
	})
}

// chain reads operands as long as more says so.
func (p *parser) chain(kind nodeKind, operand func() (*node, error), more func() bool) (*node, error) {
	first, err := operand()
	if err != nil {
		return nil, err
	}
	n := &node{kind: kind, kids: []*node{first}}
	for more() {
		if p.tok.kind == andToken || p.tok.kind == orToken {
			if err := p.advance(); err != nil {
				return nil, err
			}
		}
		kid, err := operand()
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
	}
	if len(n.kids) == 1 {
		return first, nil
	}
	return n, nil
}

// one reads a term, a NOT or a parenthesis.
func (p *parser) one() (*node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		return nil, p.fail(p.tok.at, "the query is nested deeper than %d", MaxDepth)
	}
	switch t := p.tok; t.kind {
	case notToken:
		if err := p.advance(); err != nil {
			return nil, err
		}
		kid, err := p.one()
		if err != nil {
			return nil, err
		}
		return &node{kind: notNode, kids: []*node{kid}}, nil
	case openToken:
		return p.group()
	case fieldToken:
		return p.fielded()
	case wordToken, quotedToken:
		n, err := p.term(t)
		if err != nil {
			return nil, err
		}
		return n, p.advance()
	}
	return nil, p.missing()
}

// missing is the error of an operand that is not there.
func (p *parser) missing() error {
	const want = `expected a word, a phrase or "("`
	switch {
	case p.tok.kind == endToken:
		return p.fail(len(p.text), "%s after %s, but the query ends", want, p.prev)
	case p.prev == "":
		return p.fail(p.tok.at, "%s before %s", want, p.tok.name())
	}
	return p.fail(p.tok.at, "%s between %s and %s", want, p.prev, p.tok.name())
}

// group reads a parenthesis.
func (p *parser) group() (*node, error) {
	open := p.tok.at
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.tok.kind != closeToken {
		return nil, p.fail(open, `"(" is never closed`)
	}
	return n, p.advance()
}

// fielded reads what stands behind a field.
func (p *parser) fielded() (*node, error) {
	t := p.tok
	if p.field != "" {
		return nil, p.fail(t.at, "field %s stands inside field %s", t.text, p.field)
	}
	p.field = strings.Clone(t.text)
	defer func() { p.field = "" }()
	if err := p.advance(); err != nil {
		return nil, err
	}
	switch p.tok.kind {
	case openToken, wordToken, quotedToken:
	case fieldToken:
		return p.fielded()
	default:
		return nil, p.missing()
	}
	if p.tok.kind == openToken {
		return p.group()
	}
	n, err := p.term(p.tok)
	if err != nil {
		return nil, err
	}
	return n, p.advance()
}

// term makes the node of a word, a prefix or a phrase.
func (p *parser) term(t token) (*node, error) {
	if p.terms++; p.terms > MaxTerms {
		return nil, p.fail(t.at, "the query has more than %d terms", MaxTerms)
	}
	n := &node{kind: wordNode, field: p.field}
	text, prefix := t.text, false
	if t.kind == wordToken {
		text, prefix = strings.CutSuffix(t.text, "*")
	}
	if i := strings.IndexByte(text, '*'); i >= 0 {
		if t.kind == quotedToken {
			return nil, p.fail(t.at+1+i, "a prefix cannot stand inside a phrase")
		}
		return nil, p.fail(t.at+i, `"*" can only stand at the end of a word`)
	}
	p.cut.each([]byte(text), func(word []byte) { n.words = append(n.words, string(word)) })
	switch {
	case len(n.words) == 0:
		return nil, p.fail(t.at, "%s has no letter or digit that could be searched for", t.name())
	case prefix && len(n.words) > 1:
		return nil, p.fail(t.at, "%q is several words (%s): only one word can be a prefix", text, strings.Join(n.words, ", "))
	case prefix:
		n.kind = prefixNode
	case len(n.words) > 1:
		n.kind = phraseNode
	}
	return n, nil
}

// name is how errors call a token.
func (t token) name() string {
	switch t.kind {
	case openToken:
		return `"("`
	case closeToken:
		return `")"`
	case quotedToken:
		return `the phrase "` + t.text + `"`
	case fieldToken:
		return t.text + ":"
	case andToken, orToken, notToken:
		return t.text
	}
	return `"` + t.text + `"`
}

// advance reads the next token.
func (p *parser) advance() error {
	if p.next > 0 {
		p.prev = p.tok.name()
	}
	for p.next < len(p.text) {
		r, n := utf8.DecodeRuneInString(p.text[p.next:])
		if !unicode.IsSpace(r) {
			break
		}
		p.next += n
	}
	at := p.next
	if at == len(p.text) {
		p.tok = token{endToken, at, ""}
		return nil
	}
	switch p.text[at] {
	case '(':
		p.tok, p.next = token{openToken, at, "("}, at+1
		return nil
	case ')':
		p.tok, p.next = token{closeToken, at, ")"}, at+1
		return nil
	case '"':
		end := strings.IndexByte(p.text[at+1:], '"')
		if end < 0 {
			return p.fail(at, "the phrase is never closed")
		}
		p.tok, p.next = token{quotedToken, at, p.text[at+1 : at+1+end]}, at+end+2
		return nil
	}
	return p.word(at)
}

// word reads a token that begins with no sign of the grammar.
func (p *parser) word(at int) error {
	end := at
	for end < len(p.text) {
		r, n := utf8.DecodeRuneInString(p.text[end:])
		if unicode.IsSpace(r) || strings.ContainsRune(`()":`, r) {
			break
		}
		if strings.ContainsRune(`~^?[]{}\`, r) || r == utf8.RuneError && n == 1 {
			return p.fail(end, "%q means nothing here: put the text in quotes to search for it", r)
		}
		end += n
	}
	text := p.text[at:end]
	if end == at {
		return p.fail(at, `":" must follow the name of a field`)
	}
	if strings.ContainsAny(text[:1], "+-!") || text == "&&" || text == "||" {
		return p.fail(at, "%q is no operator of this grammar: write AND, OR or NOT, or put the text in quotes", text)
	}
	p.tok, p.next = token{wordToken, at, text}, end
	if end < len(p.text) && p.text[end] == ':' {
		if !isFieldName(text) {
			return p.fail(at, "%q cannot be the name of a field: put the text in quotes to search for it", text)
		}
		p.tok.kind, p.next = fieldToken, end+1
		return nil
	}
	switch text {
	case "AND":
		p.tok.kind = andToken
	case "OR":
		p.tok.kind = orToken
	case "NOT":
		p.tok.kind = notToken
	}
	return nil
}

// isFieldName tells the name of a member from a piece of text.
func isFieldName(s string) bool {
	for i, r := range s {
		switch {
		case unicode.IsLetter(r), r == '_':
		case i > 0 && (unicode.IsDigit(r) || r == '.' || r == '-'):
		default:
			return false
		}
	}
	return true
}
