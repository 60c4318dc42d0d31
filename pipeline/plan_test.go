package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlans holds the plan of each good file to a golden.
func TestPlans(t *testing.T) {
	paths, err := filepath.Glob("testdata/plans/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, "no files in testdata/plans")
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			r, diags := Compile(filepath.Base(path), src, ParseOptions{})
			if len(diags) > 0 {
				var out strings.Builder
				_ = r.File.Printer().Print(&out, diags)
				t.Fatal(out.String())
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", r.Plan.String())
			again, _ := Compile(filepath.Base(path), src, ParseOptions{})
			if again.Plan.Fingerprint() != r.Plan.Fingerprint() {
				t.Error("a second compilation gives another plan")
			}
		})
	}
}
