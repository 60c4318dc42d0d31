package pipeline

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"streamctl/internal/diag"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// checkAll runs every stage that needs no environment, as `validate` does.
// Comments "# set: path=value" at the top of the file are overrides.
func checkAll(name string, src []byte) (*File, diag.List) {
	var opts ParseOptions
	for line := range strings.Lines(string(src)) {
		setting, ok := strings.CutPrefix(line, "# set: ")
		if !ok {
			break
		}
		opts.Set = append(opts.Set, strings.TrimSuffix(setting, "\n"))
	}
	result, list := Check(name, src, opts)
	return result.File, list
}

// TestBadFiles holds what is said about each bad file to a golden, caret and all.
func TestBadFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 40 {
		t.Fatalf("only %d bad files: the folder is gone", len(paths))
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file, list := checkAll(filepath.Base(path), src)
			if len(list) == 0 {
				t.Fatal("nothing was found to be wrong")
			}
			var out strings.Builder
			if err := file.Printer().Print(&out, list); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", out.String())
		})
	}
}

// golden compares got with a file, or rewrites it under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update and review)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}
