package state

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// writeAtOnce is how many bytes of a load's file go to the system at a time. Blocks are
// a few kilobytes once they are compressed, and each call costs as much as copying some of them.
const writeAtOnce = 64 << 10

// loadFile is a file of a load as Pebble writes it (objstorage.Writable).
type loadFile struct {
	file vfs.File
	buf  []byte
}

func newLoadFile(f vfs.File) *loadFile { return &loadFile{file: f, buf: make([]byte, 0, writeAtOnce)} }

// Write implements objstorage.Writable.
func (f *loadFile) Write(p []byte) error {
	if len(f.buf)+len(p) > cap(f.buf) {
		if err := f.flush(); err != nil {
			return err
		}
	}
	if len(p) >= cap(f.buf) {
		_, err := f.file.Write(p)
		return err
	}
	f.buf = append(f.buf, p...)
	return nil
}

func (f *loadFile) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	_, err := f.file.Write(f.buf)
	f.buf = f.buf[:0]
	return err
}

// Finish implements objstorage.Writable: the file is on disk afterwards.
func (f *loadFile) Finish() error {
	err := f.flush()
	if err == nil {
		err = f.file.Sync()
	}
	return errors.Join(err, f.file.Close())
}

// Abort implements objstorage.Writable.
func (f *loadFile) Abort() { _ = f.file.Close() }
