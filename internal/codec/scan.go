package codec

import (
	"errors"
	"unsafe"

	"streamctl/internal/value"
)

// Scan reads doc in one pass: it checks the whole of it (strict RFC 8259,
// valid UTF-8, nothing after the value, at most value.MaxDepth levels) and
// fills row.Slots and row.Cuts, whose memory is used again. Strings without
// escapes and raw values share doc, which must not be written afterwards.
//
// A field that is not there is Absent, a field of a null is Null, a field of
// anything else is Invalid. Of members with one name the last counts. A nil
// doc is Kafka's null: all slots are Null.
//
// Errors: *value.SyntaxError, after which row holds nothing of use; or
// *FieldError for the first slot whose value is not of the wanted kind, after
// which all other slots are right.
func (s *Shape) Scan(doc []byte, row *value.Row) error {
	s.reset(doc, row)
	if doc == nil {
		fill(row.Slots, value.NullV())
		return nil
	}
	if len(s.slots)+len(s.cuts) == 0 {
		return check(doc)
	}
	sc := scanner{doc: doc, row: row, shape: s}
	end := sc.value(s.root, value.LexSpace(doc, 0), 0)
	if end >= 0 {
		end = value.LexEnd(doc, end)
	}
	if end < 0 {
		return value.LexError(doc, end)
	}
	if sc.mismatch {
		return s.firstMismatch(row)
	}
	return nil
}

// check is Scan for a Shape that wants nothing.
func check(doc []byte) error {
	end := value.LexValue(doc, value.LexSpace(doc, 0), 0)
	if end >= 0 {
		end = value.LexEnd(doc, end)
	}
	if end < 0 {
		return value.LexError(doc, end)
	}
	return nil
}

// reset empties row for doc and gives it the right sizes.
func (s *Shape) reset(doc []byte, row *value.Row) {
	if !s.frozen {
		panic("codec: Scan of a Shape that is not frozen")
	}
	row.Doc = doc
	if cap(row.Slots) < len(s.slots) {
		row.Slots = make([]value.Value, len(s.slots))
	}
	row.Slots = row.Slots[:len(s.slots)]
	clear(row.Slots)
	if cap(row.Cuts) < len(s.cuts) {
		row.Cuts = make([]value.Span, len(s.cuts))
	}
	row.Cuts = row.Cuts[:len(s.cuts)]
	clear(row.Cuts)
	row.Dups = row.Dups[:0]
	if cap(row.Dups) > maxKeptDups {
		row.Dups = nil
	}
}

// maxKeptDups bounds the memory that a row keeps after a document with a name
// many times over.
const maxKeptDups = 64

// ScanValue fills row from a value that was not read from JSON: of another
// format, or computed. Doc becomes its JSON text, slots of the whole document hold
// v itself (Bytes stay Bytes), the others are as Scan makes them. v must not be Invalid.
func (s *Shape) ScanValue(v value.Value, row *value.Row) error {
	if v.IsNull() {
		return s.Scan(nil, row)
	}
	var doc []byte
	if v.Kind == value.Raw {
		doc = unsafe.Slice(unsafe.StringData(v.Text), len(v.Text))
	} else {
		doc = value.AppendJSON(nil, v)
	}
	err := s.Scan(doc, row)
	if fieldError := (*FieldError)(nil); err != nil && !errors.As(err, &fieldError) {
		return err
	}
	sc := scanner{doc: doc, row: row, shape: s}
	sc.store(s.root, v, "")
	return s.firstMismatch(row)
}

// textOf sees doc[start:end] as a string without copying it.
func textOf(doc []byte, start, end int) string {
	return unsafe.String(unsafe.SliceData(doc[start:end]), end-start)
}

func fill(slots []value.Value, v value.Value) {
	for i := range slots {
		slots[i] = v
	}
}

// firstMismatch finds the slot that a mismatch was seen in, unless a later
// member of the same name has mended it.
func (s *Shape) firstMismatch(row *value.Row) error {
	for i, v := range row.Slots {
		if _, ok := s.slots[i].want.accept(v, ""); !ok {
			text := v.Text
			if v.Kind != value.Invalid {
				text = v.Short()
			}
			return &FieldError{Path: s.slots[i].node.path, Want: s.slots[i].want, Got: v.Kind, Text: text}
		}
	}
	return nil
}

// scanner is one Scan on its way. Its methods return offsets as the Lex
// functions do, negative for a fault.
type scanner struct {
	doc      []byte
	row      *value.Row
	shape    *Shape
	mismatch bool // some slot got a value that its want does not accept
}

// value reads the value at i, which node n wants something of. depth is the
// number of arrays and objects around it.
func (sc *scanner) value(n *node, i, depth int) int {
	if i >= len(sc.doc) {
		return value.LexValue(sc.doc, i, depth)
	}
	end := 0
	switch c := sc.doc[i]; {
	case c == '{' && len(n.names) > 0 && depth < value.MaxDepth:
		end = sc.object(n, i, depth+1)
	case c == '[' && len(n.items)+len(n.ends) > 0 && depth < value.MaxDepth:
		end = sc.list(n, i, depth+1)
	default:
		end = value.LexValue(sc.doc, i, depth)
	}
	if end < 0 {
		return end
	}
	if len(n.below) > 0 {
		sc.mark(n, sc.doc[i])
	}
	if len(n.slots) > 0 {
		sc.store(n, value.OfLexed(sc.doc, i, end), textOf(sc.doc, i, end))
	}
	return end
}

