package operators

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"streamctl/state"
)

// dueQueue is the beginning of the order of time in which keys are to be looked
// at. The whole of it is in the state; to look there for every record would cost
// more than all the rest.
type dueQueue struct {
	first []dueKey // in order: all that are due up to and including loaded
	// loaded: what is due later is in the state only.
	loaded int64
	// beyond is when the first of those is due at the earliest; nothingDue = there are none.
	beyond int64
}

type dueKey struct {
	due int64
	key string // canonical group key
}

func compareDue(a, b dueKey) int {
	return cmp.Or(cmp.Compare(a.due, b.due), strings.Compare(a.key, b.key))
}

// dueLoad is how many keys are read at once.
const dueLoad = 1024

// head is when the first key is due, nothingDue = never.
func (q *dueQueue) head() int64 {
	if len(q.first) > 0 {
		return q.first[0].due
	}
	return q.beyond
}

// add notes a key that has been put into the order of time.
func (q *dueQueue) add(due int64, key []byte) {
	if due > q.loaded {
		q.beyond = min(q.beyond, due)
		return
	}
	d := dueKey{due, string(key)}
	if i, there := slices.BinarySearchFunc(q.first, d, compareDue); !there {
		q.first = slices.Insert(q.first, i, d)
	}
}

// remove forgets one that has been taken out.
func (q *dueQueue) remove(due int64, key []byte) {
	if due > q.loaded {
		return
	}
	if i, there := slices.BinarySearchFunc(q.first, dueKey{due, string(key)}, compareDue); there {
		q.first = slices.Delete(q.first, i, i+1)
	}
}

// reset makes the queue that of the state.
func (q *dueQueue) reset(table *state.Table) error {
	*q = dueQueue{loaded: noTime, beyond: noTime}
	return q.load(table)
}

// load reads the next keys.
func (q *dueQueue) load(table *state.Table) error {
	if q.beyond == nothingDue {
		return nil
	}
	from := appendTime([]byte{dueKind}, q.beyond)
	q.beyond = nothingDue
	return table.Scan(from, []byte{dueKind + 1}, func(key []byte, _ *state.Row) (bool, error) {
		due := timeOf(key[1:])
		if len(q.first) >= dueLoad && due != q.loaded {
			q.beyond = due
			return false, nil
		}
		q.loaded = due
		q.first = append(q.first, dueKey{due, string(key[9:])})
		return true, nil
	})
}

// take takes out the keys that are due by until, ms.
func (q *dueQueue) take(table *state.Table, until int64) ([][]byte, error) {
	var keys [][]byte
	for {
		n := 0
		for n < len(q.first) && q.first[n].due <= until {
			keys = append(keys, bytes.Clone([]byte(q.first[n].key)))
			n++
		}
		q.first = slices.Delete(q.first, 0, n)
		if len(q.first) > 0 || q.beyond > until {
			return keys, nil
		}
		if err := q.load(table); err != nil {
			return nil, err
		}
		if len(q.first) == 0 {
			return keys, nil
		}
	}
}
