package memlog

import (
	"sort"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// partition is one partition's log. Entries are ordered by offset; compaction
// leaves gaps between them.
type partition struct {
	entries []entry
	start   int64 // first offset still there
	end     int64 // the offset that the next entry takes: the high watermark
	// open holds the first offset here of every transaction that is still open.
	open map[*txn]int64
}

// entry is one log entry: a record, or the marker that ends a transaction.
type entry struct {
	rec    record.Record
	tx     *txn // nil = not transactional
	marker bool
}

// lastStable is the end for readers of committed data: the first offset of the
// oldest transaction that is still open, else the high watermark.
func (p *partition) lastStable() int64 {
	lso := p.end
	for _, first := range p.open {
		lso = min(lso, first)
	}
	return lso
}

func (p *partition) limit(iso engine.Isolation) int64 {
	if iso == engine.ReadCommitted {
		return p.lastStable()
	}
	return p.end
}

// read returns the data records from offset on, at most maxRecords and about
// maxBytes of them (0 = no bound), and the offset to read next. Markers and, for
// committed reads, aborted records are passed over; a reader of uncommitted
// data gets aborted records as from Kafka.
func (p *partition) read(from int64, iso engine.Isolation, maxRecords, maxBytes int) (recs []record.Record, next int64) {
	limit := p.limit(iso)
	next = max(from, p.start)
	bytes := 0
	for i := p.search(next); i < len(p.entries); i++ {
		e := &p.entries[i]
		if e.rec.Offset >= limit {
			break
		}
		if e.marker || (iso == engine.ReadCommitted && e.tx != nil && e.tx.state != txnCommitted) {
			next = e.rec.Offset + 1
			continue
		}
		if (maxRecords > 0 && len(recs) == maxRecords) || (maxBytes > 0 && bytes >= maxBytes) {
			return recs, next
		}
		recs = append(recs, e.rec)
		bytes += size(&e.rec)
		next = e.rec.Offset + 1
	}
	// Nothing is left below limit; the gap that compaction left there is passed.
	return recs, max(next, limit)
}

// search finds the first entry at or after offset.
func (p *partition) search(offset int64) int {
	return sort.Search(len(p.entries), func(i int) bool { return p.entries[i].rec.Offset >= offset })
}

// purge deletes what lies below offset, never past the high watermark.
func (p *partition) purge(below int64) {
	below = min(below, p.end)
	if below <= p.start {
		return
	}
	p.entries = append([]entry(nil), p.entries[p.search(below):]...)
	p.start = below
}

func (p *partition) compact(dropTombstones bool) {
	limit := p.lastStable()
	last := make(map[string]int64)
	for i := range p.entries {
		e := &p.entries[i]
		if e.rec.Offset < limit && !e.marker && e.visible() && e.rec.Key != nil {
			last[string(e.rec.Key)] = e.rec.Offset
		}
	}
	var kept []entry
	for _, e := range p.entries {
		if e.rec.Offset >= limit || e.survives(last, dropTombstones) {
			kept = append(kept, e)
		}
	}
	p.entries = kept
}

func (e *entry) visible() bool { return e.tx == nil || e.tx.state == txnCommitted }

func (e *entry) survives(last map[string]int64, dropTombstones bool) bool {
	switch {
	case e.marker:
		return !dropTombstones
	case !e.visible():
		return false
	case e.rec.Key == nil:
		return true
	case dropTombstones && e.rec.Value == nil:
		return false
	default:
		return last[string(e.rec.Key)] == e.rec.Offset
	}
}

// size is what a record holds in memory, near enough for backpressure.
func size(r *record.Record) int {
	n := 64 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}
