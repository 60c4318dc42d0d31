package operators

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"streamctl/internal/record"
	"streamctl/state"
)

// What a join of two streams keeps.
//
// Records are written one behind the other, as they come, into pages: a page is
// a row of the state, of some kilobytes, which is never changed after the commit that
// brought it. Where a record lies is known in memory, by the hash of its key. So
// a record costs no row, no object for the collector and no tombstone of its own, and a
// commit writes what is new and nothing else; what came together is read together.
//
// Time is cut into buckets, a quarter of the join's reach each, and what is too old is
// deleted with its bucket:
//
//	bucket | kind (1) | life | number (8 bytes each, big endian)   ->   page
//
// A page of records is made of what appendJoinEntry writes. Pages of matches
// tell which records of their bucket have found a partner after they had been written: their
// numbers, as uvarints. Those lie beside the records, and not with those that they have
// met, as these may be forgotten sooner.
//
// Numbers of records and pages rise as long as the join exists. A life is the time
// from one opening of the task to the next. A crash between the changelog and the commit of
// offsets can leave pages behind that no commit knows; when the records are read
// again, other pages may hold them. metaKey therefore tells up to which number the
// pages of each life count, see joinMeta.

// joinEntry is one record that a join keeps.
type joinEntry struct {
	time    int64
	seq     uint64 // of its coming, per task
	side    joinedSide
	matched bool // when it came
	key     []byte
	blob    []byte // origin, key, headers and value, see appendBlob
}

// Flags of an entry.
const (
	entryRight   = 1
	entryMatched = 2
)

var errJoinRow = errors.New("the row is cut short")

// appendJoinEntry writes an entry:
//
//	flags (1) | time | seq (uvarints) | join key | blob, each with its length in front
func appendJoinEntry(dst []byte, e *joinEntry) []byte {
	dst = append(dst, e.flags())
	dst = binary.AppendUvarint(dst, uint64(e.time))
	dst = binary.AppendUvarint(dst, e.seq)
	return appendBytes(appendBytes(dst, e.key), e.blob)
}

func (e *joinEntry) flags() uint8 {
	flags := uint8(e.side) * entryRight
	if e.matched {
		flags |= entryMatched
	}
	return flags
}

// read takes the first entry of b, which it aliases, and returns what follows.
func (e *joinEntry) read(b []byte) (rest []byte, err error) {
	r := wire{rest: b}
	flags := r.octet()
	e.side, e.matched = joinedSide(flags&entryRight), flags&entryMatched != 0
	e.time, e.seq = int64(r.number()), r.number()
	e.key, e.blob = r.bytes(), r.bytes()
	if r.short {
		return nil, errJoinRow
	}
	return r.rest, nil
}

// joinBuffer keeps the records of a join of two streams.
type joinBuffer struct {
	table *state.Table
	meta  *joinMeta
	width int64         // of a bucket, ms
	live  []*joinBucket // those that have pages, in order of time
	seed  maphash.Seed
	key   []byte // of a row
}

// joinBuckets is into how many buckets the reach of a join is cut: the more, the
// less is kept that nothing can match, and the more places a record looks at.
const joinBuckets = 4

// newJoinBuffer makes the buffer of a join; reach, ms, is how far apart the records of two
// sides may lie that meet one of the other.
func newJoinBuffer(table *state.Table, meta *joinMeta, reach int64) joinBuffer {
	return joinBuffer{table: table, meta: meta, width: max(reach/joinBuckets+1, minBucket), seed: maphash.MakeSeed()}
}

func (b *joinBuffer) bucket(time int64) int64 { return time / b.width }

// at finds a bucket, or where it would be.
func (b *joinBuffer) at(number int64) (int, bool) {
	if n := len(b.live); n > 0 && b.live[n-1].number == number {
		return n - 1, true
	}
	return slices.BinarySearchFunc(b.live, number, func(k *joinBucket, number int64) int { return cmp.Compare(k.number, number) })
}

