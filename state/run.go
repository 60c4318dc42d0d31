package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"slices"

	"streamctl/internal/record"
)

// entry is one row of a load: its key and its stored form, nil = deleted.
type entry struct{ key, row []byte }

// run gathers rows in memory without a pointer per row, save for large ones of
// which the memory is another's.
type run struct {
	data    []byte // key, stored row, key, stored row, ...
	entries []slot
	shared  [][]byte         // rows that are not in data
	held    int              // bytes of these
	memory  []*record.Memory // where they lie, as long as that is held; neighbours differ
	scratch []byte           // the stored form of one of them
	other   []slot           // room for sorting
}

// slot says where in the data an entry lies. Later ones lie behind earlier ones.
type slot struct {
	order  uint64 // eight bytes of the key that decide most comparisons
	at     uint32
	keyLen uint32
	rowLen uint32 // deletedRow = no row
	share  uint32 // number of the row in shared + 1, 0 = it is in the data
}

const (
	slotBytes  = 64 // a slot, and its room for sorting
	deletedRow = 1<<32 - 1
	sliceBytes = 24
	headRoom   = 64      // more than the stored form of a row has beside it
	growAtOnce = 1 << 20 // from this size on a run gets all the memory it may take
)

// bytes is the memory the run holds.
func (r *run) bytes() int { return len(r.data) + slotBytes*len(r.entries) + r.held }

// add appends an entry; nil row = deleted. A run that grows takes at once the
// memory that one of limit bytes needs, rather than be copied at every doubling.
func (r *run) add(key, row []byte, limit int) {
	if need := len(r.data) + len(key) + len(row) + headRoom; need > cap(r.data) && need > growAtOnce {
		r.data = slices.Grow(r.data, max(need, limit)-len(r.data))
	}
	s := slot{at: uint32(len(r.data)), keyLen: uint32(len(key)), rowLen: deletedRow}
	r.data = append(r.data, key...)
	if row != nil {
		start := len(r.data)
		r.data = append(appendHead(r.data, nil), row...)
		s.rowLen = uint32(len(r.data) - start)
	} else {
		r.data = append(r.data, 0) // no two entries at the same place: sort goes by it
	}
	r.entries = append(r.entries, s)
}

// sharedFrom is the size from which on it is cheaper to hold another's row than
// to copy it.
const sharedFrom = 256

// addShared is add for a row that is not written again by anybody as long as mem is held. Rows
// come one behind the other out of the same memory: it is enough to remember the last.
func (r *run) addShared(key, row []byte, mem *record.Memory, limit int) {
	if len(row) < sharedFrom {
		r.add(key, row, limit)
		return
	}
	if n := len(r.memory); mem != nil && (n == 0 || r.memory[n-1] != mem) {
		mem.Hold()
		r.memory = append(r.memory, mem)
	}
	r.shared = append(r.shared, row)
	r.held += len(row) + sliceBytes
	r.entries = append(r.entries, slot{at: uint32(len(r.data)), keyLen: uint32(len(key)), share: uint32(len(r.shared))})
	r.data = append(append(r.data, key...), 0) // see add
}

// clear empties the run, keeps its own memory and lets go of others'.
func (r *run) clear() {
	clear(r.shared)
	r.data, r.entries, r.shared, r.held = r.data[:0], r.entries[:0], r.shared[:0], 0
	for _, mem := range r.memory {
		mem.LetGo()
	}
	clear(r.memory)
	r.memory = r.memory[:0]
}

func (r *run) key(s slot) []byte { return r.data[s.at : s.at+s.keyLen] }

func (r *run) entry(s slot) entry {
	e := entry{key: r.key(s)}
	if s.share > 0 {
		r.scratch = append(appendHead(r.scratch[:0], nil), r.shared[s.share-1]...)
		e.row = r.scratch
		return e
	}
	if s.rowLen != deletedRow {
		e.row = r.data[s.at+s.keyLen : s.at+s.keyLen+s.rowLen]
	}
	return e
}

// sort orders the slots by key, the last added first among equals. Keys of one
// table mostly begin alike, so eight bytes behind what all have in common are
// put into the slots, which saves most visits to the data.
func (r *run) sort() {
	if len(r.entries) == 0 {
		return
	}
	first := r.key(r.entries[0])
	common := len(first)
	for _, s := range r.entries {
		k := r.key(s)
		common = min(common, len(k))
		for i := range common {
			if k[i] != first[i] {
				common = i
				break
			}
		}
	}
	var differ uint64
	for i := range r.entries {
		var b [8]byte
		copy(b[:], r.key(r.entries[i])[common:])
		r.entries[i].order = binary.BigEndian.Uint64(b[:])
		differ |= r.entries[i].order ^ r.entries[0].order
	}
	if len(r.entries) < radixFrom {
		slices.SortFunc(r.entries, r.compare)
		return
	}
	r.radix(differ)
	for i := 0; i < len(r.entries); { // what these eight bytes leave open
		end := i + 1
		for end < len(r.entries) && r.entries[end].order == r.entries[i].order {
			end++
		}
		if end > i+1 {
			slices.SortFunc(r.entries[i:end], r.compare)
		}
		i = end
	}
}

func (r *run) compare(a, b slot) int {
	if a.order != b.order {
		return cmp.Compare(a.order, b.order)
	}
	if c := bytes.Compare(r.key(a), r.key(b)); c != 0 {
		return c
	}
	return cmp.Compare(b.at, a.at)
}

// radixFrom is from how many entries on counting digits beats comparing.
const radixFrom = 256

// radix orders the slots by their eight bytes: by the last one that differs
// anywhere first, each time in a stable way (LSD radix sort; Knuth, The Art of
// Computer Programming 3, 5.2.5).
func (r *run) radix(differ uint64) {
	from := r.entries
	to := slices.Grow(r.other[:0], len(from))[:len(from)]
	for shift := 0; shift < 64; shift += 8 {
		if differ>>shift&0xff == 0 {
			continue
		}
		var at [257]int
		for i := range from {
			at[from[i].order>>shift&0xff+1]++
		}
		for d := range 256 {
			at[d+1] += at[d]
		}
		for i := range from {
			d := from[i].order >> shift & 0xff
			to[at[d]] = from[i]
			at[d]++
		}
		from, to = to, from
	}
	r.entries, r.other = from, to
}

// sorted yields the entries in order of keys, of each key the last added. An
// entry is good until the next one.
func (r *run) sorted() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		r.sort()
		for i, s := range r.entries {
			if i > 0 && s.order == r.entries[i-1].order && bytes.Equal(r.key(s), r.key(r.entries[i-1])) {
				continue
			}
			if !yield(r.entry(s)) {
				return
			}
		}
	}
}
