package operators

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"streamctl/internal/record"
	"streamctl/state"
)

// What a join of two streams keeps.
//
// Time is cut into buckets a little wider than the join's reach, and the records of
// one key and bucket, of both sides, lie in one row:
//
//	bucket (8 bytes, big endian) | key | [0 | number (uvarint)]   ->   joinRow
//
// So a record finds its partners in two rows at most, which are cached decoded;
// a record and its partner cost one row in the changelog and one tombstone; and
// what is too old lies together at the beginning. A key with very many records in a bucket
// has several rows there, so that a commit does not write all of them again: the
// numbered ones. No key holds a byte 0, so that they meet nobody else's.
//
// One more row, metaKey, holds what the join must know of its past.

const (
	// Limits of a row.
	joinRowEntries = 64
	joinRowBytes   = 16 << 10
)

// joinMeta is what a join remembers over a restart beside its records.
type joinMeta struct {
	seq uint64 // of the last record taken
	// emitted: rows that were to leave before this time have left, ms.
	emitted int64
}

// AppendRow implements state.Encoder.
func (m *joinMeta) AppendRow(dst []byte) []byte {
	return binary.AppendVarint(binary.AppendUvarint(dst, m.seq), m.emitted)
}

func (m *joinMeta) decode(b []byte) error {
	r := wire{rest: b}
	seq, emitted := r.number(), r.signed()
	if r.short {
		return errJoinRow
	}
	m.seq, m.emitted = seq, emitted
	return nil
}

var errJoinRow = errors.New("the row is cut short")

// joinEntry is one record that a join keeps.
type joinEntry struct {
	time    int64
	seq     uint64 // of its coming, per task
	blob    []byte // origin, key, headers and value, see appendBlob; never written again
	side    joinedSide
	matched bool
}

// joinRow is the records of one key in one bucket, in the order of their coming.
type joinRow struct {
	more    uint64 // numbered rows behind this one; of the first only
	bytes   int    // of all blobs
	entries []joinEntry
}

// Flags of an entry.
const (
	entryRight   = 1
	entryMatched = 2
)

// AppendRow implements state.Encoder:
//
//	more (uvarint) | for each entry: flags (1) | time | seq | blob length (uvarints) | blob
func (r *joinRow) AppendRow(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, r.more)
	for i := range r.entries {
		e := &r.entries[i]
		flags := byte(e.side) * entryRight
		if e.matched {
			flags |= entryMatched
		}
		dst = append(dst, flags)
		dst = binary.AppendUvarint(dst, uint64(e.time))
		dst = binary.AppendUvarint(dst, e.seq)
		dst = appendBytes(dst, e.blob)
	}
	return dst
}

// decodeJoinRow reads a row; its blobs alias b.
func decodeJoinRow(b []byte) (*joinRow, error) {
	w := wire{rest: b}
	r := &joinRow{more: w.number()}
	for len(w.rest) > 0 {
		flags := w.octet()
		e := joinEntry{side: joinedSide(flags & entryRight), matched: flags&entryMatched != 0}
		e.time, e.seq, e.blob = int64(w.number()), w.number(), w.bytes()
		r.bytes += len(e.blob)
		r.entries = append(r.entries, e)
	}
	if w.short {
		return nil, errJoinRow
	}
	return r, nil
}

// add appends an entry.
func (r *joinRow) add(e joinEntry) {
	if r.entries == nil {
		r.entries = make([]joinEntry, 0, 2) // a record and its partner
	}
	r.entries = append(r.entries, e)
	r.bytes += len(e.blob)
}

func (r *joinRow) full() bool { return len(r.entries) >= joinRowEntries || r.bytes >= joinRowBytes }

// memory estimates what a row holds, in bytes.
func (r *joinRow) memory() int {
	const header, entry = 64, 56
	return header + entry*cap(r.entries) + r.bytes
}

// joinBuffer keeps the records of a join of two streams.
type joinBuffer struct{ buckets }

// row returns the nth row of a key in a bucket, nil when there is none.
func (b *joinBuffer) row(bucket int64, key []byte, n uint64) (*state.Row, *joinRow, error) {
	if b.unknown(bucket, key) {
		return nil, nil, nil
	}
	return b.load(b.rowKey(bucket, key, n))
}

func (b *joinBuffer) load(key []byte) (*state.Row, *joinRow, error) {
	found, err := b.table.Get(key)
	if found == nil || err != nil {
		return nil, nil, err
	}
	row, err := b.decoded(found, true)
	return found, row, err
}

// decoded is the content of a row; kept says that it stays with the cached row.
func (b *joinBuffer) decoded(r *state.Row, keep bool) (*joinRow, error) {
	if row, ok := r.Decoded.(*joinRow); ok {
		return row, nil
	}
	row, err := decodeJoinRow(r.Value)
	if err != nil {
		return nil, fmt.Errorf("decode row of join %s: %w", b.table.Name(), err)
	}
	if keep {
		b.table.SetDecoded(r, row, row.memory())
	}
	return row, nil
}