// add returns a bucket, a new one if there is none.
func (b *joinBuffer) add(number int64) *joinBucket {
	i, found := b.at(number)
	if !found {
		expected := 0
		if i > 0 && i == len(b.live) {
			expected = len(b.live[i-1].slots)
		}
		b.live = slices.Insert(b.live, i, newJoinBucket(number, b.width, expected))
	}
	return b.live[i]
}

// between lists the buckets that may have records with times in [from, to].
func (b *joinBuffer) between(from, to int64) []*joinBucket {
	first, _ := b.at(b.bucket(from))
	last, found := b.at(b.bucket(to))
	if found {
		last++
	}
	return b.live[first:max(first, last)]
}

func (b *joinBuffer) hash(key []byte) uint32 { return uint32(maphash.Bytes(b.seed, key)) }

// put keeps one more record; its number is given here.
func (b *joinBuffer) put(e *joinEntry) (in *joinBucket, slot uint32, err error) {
	in = b.add(b.bucket(e.time))
	page, err := b.writable(in, recordPages)
	if err != nil {
		return nil, 0, err
	}
	e.seq = b.meta.next()
	at := len(page.bytes)
	b.grow(page, len(e.key)+len(e.blob)+joinEntryHead)
	page.bytes = appendJoinEntry(page.bytes, e)
	return in, in.insert(b.hash(e.key), e, len(in.pages[recordPages])-1, at), nil
}

// partner is a record found for another one.
type partner struct {
	joinEntry
	in   *joinBucket
	slot uint32
}

// match notes that a record has found a partner.
func (b *joinBuffer) match(p *partner) error {
	slot := &p.in.slots[p.slot]
	if slot.flags&entryMatched != 0 {
		return nil
	}
	slot.flags |= entryMatched
	page, err := b.writable(p.in, matchPages)
	if err != nil {
		return err
	}
	b.grow(page, binary.MaxVarintLen64)
	page.bytes = binary.AppendUvarint(page.bytes, p.seq)
	return nil
}

// partners appends to dst the records of a side of key with times in [from, to]
// that are not older than alive, in the order of their times, and of their coming.
func (b *joinBuffer) partners(dst []partner, key []byte, of joinedSide, from, to, alive int64) ([]partner, error) {
	from = max(from, alive, 0)
	hash := b.hash(key)
	for _, in := range b.between(from, to) {
		first, last := in.units(from), in.units(to)
		var page []byte
		open := uint32(noPage)
		for i := in.first(hash); i != 0; i = in.slots[i-1].next {
			s := &in.slots[i-1]
			if s.hash != hash || joinedSide(s.flags&entryRight) != of || s.time < first || s.time > last {
				continue
			}
			if s.page != open {
				var err error
				if page, err = b.page(in, s.page); err != nil {
					return dst, err
				}
				open = s.page
			}
			if page == nil {
				continue
			}
			p := partner{in: in, slot: i - 1}
			if _, err := p.read(page[s.at:]); err != nil {
				return dst, b.decodeError(err)
			}
			if p.time >= from && p.time <= to && string(p.key) == string(key) {
				dst = append(dst, p)
			}
		}
	}
	if !slices.IsSortedFunc(dst, comparePartners) {
		slices.SortFunc(dst, comparePartners)
	}
	return dst, nil
}

func comparePartners(a, b partner) int {
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.seq, b.seq))
}

// entry reads one record, false when it has been deleted.
func (b *joinBuffer) entry(in *joinBucket, slot uint32) (e joinEntry, ok bool, err error) {
	s := &in.slots[slot]
	page, err := b.page(in, s.page)
	if page == nil || err != nil {
		return e, false, err
	}
	if _, err := e.read(page[s.at:]); err != nil {
		return e, false, b.decodeError(err)
	}
	return e, true, nil
}

func (b *joinBuffer) decodeError(err error) error {
	return fmt.Errorf("decode page of join %s: %w", b.table.Name(), err)
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
