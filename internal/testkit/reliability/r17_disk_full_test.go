package reliability

import (
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/state"
)

// smallDisk is a disk that becomes full at some write.
type smallDisk struct {
	state.FS
	left   atomic.Int64 // writes until then
	probes atomic.Int64 // of space, until there is some
	full   atomic.Bool  // it has been
}

func newSmallDisk(writes, probes int) *smallDisk {
	d := &smallDisk{}
	d.left.Store(int64(writes))
	d.probes.Store(int64(probes))
	d.FS = errorfs.Wrap(state.NewMemFS(), errorfs.InjectorFunc(d.inject))
	return d
}

func (d *smallDisk) inject(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpRemove || op.Kind == errorfs.OpFileClose {
		return nil
	}
	if d.left.Add(-1) >= 0 {
		return nil
	}
	d.full.Store(true)
	// A probe makes the directory first, where there was no space even for that.
	probe := strings.HasSuffix(op.Path, "PROBE") && op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpMkdirAll
	if probe && d.probes.Add(-1) < 0 {
		d.left.Store(1 << 40) // somebody has made space
		return nil
	}
	return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
}

// TestR17DiskFull: when the disk is full at whatever write, the process gives up
// its tasks, commits nothing more, and goes on by itself once there is space.
func TestR17DiskFull(t *testing.T) {
	var full, ran atomic.Int64
	t.Run("random write", func(t *testing.T) {
		seeds(t, 30, func(t *testing.T, seed uint64) {
			ran.Add(1)
			full.Add(diskFull(t, seed))
		})
	})
	if ran.Load() >= 30 && full.Load() < 10 {
		t.Errorf("the disk was met full %d times only", full.Load())
	}
	t.Run("others take over", func(t *testing.T) { seeds(t, 20, diskFullBesideAnother) })
	t.Run("tmpfs", diskFullForReal)
}

// diskFull says how often the disk was met full.
func diskFull(t *testing.T, seed uint64) int64 {
	world := running
	if seed%2 == 1 {
		world = joining
	}
	w := world(t, seed)
	w.views(400 + w.rand.IntN(400))
	disk := newSmallDisk(w.rand.IntN(200), w.rand.IntN(4))
	store := memory{smallState("state", disk)}
	var suspended, ready int
	stats := w.mustLive(store, func(o *engine.Options) {
		o.Progress = func(s engine.Stats) {
			if s.Suspended == "" {
				return
			}
			suspended++
			if s.Tasks > 0 || s.Running > 0 {
				ready++
			}
		}
	})
	if seed%2 == 1 {
		w.check(w.joinModel())
	} else {
		w.check(newRunning())
	}
	disk.left.Store(1 << 40)
	w.mustLive(store) // brings forward what could not be applied
	w.checkState(store)
	n := stats.Incidents[engine.IncidentStateFull]
	if n > 0 && !disk.full.Load() || (n > 0) != (suspended > 0) || ready > 0 {
		t.Errorf("the disk was full: %v; %d incidents, %d times said so, %d times with tasks", disk.full.Load(), n, suspended, ready)
	}
	return n
}

// diskFullBesideAnother: the tasks of the process whose disk is full go to the other one,
// and nothing is committed by it meanwhile.
func diskFullBesideAnother(t *testing.T, seed uint64) {
	w := running(t, seed)
	disk := newSmallDisk(50+w.rand.IntN(200), 1<<40) // nobody makes space
	var noticed atomic.Bool
	full := w.process(memory{smallState("state", disk)}, func(o *engine.Options) {
		o.Progress = func(s engine.Stats) { noticed.Store(noticed.Load() || s.Incidents[engine.IncidentStateFull] > 0) }
	})
	w.views(300)
	endFull := w.begin(full)
	other := w.process(w.directory(), func(o *engine.Options) { o.Instance = "two" })
	other.transport = w.log.Transport(memlog.TransportConfig{Group: "p", Instance: "two"})
	other.opts.Transport = other.transport
	endOther := w.begin(other)
	for !disk.full.Load() {
		w.views(50)
		w.await("all is processed, or the disk is full", func() bool { return disk.full.Load() || w.lag("p-views") == 0 })
	}
	w.await("it has noticed that its disk is full", noticed.Load)
	w.views(300)
	w.await("the other one has processed all", func() bool { return w.lag("p-views") == 0 })
	stats, err := endFull()
	if err != nil || stats.Incidents[engine.IncidentStateFull] != 1 {
		t.Errorf("%d incidents, %v", stats.Incidents[engine.IncidentStateFull], err)
	}
	if _, err := endOther(); err != nil {
		t.Error(err)
	}
	w.check(newRunning())
}