// put keeps one more record of a key.
func (b *joinBuffer) put(key []byte, e joinEntry) (rowKey string, err error) {
	bucket := b.bucket(e.time)
	b.add(bucket)
	found, row, err := b.row(bucket, key, 0)
	if err != nil {
		return "", err
	}
	if found == nil {
		return b.insert(bucket, key, 0, e)
	}
	if row.more > 0 {
		n := row.more
		if found, row, err = b.row(bucket, key, n); err != nil {
			return "", err
		}
		if found == nil {
			return "", fmt.Errorf("read row %d of a key in join %s: it is not there", n, b.table.Name())
		}
		if row.full() {
			return b.overflow(bucket, key, n+1, e)
		}
	} else if row.full() {
		return b.overflow(bucket, key, 1, e)
	}
	row.add(e)
	b.table.MarkDirty(found)
	b.table.SetDecoded(found, row, row.memory())
	return found.Key(), nil
}

// overflow begins the nth row of a key, and notes it with the first.
func (b *joinBuffer) overflow(bucket int64, key []byte, n uint64, e joinEntry) (string, error) {
	first, row, err := b.row(bucket, key, 0)
	if err != nil {
		return "", err
	}
	row.more = n
	b.table.MarkDirty(first)
	return b.insert(bucket, key, n, e)
}

func (b *joinBuffer) insert(bucket int64, key []byte, n uint64, e joinEntry) (string, error) {
	row := &joinRow{}
	row.add(e)
	made, err := b.table.PutDecoded(b.rowKey(bucket, key, n), row)
	if err != nil {
		return "", err
	}
	b.table.SetDecoded(made, row, row.memory())
	b.name(bucket, key)
	return made.Key(), nil
}

// partner is a record found for another one.
type partner struct {
	in  *state.Row
	row *joinRow
	at  int
}

func (p partner) entry() *joinEntry { return &p.row.entries[p.at] }

// partners appends to dst the records of a side of key with times in [from, to]
// that are not older than alive, in the order of their times, and of their coming.
func (b *joinBuffer) partners(dst []partner, key []byte, of joinedSide, from, to, alive int64) ([]partner, error) {
	from = max(from, alive, 0)
	for _, bucket := range b.between(from, to) {
		found, row, err := b.row(bucket, key, 0)
		if err != nil {
			return dst, err
		}
		if found == nil {
			continue
		}
		dst = row.partners(dst, found, of, from, to)
		for n := uint64(1); n <= row.more; n++ {
			next, numbered, err := b.row(bucket, key, n)
			if err != nil {
				return dst, err
			}
			if next != nil {
				dst = numbered.partners(dst, next, of, from, to)
			}
		}
	}
	if !slices.IsSortedFunc(dst, comparePartners) {
		slices.SortFunc(dst, comparePartners)
	}
	return dst, nil
}

func comparePartners(a, b partner) int {
	x, y := a.entry(), b.entry()
	return cmp.Or(cmp.Compare(x.time, y.time), cmp.Compare(x.seq, y.seq))
}

func (r *joinRow) partners(dst []partner, in *state.Row, of joinedSide, from, to int64) []partner {
	for i := range r.entries {
		if e := &r.entries[i]; e.side == of && e.time >= from && e.time <= to {
			dst = append(dst, partner{in, r, i})
		}
	}
	return dst
}

// A blob is what is kept of a record beside its time:
//
//	topic number | partition | offset (uvarints) | key (text) |
//	number of headers (uvarint) | for each: name, value (texts) | value
//
// See appendText.
func appendBlob(dst []byte, topic int, e *Event) []byte {
	dst = binary.AppendUvarint(dst, uint64(topic))
	dst = binary.AppendUvarint(dst, uint64(e.Origin.Partition))
	dst = binary.AppendUvarint(dst, uint64(e.Origin.Offset))
	dst = appendText(dst, e.Key)
	dst = binary.AppendUvarint(dst, uint64(len(e.Headers)))
	for _, h := range e.Headers {
		dst = appendText(dst, []byte(h.Key))
		dst = appendText(dst, h.Value)
	}
	return dst
}

// kept is what a blob holds.
type kept struct {
	topic   int
	origin  record.Position // without the topic's name
	key     []byte
	headers []record.Header
	doc     []byte
}

// read takes a blob apart; all but the names of headers aliases it.
func (k *kept) read(b []byte) error {
	r := wire{rest: b}
	k.topic = int(r.number())
	k.origin.Partition, k.origin.Offset = int32(r.number()), int64(r.number())
	k.key = r.text()
	k.headers = k.headers[:0]
	for n := r.number(); n > 0 && !r.short; n-- {
		name := string(r.text())
		k.headers = append(k.headers, record.Header{Key: name, Value: r.text()})
	}
	k.doc = r.rest
	if r.short {
		return errJoinRow
	}
	return nil
}
