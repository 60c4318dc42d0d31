package state

// The cache is a clock per table: rows lie in a ring, a hit sets the row's used
// bit, and the hand evicts the first row it finds without one. Rows that are not
// applied are passed over. All tables together have one budget: while it is
// exceeded, every table that has more than an equal share shrinks at its next
// insertion or commit.

const (
	// rowOverhead is what a cached row costs beside its bytes: the Row, its
	// place in map and ring.
	rowOverhead = 80 + 40 + 8
	// evictSteps is how far the hand moves per insertion at most.
	evictSteps = 32
)

// rowSize is what a row is accounted for, in bytes.
func rowSize(key string, value int, extra int32) int32 {
	return int32(rowOverhead+(len(key)+15)&^15+(value+15)&^15) + extra
}

// insert puts a clean row into the cache.
func (t *Table) insert(r *Row) {
	r.size = rowSize(r.key, len(r.Value), r.extra)
	r.slot = int32(len(t.ring))
	t.ring = append(t.ring, r)
	t.rows[r.key] = r
	if !r.gone {
		t.live++
	}
	t.bytes += int64(r.size)
	t.db.cached.Add(int64(r.size))
}

// remove takes a row out of the cache.
func (t *Table) remove(r *Row) {
	last := t.ring[len(t.ring)-1]
	t.ring[r.slot] = last
	last.slot = r.slot
	t.ring[len(t.ring)-1] = nil
	t.ring = t.ring[:len(t.ring)-1]
	r.slot = -1
	delete(t.rows, r.key)
	if !r.gone {
		t.live--
	}
	t.bytes -= int64(r.size)
	t.db.cached.Add(-int64(r.size))
}

// resize accounts for a row that has changed.
func (t *Table) resize(r *Row, size int32) {
	d := int64(size - r.size)
	r.size = size
	t.bytes += d
	t.db.cached.Add(d)
	if r.epoch > t.task.applied {
		t.pinned += d
		t.db.pinned.Add(d)
	}
}

// trim evicts rows while the table has more than its share, moving the hand at
// most steps rows.
func (t *Table) trim(steps int) {
	for ; steps > 0 && t.overdrawn(); steps-- {
		if t.hand >= len(t.ring) {
			t.hand = 0
		}
		r := t.ring[t.hand]
		switch {
		case r.epoch > t.task.applied:
			t.hand++
		case r.used:
			r.used = false
			t.hand++
		default:
			if !r.gone {
				t.complete = false
			}
			t.remove(r)
		}
	}
}

// overdrawn tells whether the table should shrink and can.
func (t *Table) overdrawn() bool {
	limit := t.db.opts.CacheBytes
	return t.db.cached.Load() > limit && t.bytes > limit/max(1, t.db.tables.Load()) && t.pinned < t.bytes
}

// forget empties the cache.
func (t *Table) forget() {
	t.db.cached.Add(-t.bytes)
	t.db.pinned.Add(-t.pinned)
	t.bytes, t.pinned, t.live, t.hand = 0, 0, 0, 0
	t.rows, t.ring, t.dirty, t.overlay = nil, nil, nil, overlay{}
	t.complete = false
}

// reset begins with an empty cache; complete tells that the table is empty too.
func (t *Table) reset(complete bool) {
	t.rows = make(map[string]*Row)
	t.complete = complete
}

// CacheStats tells what rows in memory cost.
type CacheStats struct {
	Limit  int64 // bytes
	Used   int64 // bytes of all cached rows
	Pinned int64 // bytes of those that are not applied: when they near Limit, it is time to commit
}

// CacheStats may be called from any goroutine.
func (db *DB) CacheStats() CacheStats {
	return CacheStats{Limit: db.opts.CacheBytes, Used: db.cached.Load(), Pinned: db.pinned.Load()}
}
