package operators

import (
	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// Envelope is a form in which change data wraps the row.
type Envelope uint8

const (
	NoEnvelope Envelope = iota
	OldNew              // {"old": row before, "new": row after}
	Debezium            // {"before":, "after":, "op":}, or that under "payload" beside "schema"
)

// ParseEnvelope reads the word of the language; "" = none.
func ParseEnvelope(word string) (e Envelope, ok bool) {
	switch word {
	case "":
		return NoEnvelope, true
	case "old_new":
		return OldNew, true
	case "debezium":
		return Debezium, true
	}
	return 0, false
}

// opener takes rows out of envelopes, for one task.
type opener struct {
	shape *codec.Shape
	row   value.Row
	// Slots of the places where the parts may lie: bare, and in a payload.
	payload             int
	before, after, kind [2]int
}

func newOpener(e Envelope) *opener {
	o := &opener{shape: codec.NewShape()}
	slot := func(path ...string) int {
		steps := make([]codec.Step, len(path))
		for i, name := range path {
			steps[i].Name = name
		}
		return o.shape.Slot(steps, codec.WantAny)
	}
	if e == OldNew {
		o.payload = -1
		o.before[0], o.after[0] = slot("old"), slot("new")
	} else {
		o.payload = slot("payload")
		o.before = [2]int{slot("before"), slot("payload", "before")}
		o.after = [2]int{slot("after"), slot("payload", "after")}
		o.kind = [2]int{slot("op"), slot("payload", "op")}
	}
	o.shape.Freeze()
	return o
}

// open returns the row of an envelope as JSON text. gone says that it has been
// deleted: doc is then the row as it was, nil when the envelope does not tell.
func (o *opener) open(data []byte) (doc []byte, gone bool, err error) {
	if err := o.shape.Scan(data, &o.row); err != nil {
		return nil, false, scanFault(err)
	}
	slots := o.row.Slots
	in := 0
	if o.payload >= 0 && slots[o.payload].IsObject() {
		in = 1
	}
	before, after := slots[o.before[in]], slots[o.after[in]]
	if before.Kind == value.Invalid || after.Kind == value.Invalid || before.Kind == value.Absent && after.Kind == value.Absent {
		if o.payload < 0 {
			return nil, false, faultf(ReasonInvalidValue, "the value is no envelope: it has neither old nor new: %s", shorten(data))
		}
		return nil, false, faultf(ReasonInvalidValue, "the value is no Debezium envelope: it has neither before nor after: %s", shorten(data))
	}
	if o.payload >= 0 {
		switch op := slots[o.kind[in]]; op.AsString() {
		case "d":
			after = value.NullV()
		case "c", "u", "r", "":
		default:
			return nil, false, faultf(ReasonInvalidValue, "Debezium operation %q is not a change of one row", op.AsString())
		}
	}
	if after.IsNull() {
		return jsonOf(before), true, nil
	}
	return jsonOf(after), false, nil
}

// jsonOf is v as JSON text, nil for null.
func jsonOf(v value.Value) []byte {
	switch {
	case v.IsNull():
		return nil
	case v.Kind == value.Raw:
		return v.AsBytes()
	}
	return value.AppendJSON(nil, v)
}
