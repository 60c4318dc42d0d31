package state

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// countingFile counts writes and syncs.
type countingFile struct {
	vfs.File
	writes, syncs int
	unsynced      int // writes since the last sync
}

func (f *countingFile) Write(p []byte) (int, error) {
	f.writes++
	f.unsynced++
	return f.File.Write(p)
}

func (f *countingFile) Sync() error {
	f.syncs++
	f.unsynced = 0
	return f.File.Sync()
}

// What is written to a load's file is there, in order and synced, however large the pieces; small
// ones are gathered.
func TestLoadFileGathersWrites(t *testing.T) {
	for _, c := range []struct {
		sizes  []int
		writes int
	}{
		{nil, 0}, {[]int{0, 0}, 0}, {[]int{1}, 1}, {slices.Repeat([]int{1000}, 65), 1}, {slices.Repeat([]int{1000}, 66), 2}, {slices.Repeat([]int{1000}, 66*3), 4},
		{[]int{writeAtOnce / 2, writeAtOnce / 2}, 1}, {[]int{writeAtOnce - 1, 1, 1}, 2}, {[]int{writeAtOnce, writeAtOnce}, 2}, {[]int{5, writeAtOnce, 7, 3 * writeAtOnce, 9}, 5},
	} {
		fs := vfs.NewMem()
		file, err := fs.Create("f", storeWrites)
		if err != nil {
			t.Fatal(err)
		}
		counted := &countingFile{File: file}
		f := newLoadFile(counted)
		var want []byte
		for i, size := range c.sizes {
			p := bytes.Repeat([]byte{byte(i + 1)}, size)
			want = append(want, p...)
			if err := f.Write(p); err != nil {
				t.Fatal(err)
			}
			for j := range p {
				p[j] = 0 // it is the caller's again
			}
		}
		if err := f.Finish(); err != nil {
			t.Fatal(err)
		}
		if counted.writes != c.writes || counted.syncs != 1 || counted.unsynced != 0 {
			t.Errorf("pieces of %v bytes: %d writes, %d syncs, %d writes after the last; want %d, 1, 0", c.sizes, counted.writes, counted.syncs, counted.unsynced, c.writes)
		}
		read, err := fs.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(read); err != nil || !bytes.Equal(got, want) {
			t.Errorf("pieces of %v bytes: %d bytes are there (%v), want %d", c.sizes, len(got), err, len(want))
		}
	}
}
