package state

// seed gathers rows of a bulk load for the cache. A row that has just been
// loaded is about to be read, and fetching it from the store costs ten times
// what keeping it does.
type seed struct {
	rows  []*Row
	bytes int64
	room  int64 // of the cache, when the load began to end
	all   bool  // every row of the load is here
}

// newSeed begins with what the table's cache may hold once it is emptied.
func (t *Table) newSeed() *seed {
	return &seed{room: t.db.opts.CacheBytes - t.db.cached.Load() + t.bytes, all: true}
}

// add takes a row in its stored form, if there is room.
func (s *seed) add(e entry) error {
	if e.row == nil {
		return nil
	}
	row, err := DecodeChangelog(e.row)
	if err != nil {
		return err
	}
	size := int64(rowSize(string(e.key), len(row), 0))
	if s.bytes+size > s.room {
		s.all = false
		return nil
	}
	s.bytes += size
	s.rows = append(s.rows, &Row{key: string(e.key), Value: append(make([]byte, 0, len(row)), row...)})
	return nil
}

// plant makes the seed the table's cache. wasEmpty tells that the table had no
// rows before the load.
func (t *Table) plant(s *seed, wasEmpty bool) {
	t.forget()
	t.reset(wasEmpty && s.all)
	for _, r := range s.rows {
		t.insert(r)
	}
}
