package state

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// Files of a load are cut when they have come to their size, and not before: the store
// reads and merges them whole.
func TestLoadCutsItsFiles(t *testing.T) {
	db, _, _ := openTable(t, Options{})
	if err := db.fs.MkdirAll("files", 0o700); err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 1<<20) // does not compress
	rnd := rand.NewChaCha8([32]byte{1})
	if _, err := rnd.Read(random); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, len(random))
	for _, c := range []struct {
		what  string
		row   []byte
		files int
	}{{"random", random, 3}, {"zeros", zeros, 1}} {
		w := &tableWriter{db: db, dir: "files", name: c.what}
		for i := range uint32(70) {
			if err := w.set(binary.BigEndian.AppendUint32(nil, i), c.row); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.finish(); err != nil {
			t.Fatal(err)
		}
		if len(w.paths) != c.files {
			t.Errorf("70 MiB of %s: %d files, want %d", c.what, len(w.paths), c.files)
		}
		for _, path := range w.paths {
			info, err := db.fs.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if size := info.Size(); size > loadFileBytes+2<<20 {
				t.Errorf("%s has %d bytes", path, size)
			}
		}
	}
}
