package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// declaredTests lists the test functions of the module.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]*)\(t \*testing\.T\)`)
	found := make(map[string]bool)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declaration.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Every promise of guarantees.md names a test, and every test that is named is
// there. Every story of faults that is there stands behind a promise.
func TestEveryPromiseHasItsTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := declaredTests(t)
	named := make(map[string]bool)
	test := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	promises := 0
	for line := range strings.Lines(string(text)) {
		tests := test.FindAllStringSubmatch(line, -1)
		for _, m := range tests {
			named[m[1]] = true
			if !declared[m[1]] {
				t.Errorf("%s is named, but there is no such test:\n%s", m[1], line)
			}
		}
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| promise ") {
			continue
		}
		if promises++; len(tests) == 0 {
			t.Errorf("nothing stands behind this promise:\n%s", line)
		}
	}
	if promises < 30 {
		t.Errorf("only %d promises were found", promises)
	}
	story := regexp.MustCompile(`^TestR[0-9]{2}[A-Za-z]+$`)
	for name := range declared {
		if story.MatchString(name) && !named[name] && !strings.HasSuffix(name, "Embedded") {
			t.Errorf("%s stands behind no promise", name)
		}
	}
}
