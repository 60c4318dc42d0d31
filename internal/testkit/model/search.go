package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// match is `match:`.
type match struct {
	queries input
	table   *definition
	text    *expression
	field   string // of a row, where it has its query
}

// matchedKeys is what a match calls its result.
const matchedKeys = "matched_keys"

var errNoQuery = errors.New("there is no query")

// DocumentsHop and PartsHop name the ways of documents to the queries and of what was found back.
func DocumentsHop(definition string) string { return definition + "/documents" }

// PartsHop is the second of the two.
func PartsHop(definition string) string { return definition + "/parts" }

// search tries every query there is on a record.
func (m *Model) search(d *definition, f flow) {
	if f.null {
		m.drop(d, "null-value")
		return
	}
	text, err := (&scope{env: f.now}).plain(d.match.text.node)
	if err != nil {
		m.refuse(d, f.change, "expression", err)
		return
	}
	doc := document{}
	switch text := text.(type) {
	case nil:
	case string:
		doc[""] = wordsOf(text)
	case object:
		for name, v := range text {
			if s, ok := v.(string); ok {
				doc[name] = wordsOf(s)
			}
		}
	default:
		m.refuse(d, f.change, "expression", fmt.Errorf("%s is no text", canon(text)))
		return
	}
	m.hop(DocumentsHop(d.name), f.change, nil, func(c change) {
		keys := []any{}
		for _, r := range m.tables[d.match.table].all() {
			query, err := field(r.value, d.match.field)
			words, ok := query.(string)
			if err != nil || !ok {
				continue
			}
			if q, err := parseSearch(words); err == nil && q.fits(doc) {
				keys = append(keys, r.key)
			}
		}
		m.hop(PartsHop(d.name), c, nil, func(c change) {
			f.change = c
			f.now = f.now.with(matchedKeys, binding{value: keys})
			m.shape(d, f)
		})
	})
}

// document is the words of the fields of a document.
type document map[string][]string

func wordsOf(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// query is a stored query, as a tree.
type query struct {
	op     string // and, or, not; "" = words
	of     []*query
	words  []string // one behind the other
	prefix bool     // the last of them may go on
	field  string   // "" = any
}

func (q *query) fits(doc document) bool {
	fits := func(sub *query) bool { return sub.fits(doc) }
	switch q.op {
	case "and":
		return !slices.ContainsFunc(q.of, func(sub *query) bool { return !fits(sub) })
	case "or":
		return slices.ContainsFunc(q.of, fits)
	case "not":
		return !q.of[0].fits(doc)
	}
	for name, words := range doc {
		if q.field != "" && q.field != name {
			continue
		}
		for at := range words {
			if q.here(words[at:]) {
				return true
			}
		}
	}
	return false
}

// here says that the words of a query are the first of a text.
func (q *query) here(text []string) bool {
	if len(text) < len(q.words) {
		return false
	}
	for i, w := range q.words {
		begins := q.prefix && i == len(q.words)-1 && strings.HasPrefix(text[i], w)
		if text[i] != w && !begins {
			return false
		}
	}
	return true
}

// searchReader reads a query: or of ands of words, NOT words and parentheses.
type searchReader struct{ tokens []string }

// parseSearch reads a query.
func parseSearch(text string) (*query, error) {
	var r searchReader
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		end := strings.IndexAny(text, " ()")
		switch {
		case text[0] == '(' || text[0] == ')':
			end = 1
		case text[0] == '"':
			if end = strings.IndexByte(text[1:], '"') + 2; end == 1 {
				return nil, fmt.Errorf("a phrase has no end: %s", text)
			}
		case end < 0:
			end = len(text)
		}
		r.tokens, text = append(r.tokens, text[:end]), text[end:]
	}
	q, err := r.or()
	if err == nil && len(r.tokens) > 0 {
		err = fmt.Errorf("%s is too much", r.tokens[0])
	}
	return q, err
}

func (r *searchReader) next(token string) bool {
	if len(r.tokens) > 0 && r.tokens[0] == token {
		r.tokens = r.tokens[1:]
		return true
	}
	return false
}

func (r *searchReader) or() (*query, error) {
	q := &query{op: "or"}
	for {
		sub, err := r.and()
		if err != nil {
			return nil, err
		}
		if q.of = append(q.of, sub); !r.next("OR") {
			return q, nil
		}
	}
}

func (r *searchReader) and() (*query, error) {
	q := &query{op: "and"}
	for {
		sub, err := r.one()
		if err != nil {
			return nil, err
		}
		q.of = append(q.of, sub)
		if r.next("AND") {
			continue
		}
		if len(r.tokens) == 0 || r.tokens[0] == "OR" || r.tokens[0] == ")" {
			return q, nil
		}
	}
}

func (r *searchReader) one() (*query, error) {
	switch {
	case len(r.tokens) == 0:
		return nil, errors.New("the query ends too early")
	case r.next("NOT"):
		sub, err := r.one()
		return &query{op: "not", of: []*query{sub}}, err
	case r.next("("):
		q, err := r.or()
		if err == nil && !r.next(")") {
			err = errors.New("a parenthesis has no end")
		}
		return q, err
	}
	token := r.tokens[0]
	r.tokens = r.tokens[1:]
	if slices.Contains([]string{")", "AND", "OR"}, token) {
		return nil, fmt.Errorf("%s stands where words must be", token)
	}
	q := &query{}
	if !strings.HasPrefix(token, `"`) {
		name, word, found := strings.Cut(token, ":")
		if found {
			q.field, token = name, word
		}
	}
	q.prefix = strings.HasSuffix(token, "*")
	if q.words = wordsOf(token); len(q.words) == 0 {
		return nil, fmt.Errorf("%s has no words", token)
	}
	return q, nil
}
