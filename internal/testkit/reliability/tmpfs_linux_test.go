package reliability

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/testkit"
)

// diskFullForReal runs the binary with its data on a small file system in memory.
func diskFullForReal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	data := t.TempDir()
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("mount a file system in memory: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, 0); err != nil {
			t.Error(err)
		}
	})
	h := newHost(t, fmt.Sprintf(testkit.RunningPipeline, "full"), "full-views", "full-out")
	ballast := filepath.Join(data, "ballast")
	leave(t, ballast, data, 1<<20)
	p := h.start(data)
	views := h.feedUntil(p, "the disk of the local state is full")
	t.Logf("full after %d views and %s", len(views), time.Since(p.Begun()))
	h.awaitLine(p, "still full")
	at := h.committed()
	views = append(views, h.feed(1000)...)
	h.awaitLines(p, "still full", 2)
	if now := h.committed(); now != at {
		t.Errorf("it had committed %d, and %d while its disk was full", at, now)
	}
	if group, err := h.cluster.Group(t.Context(), "full"); err != nil || len(group.Members) != 0 {
		t.Errorf("the group has %d members: %v", len(group.Members), err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	h.await("everything is processed", func() bool { return h.committed() == int64(len(views)) })
	t.Logf("went on after %s", time.Since(p.Begun()))
	p.Signal(syscall.SIGTERM)
	h.awaitEnd(p)
	want, m := make(testkit.Sequences), testkit.NewRunningModel()
	for _, v := range views {
		o, err := m.View(v)
		if err != nil {
			t.Fatal(err)
		}
		want.Add(o)
	}
	if diff := testkit.Diff(want, h.outputs()); diff != "" {
		t.Error(diff)
	}
}

// leave fills the file system of dir by a file until so many bytes are free.
func leave(t *testing.T, file, dir string, free uint64) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, fs.Bavail*uint64(fs.Bsize)-free), 0o600); err != nil {
		t.Fatal(err)
	}
}
