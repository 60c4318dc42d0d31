package state

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// storeWrites says whose writes they are in Pebble's accounts.
const storeWrites = vfs.WriteCategoryUnspecified

// loadBlockBytes is the size of blocks in files that come fresh from a load or a flush. Each
// block is a turn of two goroutines and a call of the compressor: with blocks as small as
// those of lower levels a load takes a tenth more CPU. Compactions cut them small.
const loadBlockBytes = 32 << 10

// diskFS is the disk.
func diskFS() FS { return vfs.Default }

// storeOptions are Pebble's settings. They are made for small memory: rows in
// use lie decoded in the cache, so the store's block cache only has to hold
// indexes and filters.
func (db *DB) storeOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                 db.fs,
		Logger:             storeLog{db},
		EventListener:      db.listener(),
		FormatMajorVersion: pebble.FormatNewest,
		CacheSize:          db.opts.BlockCacheBytes,
		MemTableSize:       uint64(db.opts.MemTableBytes),
		// A commit must not wait for a flush in the ordinary course.
		MemTableStopWritesThreshold: 4,
		// Bulk loads put many files into level 0 at once; that must not stop commits.
		L0CompactionThreshold:      4,
		L0StopWritesThreshold:      1000,
		CompactionConcurrencyRange: db.compactions,
		MaxOpenFiles:               500,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].FilterType = pebble.TableFilter
		o.Levels[i].BlockSize = 8 << 10
		if i == 0 {
			o.Levels[i].BlockSize = loadBlockBytes
		}
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression } // MinLZ where that is made for the CPU
	}
	db.scheduler = newCompactions()
	o.Experimental.CompactionScheduler = db.scheduler
	o.EnsureDefaults()
	return o
}

// compactions is how many the store may run at once: the first number in the
// ordinary course, up to the second where files of level 0 lie ten deep or 1 GB
// waits. Pebble takes them when it changes its files.
func (db *DB) compactions() (usual, most int) {
	if db.rushing.Load() > 0 {
		return 0, 2
	}
	return 1, 2
}

// classifyOpen tells a damaged store from one that cannot be read now: what is
// missing or cannot be parsed is damage, what the system refuses is not.
func classifyOpen(err error) error {
	err = classify(err)
	var path *os.PathError
	var sys *os.SyscallError
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrDiskFull) || errors.As(err, &sys) ||
		errors.As(err, &path) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
