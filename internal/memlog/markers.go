package memlog

import "streamctl/internal/record"

// A broker answers the end of a transaction when it is decided; the markers are
// written after that, each partition's on its own, and the offsets become the
// group's with the marker in their own topic. Until all are written nobody reads
// past the transaction, and its producer cannot begin the next one. With
// Config.SlowMarkers that time exists here, too: each call of WriteMarker ends a part of it.

// ending is a transaction that is decided and has markers to write.
type ending struct {
	tx      *txn
	id      *identity // nil = of somebody outside
	left    []record.TopicPartition
	offsets bool // the group's offsets are to be moved
}

// parts is how many markers are to be written.
func (e *ending) parts() int {
	if e.offsets {
		return len(e.left) + 1
	}
	return len(e.left)
}

// PendingMarkers is how many markers are to be written.
func (l *Log) PendingMarkers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.endings {
		n += e.parts()
	}
	return n
}

// WriteMarker writes the n-th of them, counted from 0 in the order of decision.
func (l *Log) WriteMarker(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.endings {
		if n >= e.parts() {
			n -= e.parts()
			continue
		}
		if n < len(e.left) {
			e.tx.mark(e.left[n])
			e.left = append(e.left[:n:n], e.left[n+1:]...)
		} else {
			e.tx.moveOffsets()
			e.offsets = false
		}
		if e.parts() == 0 {
			l.endings = append(l.endings[:i:i], l.endings[i+1:]...)
			l.ended(e.id)
		}
		l.broadcast()
		return
	}
}

// ended lets the producer of a transaction whose markers are written go on.
func (l *Log) ended(id *identity) {
	if id == nil {
		return
	}
	id.ending = false
	if p := id.owner; p != nil && !p.committing {
		p.flush()
	}
}
