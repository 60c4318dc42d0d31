package pipetest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"streamctl/internal/diag"
)

var update = flag.Bool("update", false, "write the goldens")

// report runs a file of tests and writes what a user would see of it.
func report(t *testing.T, path string) string {
	t.Helper()
	results := Run(t.Context(), []string{path}, Options{})
	var out strings.Builder
	printer := &diag.Printer{Sources: results[0].Sources}
	if err := printer.Print(&out, results[0].Faults); err != nil {
		t.Fatal(err)
	}
	for _, r := range results[0].Tests {
		if r.Passed() {
			out.WriteString("passed: " + r.Name + "\n\n")
			continue
		}
		out.WriteString("failed: " + r.Name + "\n")
		if err := printer.Print(&out, r.Failures); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// TestGoldens holds what is said of bad files and of failing tests to what stands beside them.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.tests.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got := report(t, path)
			golden := strings.TrimSuffix(path, ".tests.yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if strings.Contains(got, "passed: ") {
				t.Error("one of them has passed")
			}
		})
	}
}
