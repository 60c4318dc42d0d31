package pipeline

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCodeIsExplained: each code that any package declares and uses has
// an entry in docs/diagnostics.md and stands in a golden; no entry is without a code.
func TestEveryCodeIsExplained(t *testing.T) {
	doc, err := os.ReadFile("../docs/diagnostics.md")
	if err != nil {
		t.Fatal(err)
	}
	goldens := goldenText(t)
	declared := declaredCodes(t)
	if len(declared) < 30 {
		t.Fatalf("only %d codes found: the search is broken", len(declared))
	}
	for code, where := range declared {
		if !strings.Contains(string(doc), "\n### "+code+"\n") {
			t.Errorf("%s (%s) has no entry in docs/diagnostics.md", code, where)
		}
		if code == "ambiguous-name" {
			continue // resolve demands aliases where two inputs meet; expr guards its other callers
		}
		if !strings.Contains(goldens, "["+code+"]: ") && !strings.Contains(goldens, " "+code+": ") {
			t.Errorf("%s (%s) is in no golden", code, where)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(string(doc), -1) {
		if declared[m[1]] == "" {
			t.Errorf("docs/diagnostics.md explains %s, which nothing reports", m[1])
		}
	}
}

// declaredCodes finds constants of type diag.Code that are used, with the file
// of their declaration.
func declaredCodes(t *testing.T) map[string]string {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^\s*(\w+)\s+diag\.Code\s*=\s*"([^"]+)"`)
	codes := map[string]string{}
	eachFile(t, "..", ".go", func(path, text string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, m := range declaration.FindAllStringSubmatch(text, -1) {
			if usedInPackage(t, filepath.Dir(path), m[1]) {
				codes[m[2]] = path
			} else {
				t.Errorf("%s: %s is declared and never used", path, m[1])
			}
		}
	})
	return codes
}

func usedInPackage(t *testing.T, dir, name string) bool {
	word := regexp.MustCompile(`\b` + name + `\b`)
	uses := 0
	eachFile(t, dir, ".go", func(path, text string) {
		if !strings.HasSuffix(path, "_test.go") {
			uses += len(word.FindAllStringIndex(text, -1))
		}
	})
	return uses > 1
}

func goldenText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	eachFile(t, "testdata", ".golden", func(_, text string) { all.WriteString(text) })
	eachFile(t, "../internal/pipetest/testdata", ".golden", func(_, text string) { all.WriteString(text) })
	eachFile(t, "../expr/testdata", ".txt", func(_, text string) { all.WriteString(text) })
	return all.String()
}

func eachFile(t *testing.T, root, suffix string, do func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, suffix) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		do(path, string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
