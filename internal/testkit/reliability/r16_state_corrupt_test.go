package reliability

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"streamctl/internal/engine"
	"streamctl/state"
)

// TestR16StateCorrupt: damage to any of the state's files is found, and the state
// rebuilt, or it does no harm. It never gives a wrong record.
func TestR16StateCorrupt(t *testing.T) {
	var found, ran atomic.Int64
	// In a group of their own, so that the sums below are of all of them.
	t.Run("while stopped", func(t *testing.T) {
		for _, pattern := range []string{"*.sst", "*.log", "MANIFEST-*", "OPTIONS-*", "marker.*"} {
			t.Run(pattern, func(t *testing.T) {
				seeds(t, 20, func(t *testing.T, seed uint64) {
					ran.Add(1)
					found.Add(damagedWhileStopped(t, seed, pattern))
				})
			})
		}
	})
	if ran.Load() >= 100 && found.Load() < ran.Load()/10 {
		t.Errorf("of all the damage only %d were found", found.Load())
	}
	t.Run("while running", func(t *testing.T) { seeds(t, 20, damagedWhileRunning) })
}

// damagedWhileStopped says how often the damage was found.
func damagedWhileStopped(t *testing.T, seed uint64, pattern string) int64 {
	w := running(t, seed)
	w.views(200 + w.rand.IntN(400))
	w.mustLive(w.directory())
	store := w.directory() // restored, so that it has sorted files
	w.mustLive(store)
	w.views(50 + w.rand.IntN(100))
	w.mustLive(store)
	what := w.damage(store.Options.Dir, pattern)
	w.views(200 + w.rand.IntN(400))
	stats := w.mustLive(store)
	w.check(newRunning())
	w.checkState(store)
	if t.Failed() {
		t.Logf("damage: %s", what)
	}
	n := stats.Incidents[engine.IncidentStateCorrupt]
	aside, err := filepath.Glob(store.Options.Dir + ".corrupt-*")
	if err != nil || len(aside) != int(n) {
		t.Errorf("%d incidents, put aside %v, %v", n, aside, err)
	}
	return n
}

// damage flips a byte of, cuts or deletes one of the store's files.
func (w *world) damage(dir, pattern string) string {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "rows", pattern))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("there is no %s: %v", pattern, err)
	}
	name := files[w.rand.IntN(len(files))]
	data, err := os.ReadFile(name)
	if err != nil {
		w.t.Fatal(err)
	}
	kind := w.rand.IntN(6)
	if kind == 0 || len(data) == 0 {
		if err := os.Remove(name); err != nil {
			w.t.Fatal(err)
		}
		return "delete " + name
	}
	what := "cut "
	if kind < 3 {
		data = data[:w.rand.IntN(len(data))]
	} else {
		what = "flip a bit of "
		data[w.rand.IntN(len(data))] ^= 1 << w.rand.IntN(8)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return what + name
}

// damagedWhileRunning: from some read on, the disk gives back what was never
// written, as long as the files are those that it has damaged.
func damagedWhileRunning(t *testing.T, seed uint64) {
	w := running(t, seed)
	w.views(600)
	rotten := &rottenFS{FS: vfs.Default, after: int64(w.rand.IntN(60)), at: w.rand.IntN(1 << 20)}
	store := w.directory()
	store.Options.FS = rotten
	store.Options.BlockCacheBytes = 1
	w.mustLive(w.directory())
	w.mustLive(store)
	rotten.armed.Store(true)
	var total int64
	for range 4 {
		w.views(300)
		total += w.mustLive(store).Incidents[engine.IncidentStateCorrupt]
	}
	w.check(newRunning())
	rotten.armed.Store(false)
	w.mustLive(store) // brings forward what the last damage has kept from being applied
	w.checkState(store)
	if total == 0 && rotten.hit.Load() {
		t.Error("a damaged block was read and nobody noticed")
	}
}

// rottenFS flips a bit of what is read from one sorted file, for ever, once it is armed
// and so many reads have passed.
type rottenFS struct {
	state.FS
	after int64 // reads
	at    int   // which bit of the read
	armed atomic.Bool
	reads atomic.Int64
	file  atomic.Pointer[string]
	hit   atomic.Bool
}

func (f *rottenFS) Unwrap() vfs.FS { return f.FS }

func (f *rottenFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return file, err
	}
	return &rottenFile{file, f, name}, nil
}

// Create and Link make the file a new one, which is whole.
func (f *rottenFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f.renewed(name)
	return f.FS.Create(name, c)
}

func (f *rottenFS) Link(from, to string) error {
	f.renewed(to)
	return f.FS.Link(from, to)
}

func (f *rottenFS) renewed(name string) {
	if rotten := f.file.Load(); rotten != nil && *rotten == name {
		none := ""
		f.file.Store(&none)
	}
}

type rottenFile struct {
	vfs.File
	fs   *rottenFS
	name string
}

func (f *rottenFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if !f.fs.armed.Load() || n == 0 || f.fs.reads.Add(1) <= f.fs.after {
		return n, err
	}
	f.fs.file.CompareAndSwap(nil, &f.name)
	if *f.fs.file.Load() == f.name {
		f.fs.hit.Store(true)
		p[f.fs.at%n] ^= 1
	}
	return n, err
}
