package pipeline

import (
	"slices"

	"streamctl/expr"
	"streamctl/internal/codec"
)

// binding is one named input of a query: what its fields, its key and its
// whole value are, and where they lie in the frames of a layout.
type binding struct {
	alias string
	typ   expr.Type // of the whole value
	key   *keySpace // nil: there is no key to speak of
	// record is the key of the records where that may be another binding's: behind
	// an outer join of streams. nil = it is key.
	record *keySpace
	space  space
	used   bool // something has been resolved through it
	// lacks: see expr.Binding.
	lacks func(field string) string
	// plain: key and value are no names of its own, as those of an element are not.
	plain bool
}

// space finds the names of a value.
type space interface {
	// at resolves a path into the value; empty = the whole. A nil result without
	// a problem: there is no such name.
	at(path []codec.Step) (res *expr.Resolved, problem string)
	// has says whether the value has a member of that name.
	has(name string) presence
	// names lists the members that are known.
	names() []string
	// pieces lists what `alias.*` writes.
	pieces() []piece
}

// presence is what is known of a member before a record is seen.
type presence uint8

const (
	absent  presence = iota // never there as far as expressions are concerned
	unknown                 // nothing is declared
	present                 // declared
)

// keySpace is where a key lies: slot 0 of its row is the whole key, the slots
// behind it are the components of a composite one.
type keySpace struct {
	row        int
	components []expr.Type // of a composite key, nil for a simple one
	typ        expr.Type
	used       bool
	// own, when set, says where key and components lie instead of row.
	own func(path []codec.Step) *expr.Resolved
}

// at resolves a path into the key.
func (k *keySpace) at(path []codec.Step) (*expr.Resolved, string) {
	k.used = true
	if k.own != nil {
		return k.own(path), ""
	}
	if len(path) > 0 && path[0].IsIndex && path[0].Index >= 0 && path[0].Index < len(k.components) {
		at, problem, ok := typeAt(k.components[path[0].Index], path[1:])
		if !ok {
			return nil, problem
		}
		return &expr.Resolved{Ref: expr.Ref{Row: k.row, Slot: 1 + path[0].Index}, Type: at, Rest: path[1:]}, ""
	}
	at, problem, ok := typeAt(k.typ, path)
	if !ok {
		return nil, problem
	}
	return &expr.Resolved{Ref: expr.Ref{Row: k.row}, Type: at, Rest: path}, ""
}

// recordKey is the key of the records that a binding is the first of.
func (b *binding) recordKey() *keySpace {
	if b.record != nil {
		return b.record
	}
	return b.key
}

// expr makes the binding usable in a scope.
func (b *binding) expr() *expr.Binding {
	return &expr.Binding{Alias: b.alias, Resolve: b.resolve, Names: b.names, Lacks: b.lacks}
}

// resolve finds a path: a member, else `key` or `value`, else a member that
// nobody declared.
func (b *binding) resolve(path []codec.Step) (*expr.Resolved, string) {
	res, problem := b.find(path)
	if res != nil {
		b.used = true
	}
	return res, problem
}

func (b *binding) find(path []codec.Step) (*expr.Resolved, string) {
	if len(path) == 0 || path[0].IsIndex {
		return b.space.at(path)
	}
	name := path[0].Name
	if b.space.has(name) != present && !b.plain {
		switch {
		case name == "key" && b.key != nil:
			return b.key.at(path[1:])
		case name == "value":
			return b.space.at(path[1:])
		}
	}
	return b.space.at(path)
}

func (b *binding) names() []string {
	names := slices.Clone(b.space.names())
	if b.key != nil {
		names = append(names, "key")
	}
	return append(names, "value")
}

// document is the space of a row that holds a JSON document.
type document struct {
	row   int
	shape *codec.Shape
	typ   expr.Type
}

func (d *document) at(path []codec.Step) (*expr.Resolved, string) {
	t, problem, ok := typeAt(d.typ, path)
	if !ok {
		return nil, problem
	}
	return &expr.Resolved{Ref: expr.Ref{Row: d.row, Slot: d.shape.Slot(path, wantOf(t))}, Type: t}, ""
}

func (d *document) has(name string) presence {
	if _, ok := fieldOf(d.typ, name); ok {
		return present
	}
	if d.typ.Kind == expr.Any || d.typ.Kind == expr.Object && d.typ.Open {
		return unknown
	}
	return absent
}

func (d *document) names() []string { return fieldNames(d.typ) }

func (d *document) pieces() []piece { return []piece{{doc: d}} }

// newDocument makes the binding of a row with a JSON document, and of its key.
func (l *layout) newDocument(alias string, typ, key expr.Type, components []expr.Type) *binding {
	b := &binding{alias: alias, typ: typ, key: &keySpace{row: l.row(), typ: key, components: components}}
	doc := &document{row: l.row(), shape: l.shape(), typ: typ}
	b.space, l.documents[doc.row] = doc, doc.shape
	return b
}

// scopeOf is the scope of expressions over some bindings.
func scopeOf(bindings ...*binding) *expr.Scope {
	s := &expr.Scope{}
	for _, b := range bindings {
		s.Bindings = append(s.Bindings, b.expr())
	}
	return s
}
