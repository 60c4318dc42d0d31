package state

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"streamctl/internal/record"
)

// StoredTask says how far the stored state of a task is, open or not.
type StoredTask struct {
	Sub       string
	Partition int32
	Positions map[record.TopicPartition]int64
	// Bytes is what its rows take on disk, about: what lies in memory only is not counted.
	Bytes int64
}

// Stored lists the tasks that have state here with its positions, in no
// particular order: what a process can bring along when tasks are shared out.
// Only what has been applied counts. It may be called from any goroutine.
func (db *DB) Stored() (_ []StoredTask, err error) {
	defer db.recoverInto(&err)
	if err := db.Err(); err != nil {
		return nil, err
	}
	type place struct {
		sub       uint32
		partition int32
	}
	var places []place
	var all []StoredTask
	err = db.each(metaKey(metaTask, ""), func(key, val []byte) error {
		at := place{binary.BigEndian.Uint32(key[5:]), int32(binary.BigEndian.Uint32(key[9:]))}
		if n := len(all); n == 0 || places[n-1] != at {
			places = append(places, at)
			all = append(all, StoredTask{Partition: at.partition, Positions: make(map[record.TopicPartition]int64)})
		}
		if key[taskPrefixLen] != kindPosition || len(val) != 8 {
			return nil
		}
		tp, err := parsePosition(key[taskPrefixLen+1:])
		all[len(all)-1].Positions[tp] = int64(binary.BigEndian.Uint64(val))
		return err
	})
	// The names are taken last: a task that was opened meanwhile has its own.
	subs := db.subNames()
	for i := range all {
		var known bool
		if all[i].Sub, known = subs[places[i].sub]; !known && err == nil {
			err = fmt.Errorf("find name of sub-topology %d: %w", places[i].sub, ErrCorrupt)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list stored tasks: %w", db.check(err))
	}
	for i := range all {
		if all[i].Bytes, err = db.bytesOf(all[i].Sub, all[i].Partition); err != nil {
			return nil, fmt.Errorf("measure state of task %s/%d: %w", all[i].Sub, all[i].Partition, db.check(err))
		}
	}
	return all, nil
}

// subNames gives the names of sub-topologies by their ids.
func (db *DB) subNames() map[uint32]string {
	db.mu.Lock()
	defer db.mu.Unlock()
	subs := make(map[uint32]string)
	for name, id := range db.names {
		if !strings.Contains(name, "/") {
			subs[id] = name
		}
	}
	return subs
}

// bytesOf estimates what the rows of a task take on disk.
func (db *DB) bytesOf(sub string, partition int32) (int64, error) {
	db.mu.Lock()
	var prefixes [][prefixLen]byte
	for name, id := range db.names {
		if strings.HasPrefix(name, sub+"/") {
			prefixes = append(prefixes, tablePrefix(id, partition))
		}
	}
	db.mu.Unlock()
	var sum uint64
	for _, prefix := range prefixes {
		n, err := db.store.EstimateDiskUsage(prefix[:], keyAfter(prefix[:]))
		if err != nil {
			return 0, classify(err)
		}
		sum += n
	}
	return int64(sum), nil
}

// DropTask is Task.Drop for a task that is not open, such as one that has moved
// to another process. Errors: ErrOpen.
func (db *DB) DropTask(sub string, partition int32) (err error) {
	defer db.recoverInto(&err)
	if err := db.Err(); err != nil {
		return err
	}
	key := taskKey{sub, partition}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return ErrClosed
	}
	if db.open[key] != nil {
		return fmt.Errorf("drop state of task %s/%d: %w", sub, partition, ErrOpen)
	}
	if err := db.dropTask(key); err != nil {
		return fmt.Errorf("drop state of task %s/%d: %w", sub, partition, db.check(err))
	}
	return nil
}

// dropTask deletes a task's keys by ranges. Called with mu held.
func (db *DB) dropTask(key taskKey) error {
	b := db.store.NewBatch()
	defer b.Close()
	for name, id := range db.names {
		var prefix []byte
		if name == key.sub {
			prefix = taskPrefix(id, key.partition)
		} else if strings.HasPrefix(name, key.sub+"/") {
			p := tablePrefix(id, key.partition)
			prefix = p[:]
		} else {
			continue
		}
		if err := b.DeleteRange(prefix, keyAfter(prefix), nil); err != nil {
			return err
		}
	}
	return db.ok(b.Commit(pebble.Sync))
}
