package state

import (
	"errors"
	"io"
	"io/fs"
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

// fuseFS is a file system that can be cut off, and cuts itself off at the first
// write that fails. Pebble cannot be trusted with a failed write: it panics on
// goroutines of its own, with locks in a state that cannot be recovered from, or
// tries again for ever. So it never hears of one. The failed write and all after
// it are told to have gone well while nothing reaches the directory any more: what
// lies there is what a crash at this moment would have left. The DB is told, and
// refuses all further use.
type fuseFS struct {
	vfs.FS
	blown atomic.Bool
	// mu is held for reading by every write in progress.
	mu sync.RWMutex
	// failed is told why the fuse has blown by itself.
	failed func(error)
	// refused counts the files that were not opened because the fuse is blown.
	refused atomic.Int64
}

// Behind a blown fuse, opening a file takes blownDelay longer to fail each time, up
// to blownMost: background work that needs one tries again at once, and for ever.
const (
	blownDelay = 5 * time.Millisecond
	blownMost  = time.Minute
)

// blow cuts writes off. It may be called from within Pebble; settle then waits
// for the writes in progress.
func (f *fuseFS) blow() { f.blown.Store(true) }

// settle returns when no write is in progress.
func (f *fuseFS) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
}

// write runs one write unless the fuse is blown, and blows it when it fails.
func (f *fuseFS) write(do func() error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.blown.Load() {
		return
	}
	if err := do(); err != nil {
		f.blow()
		f.failed(err)
	}
}

// remove is write for a removal: Pebble expects that something is not there.
func (f *fuseFS) remove(do func() error) (missing error) {
	f.write(func() error {
		err := do()
		if errors.Is(err, fs.ErrNotExist) {
			missing, err = err, nil
		}
		return err
	})
	return missing
}

// create opens a file to write, behind the fuse.
func (f *fuseFS) create(open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File = nullFile{}
	f.write(func() error {
		opened, err := open()
		if err == nil {
			file = opened
		}
		return err
	})
	return &fuseFile{file, f}, nil
}

func (f *fuseFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *fuseFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.create(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f *fuseFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

// Open fails behind a blown fuse: what is there by now may be another store's.
func (f *fuseFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f.mu.RLock()
	if !f.blown.Load() {
		defer f.mu.RUnlock()
		return f.FS.Open(name, o...)
	}
	f.mu.RUnlock() // settle must not wait for what follows
	time.Sleep(min(time.Duration(f.refused.Add(1))*blownDelay, blownMost))
	return nil, &fs.PathError{Op: "open", Path: name, Err: ErrFailed}
}

func (f *fuseFS) OpenDir(name string) (vfs.File, error) {
	d, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fuseFile{d, f}, nil
}

func (f *fuseFS) Link(from, to string) error {
	f.write(func() error { return f.FS.Link(from, to) })
	return nil
}

func (f *fuseFS) Rename(from, to string) error {
	f.write(func() error { return f.FS.Rename(from, to) })
	return nil
}

func (f *fuseFS) Remove(name string) error {
	return f.remove(func() error { return f.FS.Remove(name) })
}

func (f *fuseFS) RemoveAll(name string) error {
	return f.remove(func() error { return f.FS.RemoveAll(name) })
}

func (f *fuseFS) MkdirAll(dir string, perm os.FileMode) error {
	f.write(func() error { return f.FS.MkdirAll(dir, perm) })
	return nil
}

// Lock does nothing: the state directory around the store is locked already,
// and that lock can be let go of while a failed store still runs.
func (f *fuseFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (f *fuseFS) Unwrap() vfs.FS { return f.FS }

// fuseFile is a file or directory open for writing behind the fuse.
type fuseFile struct {
	vfs.File
	fs *fuseFS
}

func (f *fuseFile) Write(b []byte) (int, error) {
	n := len(b)
	f.fs.write(func() error { _, err := f.File.Write(b); return err })
	return n, nil
}

func (f *fuseFile) WriteAt(b []byte, off int64) (int, error) {
	n := len(b)
	f.fs.write(func() error { _, err := f.File.WriteAt(b, off); return err })
	return n, nil
}

func (f *fuseFile) Sync() error {
	f.fs.write(f.File.Sync)
	return nil
}

func (f *fuseFile) SyncData() error {
	f.fs.write(f.File.SyncData)
	return nil
}

func (f *fuseFile) SyncTo(n int64) (full bool, err error) {
	f.fs.write(func() error {
		var err error
		full, err = f.File.SyncTo(n)
		return err
	})
	return full, nil
}

// Preallocate may fail where the file system does not know it, or has no space:
// the write itself will tell.
func (f *fuseFile) Preallocate(off, n int64) error {
	if !f.fs.blown.Load() {
		_ = f.File.Preallocate(off, n)
	}
	return nil
}

func (f *fuseFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.fs.write(func() error { return err })
	}
	return nil
}

// nullFile is what is opened for writing behind a blown fuse.
type nullFile struct{}

func (nullFile) Close() error                           { return nil }
func (nullFile) Read([]byte) (int, error)               { return 0, io.EOF }
func (nullFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (nullFile) Write(b []byte) (int, error)            { return len(b), nil }
func (nullFile) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nullFile) Preallocate(int64, int64) error         { return nil }
func (nullFile) Stat() (vfs.FileInfo, error)            { return nullInfo{}, nil }
func (nullFile) Sync() error                            { return nil }
func (nullFile) SyncTo(int64) (bool, error)             { return true, nil }
func (nullFile) SyncData() error                        { return nil }
func (nullFile) Prefetch(int64, int64) error            { return nil }
func (nullFile) Fd() uintptr                            { return vfs.InvalidFd }

// nullInfo says that a nullFile is empty.
type nullInfo struct{}

func (nullInfo) Name() string           { return "" }
func (nullInfo) Size() int64            { return 0 }
func (nullInfo) Mode() fs.FileMode      { return 0o600 }
func (nullInfo) ModTime() time.Time     { return time.Time{} }
func (nullInfo) IsDir() bool            { return false }
func (nullInfo) Sys() any               { return nil }
func (nullInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
