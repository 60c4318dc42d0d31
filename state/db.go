package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// What lies in a state directory.
const (
	lockName  = "LOCK"      // flock, holds the owner's pid
	storeName = "rows"      // Pebble's files
	loadName  = "loading"   // sorted files of bulk loads in progress
	infoName  = "STREAMCTL" // says what the directory is
	infoText  = "streamctl state\n"
)

// Options configure a DB. Zero values mean defaults.
type Options struct {
	// Dir is the state directory; it is created with mode 0700.
	Dir string
	// FS is the file system, nil = the disk. Another one is not locked.
	FS FS
	// CacheBytes bounds the rows held in memory over all tables, default 64 MiB.
	// Rows that are not applied yet cannot be evicted and may exceed it.
	CacheBytes int64
	// BlockCacheBytes is for the store's own blocks, default 8 MiB.
	BlockCacheBytes int64
	// MemTableBytes is how much the store holds in memory before it writes a
	// sorted file, default 16 MiB. Two of them can exist for a moment.
	MemTableBytes int
	// LoadBytes is how much one bulk load gathers before it goes to disk, default
	// 16 MiB; as much again is being written. Two at a time may have it, more
	// share, down to 1 MiB each.
	LoadBytes int
	// Logger takes what the store has to say, nil = nothing.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.BlockCacheBytes == 0 {
		o.BlockCacheBytes = 8 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 16 << 20
	}
	if o.LoadBytes == 0 {
		o.LoadBytes = 16 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate lists every fault of the options.
func (o Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("no state directory given"))
	}
	for name, n := range map[string]int64{
		"CacheBytes": o.CacheBytes, "BlockCacheBytes": o.BlockCacheBytes,
		"MemTableBytes": int64(o.MemTableBytes), "LoadBytes": int64(o.LoadBytes),
	} {
		if n < 0 || n > math.MaxInt32 && name != "CacheBytes" && name != "BlockCacheBytes" {
			errs = append(errs, fmt.Errorf("%s %d is out of range", name, n))
		}
	}
	return errors.Join(errs...)
}

// DB is the process's state: one store, shared by the tasks of all workers. Its
// methods may be called from any goroutine; a Task belongs to one.
//
// A DB that meets a full disk, an I/O error or corruption has failed: nothing
// more is written to the directory, every call returns ErrFailed with the cause,
// and the only thing left to do is to Close it (and to Open it anew later; after
// ErrCorrupt, to Quarantine the directory first). Should the store's own
// background work hit the failure, it never ends the process.
type DB struct {
	opts  Options
	fs    *fuseFS
	store *pebble.DB
	// storeOpts are what store was opened with, for the files of bulk loads.
	storeOpts *pebble.Options
	scheduler *compactions
	lock      io.Closer

	failure atomic.Pointer[error] // why it has failed, nil = it has not
	failed  chan struct{}         // closed with it
	// attempts is held for reading by every write that may be left to itself.
	attempts sync.RWMutex

	cached atomic.Int64 // bytes of all tables' rows
	pinned atomic.Int64 // of these: not applied
	tables atomic.Int64 // open tables
	// loading counts bulk loads, seeding the bytes that they gather for the cache.
	loading, seeding atomic.Int64
	// rushing counts the loads that somebody waits for, and the opening. Until they are
	// done, the store compacts only where much has piled up: it would take the CPU away from
	// them.
	rushing atomic.Int64
	disk    atomic.Int64 // bytes of the store when they were last taken

	mu     sync.Mutex
	names  map[string]uint32 // ids of sub-topologies and tables
	nextID uint32
	open   map[taskKey]*Task
	loads  int // numbers the directories of bulk loads
	closed bool
}

// taskKey names an open task.
type taskKey struct {
	sub       string
	partition int32
}

// Open opens the state in o.Dir, or creates it. Errors: ErrLocked, ErrCorrupt,
// ErrDiskFull, and ErrNotState for a directory that holds something else.
func Open(o Options) (_ *DB, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	o = o.withDefaults()
	db := &DB{
		opts:   o,
		failed: make(chan struct{}),
		names:  make(map[string]uint32),
		nextID: 1,
		open:   make(map[taskKey]*Task),
		lock:   io.NopCloser(nil),
	}
	db.fs = &fuseFS{FS: o.FS, failed: db.fail}
	if o.FS == nil {
		db.fs.FS = diskFS()
		if err := checkDir(o.Dir); err != nil {
			return nil, fmt.Errorf("open state: %w", err)
		}
		if err := makeDirs(db.fs, o.Dir); err != nil {
			return nil, fmt.Errorf("open state: %w", classify(err))
		}
		if err := os.Chmod(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("open state: %w", err)
		}
		if db.lock, err = lockDir(o.Dir); err != nil {
			return nil, fmt.Errorf("open state: %w", err)
		}
	}
	if err := db.openStore(); err != nil {
		db.fail(err)
		return nil, errors.Join(fmt.Errorf("open state in %s: %w", o.Dir, err), db.Close())
	}
	return db, nil
}

// openStore opens the files and reads what the DB itself keeps in them. What
// makes Pebble panic there is damage.
func (db *DB) openStore() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
		if failed := db.Err(); failed != nil {
			err = failed
		}
	}()
	if err := makeDirs(db.fs, db.opts.Dir); err != nil {
		return classify(err)
	}
	if err := db.writeInfo(); err != nil {
		return classify(err)
	}
	if err := db.fs.RemoveAll(db.path(loadName)); err != nil && !os.IsNotExist(err) {
		return classify(err)
	}
	db.storeOpts = db.storeOptions()
	if db.store, err = db.openPebble(); err != nil {
		return classifyOpen(err)
	}
	if err := db.checkVersion(); err != nil {
		return err
	}
	return db.loadNames()
}

