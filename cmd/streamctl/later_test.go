package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// A state directory that a later version has written is refused and left as it
// is: it is no damage, and that version may come back.
func TestALaterStateIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(examplesDir, "04-count-per-key", "pipeline.yaml")
	streamctl(t, "run", file, "--until-end", "--data-dir", dir)
	stores, err := filepath.Glob(filepath.Join(dir, "state", "*", "rows"))
	if err != nil || len(stores) != 1 {
		t.Fatal(stores, err)
	}
	db, err := pebble.Open(stores[0], &pebble.Options{FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set([]byte{0, 0, 0, 0, 'v'}, []byte{2}, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{"streamctl", "run", file, "--until-end", "--data-dir", dir}}
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != exitRefused {
		t.Errorf("run: %v, want code %d\n%s", err, exitRefused, out)
	}
	if !strings.Contains(string(out), "its format is 2, this program knows 1: written by a later version of streamctl") {
		t.Errorf("it says %s", out)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "state", "*.corrupt-*")); aside != nil {
		t.Errorf("put aside: %v", aside)
	}
}
