package state

import (
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is the file system a store lives on.
type FS = vfs.FS

// NewMemFS returns a file system in memory, for tests and dry runs.
func NewMemFS() FS { return vfs.NewMem() }

// NewCrashFS returns a file system in memory that remembers what was synced,
// for CrashClone.
func NewCrashFS() FS { return vfs.NewCrashableMem() }

// CrashClone returns what a power loss now could leave of fs, which NewCrashFS
// has made: all that was synced, and of the rest each block with a probability
// of percent / 100, chosen by seed.
func CrashClone(fs FS, percent int, seed uint64) FS {
	return fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: percent,
		RNG:                 rand.New(rand.NewPCG(seed, seed)),
	})
}

// fuseFS is a file system that can be cut off. Pebble cannot be stopped in the
// middle of a failure: its background work may go on, or hang. Once the fuse is
// blown nothing of it reaches the directory any more, which then can be opened anew.
type fuseFS struct {
	vfs.FS
	blown atomic.Pointer[error]
	// mu is held for reading by every write in progress.
	mu sync.RWMutex
}

// blownDelay is how long a write behind the blown fuse takes to fail.
const blownDelay = 5 * time.Millisecond

// blow makes all writes from now on fail with err. It may be called from
// within Pebble; settle then waits for the writes in progress.
func (f *fuseFS) blow(err error) { f.blown.CompareAndSwap(nil, &err) }

// settle returns when no write is in progress.
func (f *fuseFS) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
}

// write runs one write unless the fuse is blown.
func (f *fuseFS) write(do func() error) error {
	if err := f.blown.Load(); err != nil {
		// Pebble tries a failed flush again at once, for ever.
		time.Sleep(blownDelay)
		return *err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := f.blown.Load(); err != nil {
		return *err
	}
	return do()
}

// file runs one opening of a file to write and puts the file behind the fuse.
func (f *fuseFS) file(open func() (vfs.File, error)) (file vfs.File, err error) {
	err = f.write(func() error {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &fuseFile{file, f}, nil
}

func (f *fuseFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *fuseFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f *fuseFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

func (f *fuseFS) Link(from, to string) error {
	return f.write(func() error { return f.FS.Link(from, to) })
}

func (f *fuseFS) Rename(from, to string) error {
	return f.write(func() error { return f.FS.Rename(from, to) })
}

func (f *fuseFS) Remove(name string) error {
	return f.write(func() error { return f.FS.Remove(name) })
}

func (f *fuseFS) RemoveAll(name string) error {
	return f.write(func() error { return f.FS.RemoveAll(name) })
}

func (f *fuseFS) MkdirAll(dir string, perm os.FileMode) error {
	return f.write(func() error { return f.FS.MkdirAll(dir, perm) })
}

// Lock does nothing: the state directory around the store is locked already,
// and that lock can be let go of while a failed store still runs.
func (f *fuseFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (f *fuseFS) Unwrap() vfs.FS { return f.FS }

// fuseFile is a file open for writing behind the fuse.
type fuseFile struct {
	vfs.File
	fs *fuseFS
}

func (f *fuseFile) Write(b []byte) (n int, err error) {
	err = f.fs.write(func() error { n, err = f.File.Write(b); return err })
	return n, err
}

func (f *fuseFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.fs.write(func() error { n, err = f.File.WriteAt(b, off); return err })
	return n, err
}

func (f *fuseFile) Sync() error     { return f.fs.write(f.File.Sync) }
func (f *fuseFile) SyncData() error { return f.fs.write(f.File.SyncData) }

func (f *fuseFile) SyncTo(n int64) (full bool, err error) {
	err = f.fs.write(func() error { full, err = f.File.SyncTo(n); return err })
	return full, err
}

func (f *fuseFile) Preallocate(off, n int64) error {
	return f.fs.write(func() error { return f.File.Preallocate(off, n) })
}
