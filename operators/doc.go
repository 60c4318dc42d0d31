package operators

import (
	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// Doc writes the JSON of a stream's value: the members of some rows as they
// came, byte for byte, and computed members beside them. It is made by the
// compiler from a select list and shared by the tasks.
type Doc struct {
	// Whole, when not negative, is the number of a row that is the value as it
	// stands, whatever it holds; Parts are then not used.
	Whole int
	Parts []Part
}

// Part is one piece of an object: the members of a row, or one named value.
type Part struct {
	Members
	// Below are rows whose members win over those of this one.
	Below []Members

	// Name is the member's name as JSON text with the colon, `"name":`; empty =
	// the part is Members.
	Name  string
	Value MemberValue
	// Unless lists members of later rows: where one of them is present, that row
	// has the member and this one is not written.
	Unless []Presence
}

// Members are the members of the document in a row, save those that are dropped.
type Members struct {
	Row    int
	Drop   []int   // cut numbers of the row's shape
	Policy *Policy // of the definition that spreads the row
}

// MemberValue is where a named value comes from: a slot, or a program.
type MemberValue struct {
	IsRef   bool
	Ref     expr.Ref
	Refs    []expr.Ref // a list of several slots, when neither of the others is set
	Program *expr.Program
	// Owners are the definitions that have made what Program computes, the first one
	// first; the last one has Program.
	Owners []Owner
	// Memo says that Program depends on one joined row only: its JSON is kept
	// with that row, at this place.
	Memo *Memo
}

// Owner is a definition that has computed or named something.
type Owner struct {
	Program *expr.Program
	Policy  *Policy
}

// Presence names a member of a row that may be there or not.
type Presence struct{ Row, Cut int }

// Memo is a place for text that is kept with a joined row.
type Memo struct {
	Table int // memo table number: index of Event.joined
	Place int // see tableRow.text
}

// append writes the value of e to dst. null says that the value is null as a
// whole; dst is then unchanged.
func (d *Doc) append(dst []byte, e *Event, f *expr.Frame) (out []byte, null bool, err error) {
	if d.Whole >= 0 {
		doc := f.Rows[d.Whole].Doc
		if doc == nil {
			return dst, true, nil
		}
		return append(dst, doc...), false, nil
	}
	dst = append(dst, '{')
	some := false // a member has been written: the next begins with a comma
	for i := range d.Parts {
		p := &d.Parts[i]
		if p.Name == "" {
			dst, some, err = p.appendMembers(dst, some, f)
		} else {
			dst, some, err = p.appendValue(dst, some, e, f)
		}
		if err != nil {
			return dst, false, err
		}
	}
	return append(dst, '}'), false, nil
}

// appendValue writes one computed member.
func (p *Part) appendValue(dst []byte, some bool, e *Event, f *expr.Frame) ([]byte, bool, error) {
	for _, u := range p.Unless {
		if f.Rows[u.Row].Cuts[u.Cut] != (value.Span{}) {
			return dst, some, nil
		}
	}
	if some {
		dst = append(dst, ',')
	}
	dst, err := p.Value.append(append(dst, p.Name...), e, f)
	return dst, true, err
}

// append writes the value as JSON.
func (v *MemberValue) append(dst []byte, e *Event, f *expr.Frame) ([]byte, error) {
	switch {
	case v.IsRef:
		val := slotOf(f, v.Ref)
		if val.Kind == value.Invalid {
			return dst, val.Err()
		}
		return value.AppendJSON(dst, val), nil
	case v.Program == nil:
		return value.AppendJSON(dst, keyOf(f, v.Refs)), nil
	case v.Memo == nil:
		return v.computed(dst, f)
	}
	row := e.joined[v.Memo.Table]
	if text := row.text(v.Memo.Place); text != nil {
		return append(dst, text...), nil
	}
	if row.row == nil {
		if err := e.lazy[v.Memo.Table].place(f); err != nil {
			return dst, err
		}
	}
	at := len(dst)
	dst, err := v.computed(dst, f)
	if err == nil {
		row.keep(v.Memo.Place, dst[at:])
	}
	return dst, err
}

// computed writes the result of the program.
func (v *MemberValue) computed(dst []byte, f *expr.Frame) ([]byte, error) {
	out, err := v.Program.AppendJSON(dst, f)
	if err != nil {
		return dst, v.owned(f, err)
	}
	return out, nil
}

// owned gives err, with which the program has failed, to the first definition for
// which it fails.
func (v *MemberValue) owned(f *expr.Frame, err error) error {
	last := len(v.Owners) - 1
	for _, o := range v.Owners[:last] {
		if _, err := o.Program.Eval(f); err != nil {
			return &ownedError{o.Policy, err}
		}
	}
	return &ownedError{v.Owners[last].Policy, err}
}

// slotOf reads a slot; a row that is not there reads as null.
func slotOf(f *expr.Frame, ref expr.Ref) value.Value {
	row := f.Rows[ref.Row]
	if row == nil || ref.Slot >= len(row.Slots) {
		return value.NullV()
	}
	return row.Slots[ref.Slot]
}

// appendMembers writes the members of a row, without those that are dropped.
func (p *Part) appendMembers(dst []byte, some bool, f *expr.Frame) ([]byte, bool, error) {
	row := f.Rows[p.Row]
	if len(p.Below) > 0 {
		return p.appendUncovered(dst, some, f)
	}
	dst, some, ok := codec.AppendMembers(dst, row, p.Drop, some)
	if !ok {
		return dst, some, p.owned(notObject(row.Doc))
	}
	return dst, some, nil
}

// owned gives an error of the row to the definition that spreads it.
func (m *Members) owned(err error) error {
	if err == nil || m.Policy == nil {
		return err
	}
	return &ownedError{m.Policy, err}
}

func notObject(doc []byte) error {
	return faultf(ReasonWrongType, "spread a value that is not an object: %s", shorten(doc))
}

// appendUncovered writes the members that none of the rows below has: the slow
// road, because which names these have is known only now.
func (p *Part) appendUncovered(dst []byte, some bool, f *expr.Frame) ([]byte, bool, error) {
	row := f.Rows[p.Row]
	covered := map[string]bool{}
	for _, b := range p.Below {
		err := b.each(f, func(name string, _ value.Span) { covered[name] = true })
		if err != nil {
			return dst, some, err
		}
	}
	err := p.each(f, func(name string, member value.Span) {
		if covered[name] {
			return
		}
		if some {
			dst = append(dst, ',')
		}
		dst = append(dst, row.Doc[member.Start:member.End]...)
		some = true
	})
	return dst, some, err
}

// each visits the members that are not dropped.
func (m *Members) each(f *expr.Frame, visit func(name string, member value.Span)) error {
	row := f.Rows[m.Row]
	if isNullDoc(row.Doc) {
		return nil
	}
	dropped := map[value.Span]bool{}
	for _, c := range m.Drop {
		dropped[row.Cuts[c]] = true
		for _, d := range row.Dups {
			if d.Cut == c {
				dropped[d.Span] = true
			}
		}
	}
	return m.owned(eachMember(row.Doc, func(name string, member value.Span) {
		if !dropped[member] {
			visit(name, member)
		}
	}))
}

func isNullDoc(doc []byte) bool {
	i := value.LexSpace(doc, 0)
	return i == len(doc) || doc[i] == 'n'
}

// eachMember visits the members of the object doc, which has been checked: the
// name and the member's whole range.
func eachMember(doc []byte, visit func(name string, member value.Span)) error {
	i := value.LexSpace(doc, 0)
	if doc[i] != '{' {
		return notObject(doc)
	}
	i = value.LexSpace(doc, i+1)
	for doc[i] != '}' {
		begin := i
		end, plain := value.LexString(doc, i)
		name := doc[i+1 : end-1]
		if !plain {
			name = value.Unescape(nil, name)
		}
		i = value.LexName(doc, i)
		i = value.LexValue(doc, value.LexSpace(doc, i), 1)
		visit(string(name), value.Span{Start: int32(begin), End: int32(i)})
		i = value.LexSpace(doc, i)
		if doc[i] == ',' {
			i = value.LexSpace(doc, i+1)
		}
	}
	return nil
}

// shorten makes text fit into a message.
func shorten(b []byte) string {
	const most = 80
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return string(b)
}
