package memlog

import (
	"fmt"
	"slices"

	"streamctl/internal/record"
)

type txnState uint8

const (
	txnOpen txnState = iota
	txnCommitted
	txnAborted
)

// txn is one transaction. It begins with the first record or offset and ends
// with a marker in every partition it wrote to.
type txn struct {
	log      *Log
	state    txnState
	order    []record.TopicPartition // partitions in the order first written
	offsets  map[*group]map[record.TopicPartition]int64
	by       string // the transactional id, where offsets are staged
	times    map[record.TopicPartition]int64
	promises map[record.TopicPartition]string
	stop     func() // ends the timeout
}

// identity is what the transaction coordinator knows of a transactional id.
type identity struct {
	epoch int32
	owner *producer // the last one that initialised; nil for none
	open  *txn
	// ending: the last transaction is decided, its markers are not all written.
	ending bool
}

// begin opens a transaction for id. l.mu is held.
func (l *Log) begin(id *identity) *txn {
	tx := &txn{log: l, offsets: make(map[*group]map[record.TopicPartition]int64)}
	id.open = tx
	if l.cfg.TransactionTimeout > 0 {
		tx.stop = l.clock.AfterFunc(l.cfg.TransactionTimeout, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if tx.state == txnOpen {
				l.bump(id)
			}
		})
	}
	return tx
}

// bump raises the epoch of id, which shuts out whoever had the old one, and
// aborts what it left open. l.mu is held.
func (l *Log) bump(id *identity) {
	id.epoch++
	if id.open != nil {
		tx := id.open
		id.open = nil
		tx.end(txnAborted, id)
	}
}

// touch notes that tx writes to tp at offset.
func (tx *txn) touch(tp record.TopicPartition, offset int64) {
	p := tx.log.lookup(tp)
	if _, ok := p.open[tx]; ok {
		return
	}
	if p.open == nil {
		p.open = make(map[*txn]int64)
	}
	p.open[tx] = offset
	tx.order = append(tx.order, tp)
}

// stage makes an offset part of the transaction; until it ends, the group's
// offset of tp is unstable.
func (tx *txn) stage(g *group, tp record.TopicPartition, offset int64) {
	m := tx.offsets[g]
	if m == nil {
		m = make(map[record.TopicPartition]int64)
		tx.offsets[g] = m
	}
	if _, again := m[tp]; !again {
		g.pending[tp]++
	}
	m[tp] = offset
}

// end writes the markers, each of which takes an offset, and makes the staged
// offsets the group's when state is txnCommitted. The log's mu is held.
func (tx *txn) end(state txnState, id *identity) {
	if tx.state != txnOpen {
		panic("memlog: transaction ended twice")
	}
	tx.state = state
	if tx.stop != nil {
		tx.stop()
	}
	if tx.log.cfg.SlowMarkers {
		e := &ending{tx: tx, id: id, left: slices.Clone(tx.order), offsets: len(tx.offsets) > 0}
		if e.parts() > 0 {
			tx.log.endings = append(tx.log.endings, e)
			if id != nil {
				id.ending = true
			}
		}
	} else {
		for _, tp := range tx.order {
			tx.mark(tp)
		}
		tx.moveOffsets()
	}
	tx.log.broadcast()
}

// mark writes the marker of a partition.
func (tx *txn) mark(tp record.TopicPartition) {
	p := tx.log.lookup(tp)
	if p == nil { // the topic was deleted meanwhile
		return
	}
	delete(p.open, tx)
	p.entries = append(p.entries, entry{rec: record.Record{Offset: p.end, Time: -1}, tx: tx, marker: true})
	p.end++
}

// moveOffsets makes the staged offsets the group's, or forgets them.
func (tx *txn) moveOffsets() {
	for g, offsets := range tx.offsets {
		for tp, off := range offsets {
			if g.pending[tp]--; g.pending[tp] == 0 {
				delete(g.pending, tp)
			}
			if tx.state == txnCommitted {
				g.offsets[tp], g.by[tp], g.times[tp], g.promises[tp] = off, tx.by, tx.times[tp], tx.promises[tp]
			}
		}
	}
}

// Tx is a transaction of somebody outside the engine, for tests that need
// markers, open transactions or aborted records in a topic.
type Tx struct {
	log *Log
	id  *identity
	tx  *txn
}

// Begin opens one; it stays open until Commit or Abort, whatever else happens.
func (l *Log) Begin() *Tx {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := &identity{}
	l.foreign++
	l.identities[fmt.Sprintf("foreign-%d", l.foreign)] = id
	t := &Tx{log: l, id: id, tx: &txn{log: l, offsets: make(map[*group]map[record.TopicPartition]int64)}}
	id.open = t.tx
	return t
}

// Produce appends as Log.Produce does, within the transaction.
func (t *Tx) Produce(topicName string, partition int32, key, value []byte, timeMs int64) (int32, int64) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	p := t.log.mustTopic(topicName).pick(partition, key)
	off := t.log.append(record.TopicPartition{Topic: topicName, Partition: p}, t.tx,
		copyRecord(record.Record{Key: key, Value: value, Time: timeMs}))
	t.log.broadcast()
	return p, off
}

// Commit makes the records visible.
func (t *Tx) Commit() { t.end(txnCommitted) }

// Abort makes them invisible to readers of committed data for ever.
func (t *Tx) Abort() { t.end(txnAborted) }

func (t *Tx) end(state txnState) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	t.id.open = nil
	t.tx.end(state, nil)
}
