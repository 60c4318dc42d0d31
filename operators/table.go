package operators

import (
	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/value"
	"streamctl/state"
)

// Table is how the rows of a topic table are seen by one reader: a join, or
// what takes the table's changes. Every reader has its own.
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
	// Lazy says that all that is read of a row are kept texts: it is then decoded
	// only while one of them is missing, and what is decoded is not kept.
	Lazy func() bool
}

// tableRow is a row of a table as one reader sees it, kept with the row in the
// state's cache. Its fields are in the order in which the hot path meets them:
// they share a cache line.
type tableRow struct {
	number int       // memo table number of the reader
	first  []byte    // text at place 0; nil = not yet computed
	more   *tableRow // of other readers in the task; nearly always nil
	texts  [][]byte  // at the places behind
	// row and key are the decoded row; nil of a lazy reader.
	row, key *value.Row
}

// decodedRow is memory for a row and its key: slot 0 of key is the whole key,
// the components of a composite one are behind it.
type decodedRow struct{ row, key value.Row }

// text is the kept text at a place, nil when there is none yet.
func (r *tableRow) text(place int) []byte {
	if place == 0 {
		return r.first
	}
	return r.texts[place-1]
}

// keep keeps a copy of text at a place.
func (r *tableRow) keep(place int, text []byte) {
	text = append(make([]byte, 0, len(text)), text...)
	if place == 0 {
		r.first = text
	} else {
		r.texts[place-1] = text
	}
}

// newRow makes a row without content.
func (s *Table) newRow() *tableRow {
	r := &tableRow{number: s.Number}
	if n := s.Memos(); n > 1 {
		r.texts = make([][]byte, n-1)
	}
	return r
}

// decode fills d from a row of the state; a nil doc is a row of nulls.
func (s *Table) decode(d *decodedRow, key string, doc []byte) error {
	if err := s.Shape.Scan(doc, &d.row); err != nil {
		return scanFault(err)
	}
	if !s.KeyUsed() {
		return nil
	}
	if doc == nil && key == "" {
		d.key.Slots = d.key.Slots[:0] // what is not there reads as null
		return nil
	}
	v, err := value.ParseStored(key)
	if err != nil {
		return &fault{ReasonInvalidKey, err}
	}
	setKey(&d.key, v, s.Components)
	return nil
}

// setKey fills a key row.
func setKey(row *value.Row, key value.Value, components int) {
	row.Slots = append(row.Slots[:0], key)
	for i := range components {
		row.Slots = append(row.Slots, key.Index(i))
	}
}

// cached returns the row as this reader sees it; it is decoded at first sight,
// unless the reader is lazy.
func (s *Table) cached(t *state.Table, r *state.Row, lazy bool) (*tableRow, error) {
	first, _ := r.Decoded.(*tableRow)
	for c := first; c != nil; c = c.more {
		if c.number == s.Number {
			return c, nil
		}
	}
	c := s.newRow()
	c.more = first
	if !lazy {
		d := &decodedRow{}
		if err := s.decode(d, r.Key(), rowDoc(r.Value)); err != nil {
			return nil, err
		}
		c.row, c.key = &d.row, &d.key
	}
	t.SetDecoded(r, c, c.memory())
	return c, nil
}

// memory estimates what a row holds beside its bytes, in bytes.
func (r *tableRow) memory() int {
	const row, decoded, slot, text = 96, 208, 48, 64
	size := 0
	for ; r != nil; r = r.more {
		size += row + text*(1+len(r.texts)) + 24*len(r.texts)
		if r.row != nil {
			size += decoded + slot*(cap(r.row.Slots)+cap(r.key.Slots)) + 8*cap(r.row.Cuts)
		}
	}
	return size
}

// lazyRow decodes the row that a lazy join found, when a text is missing.
type lazyRow struct {
	table *Table
	key   string
	doc   []byte
	decodedRow
}

// place decodes the row into f.
func (l *lazyRow) place(f *expr.Frame) error {
	if err := l.table.decode(&l.decodedRow, l.key, l.doc); err != nil {
		return err
	}
	f.Rows[l.table.Row], f.Rows[l.table.KeyRow] = &l.row, &l.decodedRow.key
	return nil
}
