package simulate

import (
	"errors"
	"hash/fnv"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"streamctl/state"
)

// disk is a process's file system: it remembers what was synced, and can be full.
type disk struct {
	state.FS
	full atomic.Bool
}

func newDisk() *disk { return &disk{FS: state.NewCrashFS()} }

// noSpace is the failure of a write while the disk is full.
func (d *disk) noSpace(name string) error {
	if d.full.Load() {
		return &fs.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
	}
	return nil
}

func (d *disk) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d, name}, nil
}

func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.noSpace(name); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(name, c)
	return d.wrap(name, f, err)
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return d.wrap(name, f, err)
}

func (d *disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, c)
	return d.wrap(to, f, err)
}

func (d *disk) MkdirAll(dir string, perm fs.FileMode) error {
	if err := d.noSpace(dir); err != nil {
		return err
	}
	return d.FS.MkdirAll(dir, perm)
}

func (d *disk) Unwrap() vfs.FS { return d.FS }

// diskFile is a file open for writing.
type diskFile struct {
	vfs.File
	disk *disk
	name string
}

func (f *diskFile) Write(b []byte) (int, error) {
	if err := f.disk.noSpace(f.name); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *diskFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.noSpace(f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

// cut is what a power cut leaves of the disk: all that was synced, and of the
// rest each block and name with a probability of percent / 100. It is put
// together from the two extremes, in the order of names, so that the same seed
// leaves the same.
func (d *disk) cut(percent int, r *rand.Rand) (*disk, error) {
	if percent == 100 {
		return &disk{FS: state.CrashClone(d.FS, 100, 1)}, nil
	}
	synced := state.CrashClone(d.FS, 0, 1)
	if percent > 0 {
		if err := mix(synced, state.CrashClone(d.FS, 100, 1), "", percent, r.Uint64()); err != nil {
			return nil, err
		}
		synced = state.CrashClone(synced, 100, 1) // and that is what lies there now
	}
	return &disk{FS: synced}, nil
}

// mix puts some of what is in the directory dir of written into synced. Each file
// has its own chance: how large another one is has no part in it.
func mix(synced, written state.FS, dir string, percent int, seed uint64) error {
	names, err := written.List(dir + "/")
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		path := dir + "/" + name
		h := fnv.New64a()
		_, _ = h.Write([]byte(path))
		r := rand.New(rand.NewPCG(seed, h.Sum64()))
		info, err := written.Stat(path)
		if err != nil {
			return err
		}
		_, err = synced.Stat(path)
		missing := errors.Is(err, fs.ErrNotExist)
		switch {
		case err != nil && !missing:
			return err
		case missing && r.IntN(100) >= percent:
			continue
		case info.IsDir():
			if missing {
				if err := synced.MkdirAll(path, 0o700); err != nil {
					return err
				}
			}
			if err := mix(synced, written, path, percent, seed); err != nil {
				return err
			}
		default:
			if err := mixFile(synced, written, path, missing, percent, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// mixFile mixes a file block by block.
func mixFile(synced, written state.FS, path string, missing bool, percent int, r *rand.Rand) error {
	const block = 4096
	fresh, err := readFile(written, path)
	if err != nil {
		return err
	}
	var out []byte
	if !missing {
		if out, err = readFile(synced, path); err != nil {
			return err
		}
	}
	for at := 0; at < len(fresh); at += block {
		part := fresh[at:min(at+block, len(fresh))]
		if r.IntN(100) >= percent {
			continue
		}
		if grow := at + len(part) - len(out); grow > 0 {
			out = append(out, make([]byte, grow)...)
		}
		copy(out[at:], part)
	}
	f, err := synced.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(out)
	return errors.Join(err, f.Close())
}

func readFile(fs state.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}
