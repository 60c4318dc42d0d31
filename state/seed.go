package state

// seed gathers rows of a bulk load for the cache. A row that has just been
// loaded is about to be read, and fetching it from the store costs ten times
// what keeping it does. Rows come in in any order of age within the load, the
// younger ones of a key later.
type seed struct {
	db     *DB
	rows   map[string]*Row
	bytes  int64
	own    int64 // what the table's cache held when the load began: it goes when the seed comes
	all    bool  // every row of the load is here
	closed bool  // nothing more is taken
}

// add takes a row in its stored form, if there is room.
func (s *seed) add(e entry) error {
	old := s.rows[string(e.key)]
	if old != nil {
		s.account(-int64(rowSize(old.key, len(old.Value), 0)))
		delete(s.rows, old.key)
	}
	if e.row == nil {
		return nil
	}
	if s.closed {
		s.all = false
		return nil
	}
	row, err := DecodeChangelog(e.row)
	if err != nil {
		return err
	}
	size := int64(rowSize(string(e.key), len(row), 0))
	if s.db.cached.Load()-s.own+s.db.seeding.Load()+size > s.db.opts.CacheBytes {
		s.all = false
		return nil
	}
	s.account(size)
	if s.rows == nil {
		s.rows = make(map[string]*Row)
	}
	r := &Row{key: string(e.key), Value: append(make([]byte, 0, len(row)), row...)}
	s.rows[r.key] = r
	return nil
}

// account counts what the seed holds; all seeds together respect the cache's bound.
func (s *seed) account(bytes int64) {
	s.bytes += bytes
	s.db.seeding.Add(bytes)
}

// release gives up what the seed holds.
func (s *seed) release() {
	s.account(-s.bytes)
	s.rows, s.closed = nil, true
}

// plant makes the seed the table's cache. wasEmpty tells that the table had no
// rows before the load.
func (t *Table) plant(s *seed, wasEmpty bool) {
	t.forget()
	t.reset(wasEmpty && s.all)
	rows := s.rows
	s.release()
	for _, r := range rows {
		t.insert(r)
	}
}
