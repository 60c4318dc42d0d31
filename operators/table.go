package operators

import (
	"streamctl/internal/codec"
	"streamctl/internal/value"
	"streamctl/state"
)

// tableRow is a row of a table as joins see it, kept with the row in the
// state's cache: decoded once, with the texts that have been computed from it.
type tableRow struct {
	row  value.Row
	key  value.Row // slot 0: the whole key; behind it the components of a composite one
	memo [][]byte  // by Memo.Place; nil = not yet computed
}

// Table is how the rows of a topic table are decoded for the readers of one
// binding. Every binding has its own.
type Table struct {
	Name  string
	Shape *codec.Shape
	Row   int // frame row of the value
	// KeyRow is the frame row of the key.
	KeyRow     int
	KeyUsed    func() bool
	Components int // of a composite key, 0 = simple
	// Number is the memo table number; Memos tells how many texts are kept.
	Number int
	Memos  func() int
}

// decodeRow fills r from a row of the state.
func (s *Table) decodeRow(r *tableRow, key string, doc []byte) error {
	if err := s.Shape.Scan(doc, &r.row); err != nil {
		return scanFault(err)
	}
	if !s.KeyUsed() {
		return nil
	}
	return decodeStateKey(&r.key, key, s.Components)
}

// decodeStateKey reads a canonical key into the slots of a key row.
func decodeStateKey(row *value.Row, key string, components int) error {
	v, err := value.ParseJSON(key)
	if err != nil {
		return &fault{ReasonInvalidKey, err}
	}
	row.Slots = append(row.Slots[:0], v)
	for i := range components {
		row.Slots = append(row.Slots, v.Index(i))
	}
	return nil
}

// rowMemory estimates what a decoded row holds beside its bytes.
func (r *tableRow) memory() int {
	const header, slot = 160, 48
	return header + slot*(len(r.row.Slots)+len(r.key.Slots)) + 24*len(r.memo) + 8*len(r.row.Cuts)
}

// cached is the decoded forms of one state row: one per binding that reads the
// table in this task. Nearly always there is only one.
type cached struct {
	number int // memo table number
	tableRow
	more *cached
}

// decoded returns the row as this binding sees it.
func (s *Table) decoded(t *state.Table, r *state.Row) (*tableRow, error) {
	first, _ := r.Decoded.(*cached)
	for c := first; c != nil; c = c.more {
		if c.number == s.Number {
			return &c.tableRow, nil
		}
	}
	c := &cached{number: s.Number, more: first}
	if err := s.decodeRow(&c.tableRow, r.Key(), r.Value); err != nil {
		return nil, err
	}
	c.memo = make([][]byte, s.Memos())
	size := 0
	for at := c; at != nil; at = at.more {
		size += at.memory()
	}
	t.SetDecoded(r, c, size)
	return &c.tableRow, nil
}
