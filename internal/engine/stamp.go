package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"streamctl/internal/record"
	"streamctl/state"
)

// Without transactions the changelog holds more than what was committed: rows
// of units of work whose offsets were not. The records that made them are read
// again, so a restore that took them would count those twice. Each row of such
// a changelog therefore carries the input positions that it has seen, and a
// restore passes over those that have seen more than the group has committed.
//
// They stay in the changelog, and once the group has committed as much they could not
// be told from rows that hold: the records that made them are read again, but in another
// order among inputs, so that the same keys need not change again. With its first
// commit a task therefore writes the rows of all keys that its restore has passed
// over once more as they stand.

// A stamp also tells the life of the task that wrote the row: one more than any that
// this had seen in the changelog when it began, as a fencing token (Kleppmann, 2016) that needs
// nobody to give it out. A process that does not know yet that it has lost a task finishes
// sending its rows behind those of the next life. These are the later ones, and not the newer.

// stampHeader is the header in which a tombstone carries its stamp. A deletion
// that is ahead of what was committed would otherwise be found done when its record
// is read again, and those behind would never hear of it.
const stampHeader = "streamctl.stamp"

// stampOf is the stamp of a tombstone, nil when it has none.
func stampOf(rec *record.Record) []byte {
	for _, h := range rec.Headers {
		if h.Key == stampHeader {
			return h.Value
		}
	}
	return nil
}

// stamps are positions of the inputs that a task's own tables come from, by a
// short name of the topic: of its streams, and of the tables whose changes go on.
type stamps map[uint32]int64

// stamps gives the task's positions now.
func (t *task) stamps() stamps {
	s := make(stamps, len(t.inputs))
	for _, in := range t.inputs {
		if !in.isTable() || in.spec.Feeds { // what a table's changes make is kept, too
			h := fnv.New32a()
			_, _ = h.Write([]byte(in.tp.Topic))
			s[h.Sum32()] = in.pos
		}
	}
	return s
}

// lifeStamp is the topic under which a stamp has the life.
const lifeStamp = 0

// encode writes them one after the other, the life in front: topic (4 bytes) and position (uvarint).
func (s stamps) encode(life int64) []byte {
	out := binary.AppendUvarint(binary.BigEndian.AppendUint32(nil, lifeStamp), uint64(life))
	for _, topic := range slices.Sorted(maps.Keys(s)) {
		out = binary.BigEndian.AppendUint32(out, topic)
		out = binary.AppendUvarint(out, uint64(s[topic]))
	}
	return out
}

var errStamp = errors.New("read stamp of changelog row: it is cut short")

// passedBy says whether stamp has seen more of some input than s, and which life it
// is of, 0 = it does not tell. An input that the task does not have any more says nothing.
func (s stamps) passedBy(stamp []byte) (passed bool, life int64, err error) {
	for len(stamp) > 0 {
		if len(stamp) < 5 {
			return false, 0, errStamp
		}
		topic := binary.BigEndian.Uint32(stamp)
		pos, n := binary.Uvarint(stamp[4:])
		if n <= 0 {
			return false, 0, errStamp
		}
		stamp = stamp[4+n:]
		if topic == lifeStamp {
			life = int64(pos)
		} else if mine, ok := s[topic]; ok && int64(pos) > mine {
			passed = true
		}
	}
	return passed, life, nil
}

// lifeOf is where the state has the last life whose rows it holds, beside the position in their changelog.
func lifeOf(changelog record.TopicPartition) record.TopicPartition {
	return record.TopicPartition{Topic: changelog.Topic + " life", Partition: changelog.Partition} // no topic has a space
}

// storedLife is the last life of a changelog whose rows the state holds.
func (t *task) storedLife(changelog record.TopicPartition) int64 {
	life, _ := t.store.Position(lifeOf(changelog))
	return life
}

// repeats says that there may have been somebody who processed what the task has yet
// to: who read, before it started, some of what it reads now.
func (t *task) repeats() bool {
	return slices.ContainsFunc(t.inputs, func(in *input) bool { return in.pos < in.again })
}

// passedOver is what a restore did not take from a changelog.
type passedOver struct {
	table *state.Table
	first int64 // offset
	life  int64 // of the rows in front of it
	keys  map[string]struct{}
}

// passOver notes that rec, of the changelog that is loaded, is not the task's.
func (r *restoring) passOver(rec *record.Record) {
	if r.over == nil {
		r.over = &passedOver{table: r.table, first: rec.Offset, life: r.life, keys: make(map[string]struct{})}
	}
	r.over.keys[string(rec.Key)] = struct{}{}
}

// restate lets the next commit write the rows that hold behind those that were passed over.
func (t *task) restate() error {
	for _, over := range t.over {
		for _, key := range slices.Sorted(maps.Keys(over.keys)) {
			if err := over.table.Restate([]byte(key)); err != nil {
				return fmt.Errorf("restate row of task %s: %w", t.id, err)
			}
		}
		t.marked = true
	}
	t.over = nil
	return nil
}
