package operators

import (
	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// Kept is how bindings come out of rows that an operator keeps as JSON: an
// object with a member for each binding and one for its key. Doc writes it.
type Kept struct {
	Shape *codec.Shape // of the object
	// Parts are the bindings that something behind reads, known once everything is
	// compiled.
	Parts func() []CarriedPart
}

// keptRow is memory for one row as those behind see it. An operator has one for
// each row that it shows at a time.
type keptRow struct {
	spec  *Kept
	parts []CarriedPart
	head  value.Row
	rows  []decodedRow
}

// open makes memory for one row, in the task's making.
func (s *Kept) open() *keptRow {
	k := &keptRow{spec: s, parts: s.Parts()}
	k.rows = make([]decodedRow, len(k.parts))
	return k
}

// place decodes doc, which is not copied, and puts its bindings into f. A nil
// doc is a row of nulls: what an outer join has without a partner.
func (k *keptRow) place(f *expr.Frame, doc []byte) error {
	if err := k.spec.Shape.Scan(doc, &k.head); err != nil {
		return scanFault(err)
	}
	for i, p := range k.parts {
		row := &k.rows[i]
		if err := p.Shape.Scan(jsonOf(k.head.Slots[p.Slot]), &row.row); err != nil {
			return scanFault(err)
		}
		f.Rows[p.Row] = &row.row
		if p.KeySlot < 0 {
			continue
		}
		setKey(&row.key, k.head.Slots[p.KeySlot], p.Components)
		f.Rows[p.KeyRow] = &row.key
	}
	return nil
}
