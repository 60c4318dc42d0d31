package operators

import (
	"encoding/binary"
	"fmt"
	"math"

	"streamctl/internal/record"
	"streamctl/state"
)

// versions is a table that keeps the history of its rows, for joins that ask
// for a row as of a time (KIP-889, KIP-914). Its rows lie in the state as
//
//	'v' | key | 0 | latest first (8 bytes: the greatest int64 less the time)  ->  JSON; empty = deleted
//	'e' | time (8 bytes) | key                                               ->  nothing
//
// No key holds a byte 0. The versions of a key lie one behind the other, the
// latest first, so that the one as of a time is the first from there. An entry 'e'
// says that from its time on older versions of the key may be asked for no more
// once that time is history: it is made where there are older versions, or the
// version is a deletion. So what is to be removed lies in order of time.
type versions struct {
	table   *state.Table
	history int64 // ms
	buf     []byte
	expired int64 // stream time up to which history has been removed
}

func newVersions(t *Task, name string, history int64) (*versions, error) {
	v := &versions{table: t.Tables[name], history: history, expired: math.MinInt64}
	if v.table == nil {
		return nil, fmt.Errorf("open table: the task has no table %q", name)
	}
	return v, nil
}

// Prefixes of the rows.
const (
	versionRow = 'v'
	versionEnd = 'e'
)

// of begins the keys of a key's versions.
func (v *versions) of(key []byte) []byte {
	v.buf = append(append(append(v.buf[:0], versionRow), key...), 0)
	return v.buf
}

func appendLatestFirst(dst []byte, time int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(math.MaxInt64-time))
}

func appendEnd(dst []byte, time int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(append(dst, versionEnd), uint64(time)), key...)
}

// put makes row the row of key from time on; nil deletes it.
func (v *versions) put(key, row []byte, time int64) error {
	older, newer, err := v.around(key, time)
	if err != nil {
		return err
	}
	if _, err := v.table.Put(appendLatestFirst(v.of(key), time), row); err != nil {
		return err
	}
	if older || row == nil {
		if _, err := v.table.Put(appendEnd(nil, time, key), nil); err != nil {
			return err
		}
	}
	if newer < math.MaxInt64 { // it ends the one that is put now
		_, err = v.table.Put(appendEnd(nil, newer, key), nil)
	}
	return err
}

// around says whether key has a version before time, and the time of the next
// one behind it, MaxInt64 = none.
func (v *versions) around(key []byte, time int64) (older bool, newer int64, err error) {
	newer = math.MaxInt64
	prefix := len(v.of(key))
	err = v.table.ScanPrefix(v.buf, func(k []byte, _ *state.Row) (bool, error) {
		at := math.MaxInt64 - int64(binary.BigEndian.Uint64(k[prefix:]))
		if at > time {
			newer = at
		}
		older = at < time
		return !older, nil
	})
	return older, newer, err
}

// at is the row of key as of time, nil when there was none. It is good until
// the table is next used.
func (v *versions) at(key []byte, time int64) (row []byte, err error) {
	from := appendLatestFirst(v.of(key), time)
	end := appendLatestFirst(append([]byte(nil), from[:len(from)-8]...), math.MinInt64+1)
	err = v.table.Scan(from, end, func(_ []byte, r *state.Row) (bool, error) {
		if len(r.Value) > 0 {
			row = append(make([]byte, 0, len(r.Value)), r.Value...)
		}
		return false, nil
	})
	return row, err
}

// advance removes the history that was too old before stream time came to now. One
// step behind, because records that have waited for now may still ask.
func (v *versions) advance(now int64) error {
	was := v.expired
	v.expired = now
	if was < math.MinInt64+v.history || was < v.history {
		return nil
	}
	horizon := was - v.history
	type end struct {
		time int64
		key  []byte
	}
	var ends []end
	err := v.table.Scan([]byte{versionEnd}, appendEnd(nil, horizon+1, nil), func(k []byte, _ *state.Row) (bool, error) {
		ends = append(ends, end{int64(binary.BigEndian.Uint64(k[1:])), append([]byte(nil), k[9:]...)})
		return true, nil
	})
	for _, e := range ends {
		if err == nil {
			err = v.remove(e.key, e.time)
		}
	}
	if err != nil {
		return fmt.Errorf("remove history of table %s: %w", v.table.Name(), err)
	}
	return nil
}

// remove takes away the versions of key before time, and the one of that time
// where it is a deletion.
func (v *versions) remove(key []byte, time int64) error {
	var gone [][]byte
	from := appendLatestFirst(v.of(key), time)
	prefix := len(from) - 8
	end := appendLatestFirst(append([]byte(nil), from[:prefix]...), math.MinInt64+1)
	err := v.table.Scan(from, end, func(k []byte, r *state.Row) (bool, error) {
		if at := math.MaxInt64 - int64(binary.BigEndian.Uint64(k[prefix:])); at < time || len(r.Value) == 0 {
			gone = append(gone, append([]byte(nil), k...))
		}
		return true, nil
	})
	gone = append(gone, appendEnd(nil, time, key))
	for _, k := range gone {
		if err == nil {
			err = v.table.Delete(k)
		}
	}
	return err
}

// versionedInput is the head of a table with its history; read gives the key
// and the row of its head.
type versionedInput struct {
	Input
	task     *Task
	versions *versions
	head     func() (e *Event, key, row []byte)
}

// newVersionedInput makes the input of a table with history of one that reads
// its topic.
func newVersionedInput(t *Task, name string, history int64, of Input, head func() (*Event, []byte, []byte)) (Input, error) {
	v, err := newVersions(t, name, history)
	if err != nil {
		return nil, err
	}
	t.Timers.OnStart(func(now int64) error {
		v.expired = now
		return nil
	})
	t.Timers.OnStreamTime(v.advance)
	return &versionedInput{Input: of, task: t, versions: v, head: head}, nil
}

// Process implements Input.
func (s *versionedInput) Process() error {
	e, key, row := s.head()
	s.task.begin(e)
	if err := s.versions.put(key, row, e.Time); err != nil {
		return fmt.Errorf("write table %s: %w", s.versions.table.Name(), err)
	}
	return nil
}

// Decode implements Input.
func (s *versionedInput) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	return s.Input.Decode(rec, tp)
}
