package operators

import (
	"bytes"
	"errors"
	"slices"

	"streamctl/expr"
	"streamctl/internal/match"
	"streamctl/internal/value"
)

// Search finds the stored queries that documents satisfy where the documents are: the
// table of the queries is replicated, so that the task has all of them. What goes on is
// the document itself, with the list of keys in a row beside it.
type Search struct {
	Policy *Policy
	Text   *expr.Program // as in Scatter
	Index  *QueryIndex
	// Keys is where those behind find the list; when nobody does, nothing is searched.
	Keys ElementRow
}

// Make implements Spec.
func (s *Search) Make(t *Task, next Operator) (Operator, error) {
	q, err := t.queries(s.Index)
	if err != nil {
		return nil, err
	}
	return &search{spec: s, task: t, next: next, queries: q, used: s.Keys.Used()}, nil
}

type search struct {
	spec    *Search
	task    *Task
	next    Operator
	queries *queryIndex
	used    bool
	reader  textCutter

	text  []byte // what is searched
	found []string
	texts []byte // of the keys, one behind the other
	keys  []matchedKey
	list  []byte // the JSON that row is of
	row   value.Row
}

// Process hands on e with the keys that it has found.
func (s *search) Process(e *Event) error {
	if e.Null {
		s.task.Counters.Drop(s.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	if err := s.find(e); err != nil {
		return s.task.refuseEvent(s.spec.Policy, e, ReasonExpression, err)
	}
	change := e.Change // of a window that is final: what is found is a fact
	e.Change = false
	err := s.next.Process(e)
	e.Change = change
	return err
}

// find puts the keys of the queries that e satisfies into its frame.
func (s *search) find(e *Event) error {
	text, err := searchedText(s.spec.Text, &e.Frame)
	if err != nil || !s.used {
		return err
	}
	if err := s.queries.ready(); err != nil {
		return err
	}
	index := s.queries.index
	index.Begin()
	if err := s.add(index, text); err != nil {
		return err
	}
	s.found = index.AppendMatches(s.found[:0])
	if err := s.collect(); err != nil {
		return err
	}
	s.list = appendMatchedKeys(s.list[:0], s.keys)
	e.Frame.Rows[s.spec.Keys.Row] = &s.row
	return s.spec.Keys.Shape.Scan(s.list, &s.row)
}

// add puts what is searched into the index.
func (s *search) add(index *match.Index, text value.Value) error {
	if text.Kind == value.String {
		s.text = append(s.text[:0], text.Text...)
		index.Add("", s.text)
		return nil
	}
	s.text = value.AppendJSON(s.text[:0], text)
	return s.reader.eachText(s.text, index.Add)
}

// collect reads the keys that were found, in whatever order.
func (s *search) collect() error {
	size := 0
	for _, key := range s.found {
		size += len(key)
	}
	if cap(s.texts) < size {
		s.texts = make([]byte, 0, 2*size)
	}
	s.texts, s.keys = s.texts[:0], s.keys[:0]
	for _, key := range s.found {
		from := len(s.texts)
		s.texts = append(s.texts, key...)
		text := s.texts[from:len(s.texts):len(s.texts)]
		v, err := value.ParseStored(text)
		if err != nil {
			return &stateError{errors.Join(errors.New("read key of a stored query"), err)}
		}
		s.keys = append(s.keys, matchedKey{v, text})
	}
	return nil
}

// searchedText is what of a document is searched: a text, or an object.
func searchedText(text *expr.Program, f *expr.Frame) (value.Value, error) {
	v, err := text.Eval(f)
	switch {
	case err != nil:
		return v, err
	case v.Kind == value.String:
	case v.IsNull():
		v = value.OfString("")
	case !isObject(v):
		return v, faultf(ReasonWrongType, "%s is %s: only a text, or an object of texts, can be searched", text.Text(), v.Short())
	}
	return v, nil
}

// matchedKey is a key with its canonical text.
type matchedKey struct {
	value value.Value
	text  []byte
}

// appendMatchedKeys writes keys as a list in JSON, in order.
func appendMatchedKeys(dst []byte, keys []matchedKey) []byte {
	slices.SortFunc(keys, compareKeys)
	dst = append(dst, '[')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = value.AppendJSON(dst, k.value)
	}
	return append(dst, ']')
}

// compareKeys orders numbers and texts by value, and what cannot be compared by its text.
func compareKeys(a, b matchedKey) int {
	if order, ok := value.Compare(a.value, b.value); ok {
		return order
	}
	return bytes.Compare(a.text, b.text)
}