// openPebble opens Pebble's files. It finishes what a crash has left half done, and
// where that fails it tries again for ever: once the DB has failed, it is left to
// itself behind the fuse.
//
// It begins no compactions, see there.
func (db *DB) openPebble() (*pebble.DB, error) {
	db.rushing.Add(1)
	var opened *pebble.DB
	err := db.attempt(func() (err error) {
		defer db.rushing.Add(-1)
		opened, err = db.openFiles()
		return err
	})
	if err != nil {
		return nil, err
	}
	db.scheduler.begin()
	return opened, nil
}

// openFiles is openPebble without its patience. There is a store if and only if there is
// no error: one that opens in a DB that has failed meanwhile is closed again.
func (db *DB) openFiles() (store *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			store, err = nil, fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	if store, err = pebble.Open(db.path(storeName), db.storeOpts); err != nil {
		return nil, err
	}
	if failed := db.Err(); failed != nil {
		return nil, errors.Join(failed, store.Close())
	}
	return store, nil
}

// path joins a name to the state directory.
func (db *DB) path(elem ...string) string {
	return db.fs.PathJoin(append([]string{db.opts.Dir}, elem...)...)
}

// writeInfo leaves the file by which Remove and Quarantine know a state directory.
func (db *DB) writeInfo() error {
	name := db.path(infoName)
	if _, err := db.fs.Stat(name); err == nil {
		return nil
	}
	f, err := db.fs.Create(name, storeWrites)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(infoText))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(db.fs, db.opts.Dir)
}

// checkVersion refuses a store of a later format and marks a new one.
func (db *DB) checkVersion() error {
	v, err := db.read(metaKey(metaVersion, ""))
	switch {
	case err != nil:
		return err
	case v == nil:
		return classify(db.store.Set(metaKey(metaVersion, ""), []byte{storeVersion}, pebble.Sync))
	case len(v) == 1 && v[0] > storeVersion:
		return fmt.Errorf("its format is %d, this program knows %d: %w", v[0], storeVersion, ErrVersion)
	case len(v) != 1 || v[0] != storeVersion:
		return fmt.Errorf("read the version of the format, %x: %w", v, ErrCorrupt)
	}
	return nil
}

// loadNames reads the ids given so far.
func (db *DB) loadNames() error {
	prefix := metaKey(metaName, "")
	return db.each(prefix, func(key, val []byte) error {
		if len(val) != 4 {
			return fmt.Errorf("read id of %q: %w", key, ErrCorrupt)
		}
		id := binary.BigEndian.Uint32(val)
		db.names[string(key[len(prefix):])] = id
		db.nextID = max(db.nextID, id+1)
		return nil
	})
}

// id returns the number of a sub-topology or table, and gives one when there is
// none yet. It is durable before it is used: a number must never come to mean
// another name. Called with mu held.
func (db *DB) id(name string) (uint32, error) {
	if id, ok := db.names[name]; ok {
		return id, nil
	}
	id := db.nextID
	val := binary.BigEndian.AppendUint32(nil, id)
	if err := db.ok(db.store.Set(metaKey(metaName, name), val, pebble.Sync)); err != nil {
		return 0, err
	}
	db.nextID++
	db.names[name] = id
	return id, nil
}

// read returns a copy of one stored value, nil when there is none.
func (db *DB) read(key []byte) ([]byte, error) {
	v, closer, err := db.store.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(err)
	}
	v = append([]byte{}, v...)
	return v, classify(closer.Close())
}

// each calls fn for every stored key with a prefix, in order. key and val are
// only good during the call.
func (db *DB) each(prefix []byte, fn func(key, val []byte) error) (err error) {
	it, err := db.store.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyAfter(prefix)})
	if err != nil {
		return classify(err)
	}
	defer func() { err = errors.Join(err, classify(it.Close())) }()
	for it.First(); it.Valid(); it.Next() {
		if err := fn(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	return classify(it.Error())
}

// Close closes the store and lets go of the directory. Open tasks are
// abandoned: what was not applied is lost, as after a crash. A DB that has
// failed is let go of without waiting for its background work.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	err := db.closeStore()
	return errors.Join(err, db.lock.Close())
}

// abandonedFor is how long the end of writes that were left to themselves is waited for.
const abandonedFor = time.Minute

// closeFailed closes the store of a DB that has failed, in nobody's way. Pebble must
// not be closed under a write; one that still waits after a long time waits for
// background work, which only closing ends.
func (db *DB) closeFailed() {
	ended := make(chan struct{})
	go func() {
		db.attempts.Lock()
		defer db.attempts.Unlock()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(abandonedFor):
	}
	var err error
	defer db.recoverInto(&err)
	err = db.store.Close()
}

// closeStore ends Pebble.
func (db *DB) closeStore() (err error) {
	if db.Err() != nil {
		db.fs.settle()
		if db.store != nil {
			go db.closeFailed()
		}
		return nil
	}
	defer db.recoverInto(&err)
	if err := db.store.Close(); err != nil {
		return fmt.Errorf("close state in %s: %w", db.opts.Dir, classify(err))
	}
	return nil
}
