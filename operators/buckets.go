package operators

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"

	"streamctl/state"
)

// buckets keep what an operator remembers of keys for a stretch of time. Time
// is cut into buckets, and the rows of a bucket lie together:
//
//	bucket (8 bytes, big endian) | key | [0 | number (uvarint)]
//
// A key may have several rows in a bucket: the numbered ones. No key holds a byte
// 0, so that they meet nobody else's. What is too old lies together at the
// beginning and is deleted there. Deleting is not urgent where rows are judged by their
// time: a few are for every record, so that a jump of time over a great
// state does not stop the task.
//
// One more row, metaKey, holds what the operator must know of its past.
type buckets struct {
	table *state.Table
	width int64   // of a bucket, ms
	live  []int64 // buckets that have rows, in order
	key   []byte
	// dead are rows of the first live bucket, which is to be deleted; next is where
	// the next are found.
	dead []deadRow
	next []byte
	// names are the keys of buckets that have begun since the task was opened, by
	// their hashes: most records are the first of their key in a bucket, and the store need
	// not be asked for what cannot be there.
	names map[int64]map[uint64]struct{}
	seed  maphash.Seed
}

// deadRow is a row to delete, with what was noted of it when it was found.
type deadRow struct {
	key  []byte
	note int
}

const (
	bucketBytes = 8
	// minBucket is the least width of buckets in ms: expiring one costs a scan.
	minBucket = 1000
	// sweepRows is how many rows a record takes out of the state; it puts in one.
	sweepRows = 4
	// sweepBatch is how many are looked up at a time.
	sweepBatch = 256
)

// metaKey is the key of an operator's meta row: no bucket begins like that.
func metaKey() []byte { return []byte{0xff} }

var errBucketKey = errors.New("the key is cut short")

// bucket is the bucket of a time.
func (b *buckets) bucket(time int64) int64 { return time / b.width }

// appendBucket begins the key of a row.
func appendBucket(dst []byte, bucket int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(bucket))
}

// rowKey is the key of the nth row of a key in a bucket; it is good until the next.
func (b *buckets) rowKey(bucket int64, key []byte, n uint64) []byte {
	b.key = append(appendBucket(b.key[:0], bucket), key...)
	if n > 0 {
		b.key = binary.AppendUvarint(append(b.key, 0), n)
	}
	return b.key
}

// find lists the buckets that have rows: from each on the store is asked for
// the next.
func (b *buckets) find() error {
	b.live = b.live[:0]
	from := appendBucket(nil, 0)
	for {
		found := false
		err := b.table.Scan(from, metaKey(), func(key []byte, _ *state.Row) (bool, error) {
			if len(key) < bucketBytes {
				return false, errBucketKey
			}
			found = true
			b.live = append(b.live, int64(binary.BigEndian.Uint64(key)))
			return false, nil
		})
		if err != nil || !found {
			return err
		}
		from = appendBucket(from[:0], b.live[len(b.live)-1]+1)
	}
}

// add notes that a bucket has rows.
func (b *buckets) add(bucket int64) {
	if n := len(b.live); n > 0 && b.live[n-1] == bucket {
		return
	}
	at, found := slices.BinarySearch(b.live, bucket)
	if found {
		return
	}
	b.live = slices.Insert(b.live, at, bucket)
	if b.names == nil {
		b.names, b.seed = make(map[int64]map[uint64]struct{}), maphash.MakeSeed()
	}
	b.names[bucket] = make(map[uint64]struct{})
}

// unknown says that a bucket cannot have rows of a key.
func (b *buckets) unknown(bucket int64, key []byte) bool {
	names := b.names[bucket]
	if names == nil {
		return false // it is older than the task
	}
	_, known := names[maphash.Bytes(b.seed, key)]
	return !known
}

// name notes that a bucket has rows of a key.
func (b *buckets) name(bucket int64, key []byte) {
	if names := b.names[bucket]; names != nil {
		names[maphash.Bytes(b.seed, key)] = struct{}{}
	}
}

// between lists the buckets that may have rows with times in [from, to].
func (b *buckets) between(from, to int64) []int64 {
	first, _ := slices.BinarySearch(b.live, b.bucket(from))
	last, found := slices.BinarySearch(b.live, b.bucket(to))
	if found {
		last++
	}
	return b.live[first:max(first, last)]
}

// sweep deletes some rows of buckets that end before a time: nothing changes
// these any more. note, when not nil, looks at a row before; removed is told what it said.
func (b *buckets) sweep(before int64, note func(*state.Row) (int, error), removed func(note int)) error {
	for range sweepRows {
		if len(b.dead) == 0 {
			if more, err := b.findDead(before, note); err != nil || !more {
				return err
			}
		}
		row := b.dead[0]
		b.dead = b.dead[1:]
		if err := b.table.Remove(row.key); err != nil {
			return err
		}
		if removed != nil {
			removed(row.note)
		}
	}
	return nil
}

// findDead looks up the next rows to delete; false: there are none now.
func (b *buckets) findDead(before int64, note func(*state.Row) (int, error)) (bool, error) {
	for len(b.live) > 0 && (b.live[0]+1)*b.width-1 < before {
		bucket := b.live[0]
		if b.next == nil {
			b.next = appendBucket(nil, bucket)
		}
		b.dead = b.dead[:0]
		err := b.table.Scan(b.next, appendBucket(nil, bucket+1), func(key []byte, r *state.Row) (more bool, err error) {
			row := deadRow{key: append([]byte(nil), key...)}
			if note != nil {
				row.note, err = note(r)
			}
			b.dead = append(b.dead, row)
			return len(b.dead) < sweepBatch, err
		})
		if err != nil {
			return false, err
		}
		if n := len(b.dead); n > 0 {
			b.next = append(append(b.next[:0], b.dead[n-1].key...), 0)
			return true, nil
		}
		b.next = nil
		b.live = b.live[1:]
		delete(b.names, bucket)
	}
	return false, nil
}
