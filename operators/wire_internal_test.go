package operators

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"streamctl/internal/record"
)

// wireForms are written forms with their readers.
func wireForms() map[string]struct {
	written []byte
	read    func([]byte) error
} {
	e := &Event{
		Origin: record.Position{TopicPartition: record.TopicPartition{Topic: "views", Partition: 3}, Offset: 123456},
		Key:    []byte(`"member-17"`), Headers: []record.Header{{Key: "trace", Value: []byte("abc")}, {Key: "none"}},
	}
	doc := bytes.Repeat([]byte(`{"v":{"id":1}}`), 4)
	blob := append(appendBlob(nil, 1, e), doc...)
	entry := appendJoinEntry(nil, &joinEntry{time: 1700000000000, seq: 1000, key: []byte("17"), blob: blob, side: rightSide})
	foreign := &foreignRow{number: 7, time: 1700000000000, foreign: []byte("17"), known: true, right: doc, rightAt: 1600000000000, timed: true, left: doc}
	part := appendPart(nil, 0, 2, []string{"1", `"two"`, "300"}, doc)
	rec := &record.Record{Value: part, Offset: 99, Time: 1700000000000, Headers: e.Headers}
	tops := &place{time: 1700000000000, order: []byte("order"), text: []byte("17"), doc: doc}
	return map[string]struct {
		written []byte
		read    func([]byte) error
	}{
		"joined rows":  {entry, func(b []byte) error { _, err := new(joinEntry).read(b); return err }},
		"joined":       {blob, func(b []byte) error { var k kept; return k.read(b) }},
		"memory":       {(&joinMeta{seq: 300, emitted: 1700000000000, lives: []joinLife{{17, 200}, {18, 300}}}).AppendRow(nil), func(b []byte) error { var m joinMeta; return m.decode(b) }},
		"foreign":      {foreign.append(nil), func(b []byte) error { var r foreignRow; return r.read(b) }},
		"subscription": {(&subscription{number: 300, left: []byte("17")}).append(nil), func(b []byte) error { var s subscription; return s.read(b) }},
		"answer":       {(&answer{number: 300, time: 1700000000000, timed: true, foreign: []byte("17"), row: doc}).append(nil), func(b []byte) error { var a answer; return a.read(b) }},
		"parts":        {appendEntry(nil, rec), func(b []byte) error { _, _, err := readEntry(b); return err }},
		"origin":       {appendOrigin(nil, 1, e.Origin, e.Key), func(b []byte) error { _, _, _, err := parseOrigin(b); return err }},
		"top":          {appendRow(nil, tops), func(b []byte) error { _, err := readRow(b); return err }},
	}
}

func BenchmarkWire(b *testing.B) {
	for name, form := range wireForms() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := form.read(form.written); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestWireCutShort reads everything that has been cut off anywhere: what is not
// there is never made up. Where the end is the value itself, it may be cut.
func TestWireCutShort(t *testing.T) {
	open := map[string]int{"joined": 56, "subscription": 2, "answer": 56, "origin": 11, "top": 56} // bytes of what has no length
	for name, form := range wireForms() {
		if err := form.read(form.written); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range len(form.written) {
			if err := form.read(slices.Clip(form.written[:n])); (err == nil) != (n >= len(form.written)-open[name]) {
				t.Errorf("%s, %d of %d bytes: %v", name, n, len(form.written), err)
			}
		}
	}
}

// TestWireNumbers compares the numbers with those of the standard library.
func TestWireNumbers(t *testing.T) {
	for shift := range 64 {
		for _, add := range []uint64{0, 1, math.MaxUint64} {
			v := uint64(1)<<shift + add
			b := binary.AppendVarint(binary.AppendUvarint(nil, v), int64(v))
			r := wire{rest: b}
			if n, s := r.number(), r.signed(); n != v || s != int64(v) || len(r.rest) > 0 || r.short {
				t.Errorf("%d and %d are read as %d and %d", v, int64(v), n, s)
			}
		}
	}
	for _, bad := range [][]byte{nil, {0x80}, bytes.Repeat([]byte{0xff}, 10), append(bytes.Repeat([]byte{0xff}, 9), 2), append(bytes.Repeat([]byte{0x80}, 10), 1)} {
		if _, n := binary.Uvarint(bad); n > 0 {
			t.Fatalf("%x is a number", bad)
		}
		if r := (wire{rest: bad}); r.number() != 0 || !r.short {
			t.Errorf("%x is read as a number", bad)
		}
	}
}