// store gives v, whose JSON text is text, to all slots of n.
func (sc *scanner) store(n *node, v value.Value, text string) {
	for _, number := range n.slots {
		converted, ok := sc.shape.slots[number].want.accept(v, text)
		if !ok {
			sc.mismatch = true
		}
		sc.row.Slots[number] = converted
	}
}

// mark gives the slots below n what they get when n's value, which begins with c, is not of
// the type that their paths lead through.
func (sc *scanner) mark(n *node, c byte) {
	if c != '{' && len(n.names) > 0 {
		sc.markGroup(n.names, c, n.notObject)
	}
	if c != '[' && len(n.items) > 0 {
		sc.markGroup(n.items, c, n.notList)
	}
	if c != '[' && len(n.ends) > 0 {
		sc.markGroup(n.ends, c, n.notList)
	}
}

func (sc *scanner) markGroup(group []*node, c byte, problem string) {
	v := value.NullV()
	if c != 'n' {
		v = value.OfInvalid(problem)
	}
	for _, child := range group {
		sc.store(child, v, "")
		for _, number := range child.below {
			sc.row.Slots[number] = v
			if c != 'n' && sc.shape.slots[number].want != WantAny {
				sc.mismatch = true
			}
		}
	}
}

// object reads the object at i. Most of the time of a Scan goes here: a member
// that nobody wants costs one look at its name and one pass over its value.
func (sc *scanner) object(n *node, i, depth int) int {
	doc := sc.doc
	i = value.LexSpace(doc, i+1)
	if i < len(doc) && doc[i] == '}' {
		return i + 1
	}
	for {
		start := i
		child, at := n.table.member(doc, i)
		switch {
		case at < 0:
			return at
		case at >= len(doc):
			return value.LexUnexpected(at)
		case child != nil && child.leaf:
			i = sc.leaf(child, at, depth)
		case child != nil:
			i = sc.branch(child, start, at, depth)
		case doc[at] == '"':
			i, _ = value.LexString(doc, at)
		default:
			i = value.LexValue(doc, at, depth)
		}
		if i < 0 {
			return i
		}
		if i = value.LexSpace(doc, i); i >= len(doc) || doc[i] != ',' {
			break
		}
		i++
	}
	if i < len(doc) && doc[i] == '}' {
		return i + 1
	}
	return value.LexUnexpected(i)
}

// leaf reads the value at i of a member that one slot wants.
func (sc *scanner) leaf(n *node, i, depth int) int {
	doc, to := sc.doc, &sc.row.Slots[n.slot]
	if doc[i] == '"' {
		if n.want == WantString || n.want == WantAny {
			if end, plain := value.LexString(doc, i); plain {
				to.SetString(textOf(doc, i+1, end-1))
				return end
			}
		}
	} else if n.want == WantInt || n.want == WantAny {
		if v, end, ok := value.ReadInt(doc, i); ok {
			to.SetInt(v)
			return end
		}
	}
	end := value.LexValue(doc, i, depth)
	if end >= 0 {
		sc.store(n, value.OfLexed(doc, i, end), textOf(doc, i, end))
	}
	return end
}

// branch reads the member at start, whose value is at i, for a node that is no leaf.
func (sc *scanner) branch(n *node, start, i, depth int) int {
	// An earlier member of the same name may have filled the slots below.
	for _, number := range n.below {
		sc.row.Slots[number] = value.Value{}
	}
	end := sc.value(n, i, depth)
	if end >= 0 && n.cut >= 0 {
		sc.cut(n.cut, value.LexSpace(sc.doc, start), end)
	}
	return end
}

// cut notes that the member of cut number lies at doc[start:end].
func (sc *scanner) cut(number, start, end int) {
	old := sc.row.Cuts[number]
	if old.End > 0 {
		sc.row.Dups = append(sc.row.Dups, value.Dup{Cut: number, Span: old})
	}
	sc.row.Cuts[number] = value.Span{Start: int32(start), End: int32(end)}
}

// list reads the array at i. Items that are counted from the end need a second
// walk, because only then is the number of items known.
func (sc *scanner) list(n *node, i, depth int) int {
	end, count := sc.items(n, i, depth, n.items, 0)
	if end >= 0 && len(n.ends) > 0 {
		sc.items(n, i, depth, n.ends, count)
	}
	return end
}

// items walks the array at i and reads those items that are in wanted, whose
// indexes count from base.
func (sc *scanner) items(n *node, i, depth int, wanted []*node, base int) (end, count int) {
	doc := sc.doc
	i = value.LexSpace(doc, i+1)
	if i < len(doc) && doc[i] == ']' {
		return i + 1, 0
	}
	for {
		i = value.LexSpace(doc, i)
		var child *node
		for _, c := range wanted {
			if base+c.path[len(c.path)-1].Index == count {
				child = c
			}
		}
		if child == nil {
			i = value.LexValue(doc, i, depth)
		} else {
			i = sc.value(child, i, depth)
		}
		if i < 0 {
			return i, 0
		}
		count++
		if i = value.LexSpace(doc, i); i >= len(doc) || doc[i] != ',' {
			break
		}
		i++
	}
	if i < len(doc) && doc[i] == ']' {
		return i + 1, count
	}
	return value.LexUnexpected(i), 0
}
