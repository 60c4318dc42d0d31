package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecondOpenerIsToldWhoHasIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	db, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v, %v", info.Mode(), err)
	}
	_, err = Open(Options{Dir: dir})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second opener: %v", err)
	}
	if err := Remove(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("remove: %v", err)
	}
	if _, err := Quarantine(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("quarantine: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if db, err = Open(Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	if err := Remove(dir); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
}

func TestOtherDirectoriesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "keep.txt")
	if err := os.WriteFile(keep, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, openErr := Open(Options{Dir: dir})
	_, quarantineErr := Quarantine(dir)
	for what, err := range map[string]error{"open": openErr, "quarantine": quarantineErr, "remove": Remove(dir)} {
		if !errors.Is(err, ErrNotState) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Not even when it looks a little like one.
	if err := os.WriteFile(filepath.Join(dir, infoName), []byte(infoText), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); !errors.Is(err, ErrNotState) {
		t.Errorf("remove: %v", err)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
}

func TestQuarantineNumbersItsDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for i := 1; i <= 3; i++ {
		db, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		aside, err := Quarantine(dir)
		if err != nil || aside != fmt.Sprintf("%s.corrupt-%d", dir, i) {
			t.Fatalf("put aside to %q: %v", aside, err)
		}
	}
}

func TestOptionsListEveryFault(t *testing.T) {
	_, err := Open(Options{CacheBytes: -1, LoadBytes: -1})
	for _, want := range []string{"directory", "CacheBytes", "LoadBytes"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
}

func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	db, err := Open(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, name := range []string{"", "..", "../x", "a/b", "a\\b", ".hidden", "a b", "ä", "a\x00", strings.Repeat("a", 201)} {
		if _, err := db.OpenTask(name, 0, nil); err == nil {
			t.Errorf("sub-topology %q is taken", name)
		}
		if _, err := db.OpenTask("sub", 0, []TableSpec{{Name: name}}); err == nil {
			t.Errorf("table %q is taken", name)
		}
	}
	if _, err := db.OpenTask("sub", -1, nil); err == nil {
		t.Error("partition -1 is taken")
	}
	if _, err := db.OpenTask("sub", 0, []TableSpec{{Name: "a"}, {Name: "a"}}); err == nil {
		t.Error("two tables of one name are taken")
	}
	if _, err := db.OpenTask("sub-1", 0, []TableSpec{{Name: "Table_1.x"}}); err != nil {
		t.Error(err)
	}
}
