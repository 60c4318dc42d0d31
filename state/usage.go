package state

// DiskBytes is what the store takes on disk, about: as of the last call while
// the DB is busy, closed or has failed. It may be called from any goroutine.
func (db *DB) DiskBytes() int64 {
	if err := db.measure(); err != nil {
		db.opts.Logger.Debug("size of the state is not known", "cause", err)
	}
	return db.disk.Load()
}

// measure takes the size of the store, unless somebody opens or closes a task.
func (db *DB) measure() (err error) {
	defer db.recoverInto(&err)
	if !db.mu.TryLock() {
		return nil
	}
	defer db.mu.Unlock()
	if db.closed || db.Err() != nil {
		return nil
	}
	db.disk.Store(int64(db.store.Metrics().DiskSpaceUsage()))
	return nil
}

// Lookups counts the rows that were asked for since the task was opened: hits
// were in the cache, misses had to be looked for in the store.
func (t *Task) Lookups() (hits, misses int64) {
	for _, table := range t.order {
		hits += table.hits
		misses += table.misses
	}
	return hits, misses
}
