package pipeline

import (
	"slices"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/operators"
)

// Boundaries.
//
// Most operators see a record as it came: its bindings are rows of the input's
// frame, a select list costs nothing until somebody reads it, and behind a union
// each way has operators of its own. An operator that has to keep whole rows in
// the state (a materialised table, a join of two streams, a foreign-key join)
// cannot hold such a view: it is another one for each way of a union, and it points into
// a record that is gone when the row is needed. There the compiler draws a
// boundary:
//
//	in front: views, one per branch of the definition    x: selection over a source's row
//	              | write: operators.Doc                  y: row of a joined table
//	          JSON in the state and its changelog
//	              | read: operators.Kept
//	behind: one view of documents for all branches       x: document, y: document
//
// What is kept is the whole of every binding and its key, whoever reads it: the
// state then depends on the definition alone, not on its readers. What is
// decoded of it behind is what is read there. The branches come together:
// behind a boundary a definition has one branch (typedDef.branches = 1), and the
// types are those that unite those of all branches.
//
// Where one value is all that is kept (a materialised table keeps what select
// makes) there is no object around it: see keepTable.

// keptBinding is a binding as a boundary keeps it.
type keptBinding struct {
	alias      string
	value, key expr.Type
	components []expr.Type // of a composite key
	keyed      bool        // it has a key
	plain      bool
}

// uniteKept notes what one branch has in front of a boundary; old is what the
// branches before it had, nil for the first.
func uniteKept(old []keptBinding, view []*binding) []keptBinding {
	out := make([]keptBinding, len(view))
	for i, v := range view {
		out[i] = keptBinding{alias: v.alias, value: v.typ, key: typeOfKey(v), components: compositeOf(v.key), keyed: v.key != nil, plain: v.plain}
		if i >= len(old) {
			continue
		}
		was := old[i]
		out[i].value, out[i].key = unite(was.value, out[i].value), unite(was.key, out[i].key)
		out[i].keyed = out[i].keyed && was.keyed
		if len(was.components) != len(out[i].components) {
			out[i].components = nil
			continue
		}
		for n := range out[i].components {
			out[i].components[n] = unite(was.components[n], out[i].components[n])
		}
	}
	return out
}

// compositeOf are the types of the components of a composite key, nil for a simple one.
func compositeOf(k *keySpace) []expr.Type {
	if k == nil || len(k.components) == 0 || k.own != nil && len(k.components) == 1 {
		return nil
	}
	return slices.Clone(k.components)
}

// boundary is a boundary in one layout: how the rows that are kept there come
// out as bindings.
type boundary struct {
	kept  []keptBinding
	head  *document   // of the object that is kept
	view  []*binding  // behind
	parts []boundPart // by binding
}

type boundPart struct{ value, key int } // slots of the head; key is -1 without one

// bound draws a boundary in l. Its view is what the definition sees behind it.
func (l *layout) bound(kept []keptBinding) *boundary {
	b := &boundary{kept: kept, head: &document{row: l.row(), shape: l.shape()}}
	for _, k := range kept {
		v := l.newDocument(k.alias, k.value, k.key, k.components)
		v.plain = k.plain
		part := boundPart{value: b.head.shape.Slot([]codec.Step{{Name: k.alias}}, codec.WantAny), key: -1}
		if k.keyed {
			part.key = b.head.shape.Slot([]codec.Step{{Name: keyMember(k.alias)}}, codec.WantAny)
		} else {
			v.key = nil
		}
		b.view, b.parts = append(b.view, v), append(b.parts, part)
	}
	return b
}

// keepBindings is how a branch with this view in front writes what is kept:
// {"x":VALUE,"x key":KEY,"y":...}.
func keepBindings(l *layout, view []*binding) *operators.Doc {
	doc := &operators.Doc{Whole: -1}
	member := func(name string, value operators.MemberValue) {
		l.direct[value.Ref.Row] = true
		doc.Parts = append(doc.Parts, operators.Part{Name: memberName(name), Value: value})
	}
	for _, v := range view {
		whole, _ := v.space.at(nil)
		v.used = true
		member(v.alias, operators.MemberValue{IsRef: true, Ref: whole.Ref})
		if v.key != nil {
			refs := v.key.refs()
			member(keyMember(v.alias), operators.MemberValue{IsRef: len(refs) == 1, Ref: refs[0], Refs: refs})
		}
	}
	return doc
}

// read is how rows that are kept come out. Rows of bindings that nobody reads
// are left as they are: null.
func (b *boundary) read() *operators.Kept {
	return &operators.Kept{Shape: b.head.shape, Parts: func() []operators.CarriedPart {
		var parts []operators.CarriedPart
		for i, v := range b.view {
			doc := v.space.(*document)
			part := operators.CarriedPart{Slot: b.parts[i].value, Row: doc.row, Shape: doc.shape, KeySlot: -1}
			if v.key != nil && v.key.used {
				part.KeySlot, part.KeyRow, part.Components = b.parts[i].key, v.key.row, len(v.key.components)
			}
			if v.used || part.KeySlot >= 0 {
				parts = append(parts, part)
			}
		}
		return parts
	}}
}

// keepTable is how a branch writes the one value that out is, without an object
// around it: the row of a materialised table.
func keepTable(l *layout, out *binding) *operators.Doc {
	out.used = true
	return docOfBinding(l, out)
}
