package operators

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
)

// joinSide is one side at work.
type joinSide struct {
	keep bool
	// late is how far stream time may be past a record's time for it to be
	// joined still, ms.
	late int64
	rows sideRows // of the record that is shown
	none sideRows // what there is instead of a record
}

// sideRows shows one record of a side to those behind.
type sideRows struct {
	single *SingleDoc
	keyed  bool
	row    decodedRow
	many   *keptRow
}

func (s *StreamSide) open() (*joinSide, error) {
	side := &joinSide{keep: s.Keep}
	for _, rows := range []*sideRows{&side.rows, &side.none} {
		if s.Single == nil {
			rows.many = s.Kept.open()
			continue
		}
		rows.single, rows.keyed = s.Single, s.Single.KeyUsed()
	}
	if side.none.single != nil {
		if err := side.none.single.Shape.Scan(nil, &side.none.row.row); err != nil {
			return nil, fmt.Errorf("open join: %w", err)
		}
	}
	return side, nil
}

// read decodes what is kept of a record.
func (r *sideRows) read(k *kept, origins []Origin, f *expr.Frame) error {
	if r.single == nil {
		return r.many.place(f, k.doc)
	}
	if err := r.single.Shape.Scan(k.doc, &r.row.row); err != nil {
		return scanFault(err)
	}
	f.Rows[r.single.Row] = &r.row.row
	if !r.keyed {
		return nil
	}
	key, err := codec.DecodeKey(origins[k.topic].KeyFormat, k.key)
	if err != nil {
		return &fault{ReasonInvalidKey, err}
	}
	setKey(&r.row.key, key, 0)
	f.Rows[r.single.KeyRow] = &r.row.key
	return nil
}

// absent shows that there is no record.
func (r *sideRows) absent(f *expr.Frame) error {
	if r.single == nil {
		return r.many.place(f, nil)
	}
	f.Rows[r.single.Row] = &r.row.row
	f.Rows[r.single.KeyRow] = &r.row.key
	return nil
}
