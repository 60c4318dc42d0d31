package operators

import (
	"math"
	"math/bits"
	"slices"
)

// joinBucket is what is known in memory of the records of a stretch of time: a table
// of hashes whose chains lie in slots, the last record first.
type joinBucket struct {
	number int64
	start  int64 // ms
	unit   int64 // of a slot's time, ms: more than one where a bucket is wider than a slot counts
	pages  [pageKinds][]pageID
	open   [pageKinds]*joinPage // the last of these, if it has been made since the task was opened
	swept  [pageKinds]int       // how many of them have been deleted
	gone   int                  // slots of these
	slots  []joinSlot           // in the order of their coming
	heads  []uint32             // 1 + the last slot with a hash, 0 = none
}

// joinSlot is what is known in memory of one record.
type joinSlot struct {
	hash  uint32
	next  uint32 // 1 + the slot before it in its chain, 0 = none
	page  uint32 // number in pages
	time  uint32 // behind the bucket's beginning, in units
	at    uint16 // where it begins in the page
	flags uint8
}

// leastHeads is how many chains there are at least.
const leastHeads = 16

func newJoinBucket(number, width int64, expected int) *joinBucket {
	k := &joinBucket{number: number, start: number * width, unit: width/math.MaxUint32 + 1}
	if expected > 0 {
		k.slots = make([]joinSlot, 0, expected)
	}
	k.heads = make([]uint32, 1<<bits.Len(uint(max(expected, leastHeads)-1)))
	return k
}

// units is a time as slots have it, of those outside of the bucket the nearest.
func (k *joinBucket) units(time int64) uint32 {
	return uint32(min(max(0, time-k.start)/k.unit, math.MaxUint32))
}

// first is 1 + the first slot of a chain, 0 = none.
func (k *joinBucket) first(hash uint32) uint32 { return k.heads[int(hash)&(len(k.heads)-1)] }

// insert notes a record that lies in a page, and returns its slot.
func (k *joinBucket) insert(hash uint32, e *joinEntry, page, at int) uint32 {
	if len(k.slots) == len(k.heads) {
		k.spread()
	}
	k.slots = append(k.slots, joinSlot{
		hash: hash, page: uint32(page), time: k.units(e.time), at: uint16(at), flags: e.flags(),
	})
	slot := uint32(len(k.slots) - 1)
	k.link(slot)
	return slot
}

func (k *joinBucket) link(slot uint32) {
	head := &k.heads[int(k.slots[slot].hash)&(len(k.heads)-1)]
	k.slots[slot].next, *head = *head, slot+1
}

// spread doubles the number of chains.
func (k *joinBucket) spread() {
	k.heads = make([]uint32, 2*len(k.heads))
	for i := range k.slots {
		k.link(uint32(i))
	}
}

// shift forgets the slots of the first page that is there still.
func (k *joinBucket) shift(page uint32) []joinSlot {
	from := k.gone
	for k.gone < len(k.slots) && k.slots[k.gone].page == page {
		k.gone++
	}
	return k.slots[from:k.gone]
}

// readMatches notes what a page of matches says; numbers are those of the slots.
func (k *joinBucket) readMatches(page []byte, numbers []uint64) error {
	r := wire{rest: page}
	for len(r.rest) > 0 {
		if slot, found := slices.BinarySearch(numbers, r.number()); found && !r.short {
			k.slots[slot].flags |= entryMatched
		}
	}
	if r.short {
		return errJoinRow
	}
	return nil
}
