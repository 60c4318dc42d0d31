package operators

import (
	"encoding/binary"
	"errors"
	"fmt"

	"streamctl/state"
)

// Kinds of pages.
const (
	recordPages = iota
	matchPages
	pageKinds
)

const (
	// joinPageBytes is the size from which on nothing is added to a page: what is
	// read for one record whose page is not in the cache.
	joinPageBytes = 4 << 10
	// leastPage is what a page takes that nobody knows more of.
	leastPage = 256
	// joinEntryHead is more than an entry has beside key and blob.
	joinEntryHead = 5 * binary.MaxVarintLen64
	// noPage is the number of no page.
	noPage = 1<<32 - 1
	// pageKeyBytes is the length of a page's key.
	pageKeyBytes = bucketBytes + 1 + 8 + 8
	// sweepPages is how many pages a record takes out of the state at most; it puts in
	// one, and matches less.
	sweepPages = 3
)

// joinPage is a page while it is being written.
type joinPage struct {
	row    *state.Row
	bytes  []byte
	sealed bool // by a commit: nothing is added any more
}

// AppendRow implements state.Encoder.
func (p *joinPage) AppendRow(dst []byte) []byte {
	p.sealed = true
	return append(dst, p.bytes...)
}

// pageID tells pages of a bucket from each other.
type pageID struct{ life, number uint64 }

// writable is the page of a bucket to which is added.
func (b *joinBuffer) writable(in *joinBucket, kind int) (*joinPage, error) {
	last := in.open[kind]
	if last != nil && !last.sealed && len(last.bytes) < joinPageBytes {
		return last, nil
	}
	page := &joinPage{}
	if last != nil && !last.sealed { // there will be as much again
		page.bytes = make([]byte, 0, cap(last.bytes))
	}
	id := pageID{b.meta.life(), b.meta.next()}
	row, err := b.table.PutDecoded(b.pageKey(in.number, kind, id), page)
	if err != nil {
		return nil, err
	}
	page.row = row
	b.table.SetDecoded(row, page, cap(page.bytes))
	in.pages[kind] = append(in.pages[kind], id)
	in.open[kind] = page
	return page, nil
}

// grow makes room for n more bytes.
func (b *joinBuffer) grow(p *joinPage, n int) {
	need := len(p.bytes) + n
	if need <= cap(p.bytes) {
		return
	}
	size := max(leastPage, need, min(2*cap(p.bytes), joinPageBytes+n))
	p.bytes = append(make([]byte, 0, size), p.bytes...)
	// The row has been changed since the last commit: it is in the cache still.
	b.table.SetDecoded(p.row, p, cap(p.bytes))
}

// page returns the nth page of records of a bucket, nil when it has been deleted.
func (b *joinBuffer) page(in *joinBucket, n uint32) ([]byte, error) {
	if int(n) < in.swept[recordPages] {
		return nil, nil
	}
	row, err := b.table.Get(b.pageKey(in.number, recordPages, in.pages[recordPages][n]))
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, fmt.Errorf("read page %d of join %s: it is not there", in.pages[recordPages][n].number, b.table.Name())
	}
	return pageBytes(row), nil
}

func pageBytes(row *state.Row) []byte {
	if p, ok := row.Decoded.(*joinPage); ok {
		return p.bytes
	}
	return row.Value
}

// pageKey is the key of a page; it is good until the next.
func (b *joinBuffer) pageKey(bucket int64, kind int, id pageID) []byte {
	key := append(appendBucket(b.key[:0], bucket), byte(kind))
	key = binary.BigEndian.AppendUint64(key, id.life)
	b.key = binary.BigEndian.AppendUint64(key, id.number)
	return b.key
}

var errPageKey = errors.New("a row is no page")

func parsePageKey(key []byte) (bucket int64, kind int, id pageID, err error) {
	if len(key) != pageKeyBytes || key[bucketBytes] >= pageKinds {
		return 0, 0, id, errPageKey
	}
	id.life = binary.BigEndian.Uint64(key[bucketBytes+1:])
	id.number = binary.BigEndian.Uint64(key[bucketBytes+9:])
	return int64(binary.BigEndian.Uint64(key)), int(key[bucketBytes]), id, nil
}

// find learns from the state what is there. What no commit knows is deleted.
func (b *joinBuffer) find() error {
	b.live = b.live[:0]
	var unknown [][]byte
	var numbers []uint64 // of the records of the bucket
	lives := make(map[uint64]bool)
	err := b.table.Scan(nil, metaKey(), func(key []byte, row *state.Row) (bool, error) {
		bucket, kind, id, err := parsePageKey(key)
		if err != nil {
			return false, err
		}
		if !b.meta.knows(id) {
			unknown = append(unknown, append([]byte(nil), key...))
			return true, nil
		}
		lives[id.life] = true
		if n := len(b.live); n == 0 || b.live[n-1].number != bucket {
			numbers = numbers[:0]
		}
		in := b.add(bucket)
		in.pages[kind] = append(in.pages[kind], id)
		if kind == matchPages {
			return true, in.readMatches(pageBytes(row), numbers)
		}
		numbers, err = b.readPage(in, pageBytes(row), numbers)
		return true, err
	})
	if err != nil {
		return err
	}
	b.meta.forget(lives)
	for _, key := range unknown {
		if err := b.table.Remove(key); err != nil {
			return err
		}
	}
	return nil
}

// readPage notes the records of the last page of a bucket.
func (b *joinBuffer) readPage(in *joinBucket, page []byte, numbers []uint64) ([]uint64, error) {
	for rest := page; len(rest) > 0; {
		at := len(page) - len(rest)
		var e joinEntry
		var err error
		if rest, err = e.read(rest); err != nil {
			return numbers, err
		}
		in.insert(b.hash(e.key), &e, len(in.pages[recordPages])-1, at)
		numbers = append(numbers, e.seq)
	}
	return numbers, nil
}

// sweep deletes some pages of buckets that end before a time: nothing meets their
// records any more. removed is told of the records that are gone.
func (b *joinBuffer) sweep(before int64, removed func([]joinSlot)) error {
	for range sweepPages {
		if len(b.live) == 0 || (b.live[0].number+1)*b.width-1 >= before {
			return nil
		}
		in := b.live[0]
		kind := recordPages // first, so that what is matched is known of all that are left
		if in.swept[kind] == len(in.pages[kind]) {
			kind = matchPages
		}
		n := in.swept[kind]
		if n == len(in.pages[kind]) {
			b.live[0] = nil
			b.live = b.live[1:]
			continue
		}
		if err := b.table.Remove(b.pageKey(in.number, kind, in.pages[kind][n])); err != nil {
			return err
		}
		in.swept[kind]++
		if kind == recordPages {
			removed(in.shift(uint32(n)))
		}
	}
	return nil
}
