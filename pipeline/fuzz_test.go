package pipeline

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"streamctl/internal/diag"
)

// FuzzCheck: no file makes a stage panic or report a place outside of the file.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(enrichment))
	for _, pattern := range []string{"testdata/bad/*.yaml", "../examples/pipelines/*/pipeline.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(paths), err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		result, list := Check("p.yaml", text, ParseOptions{})
		for _, d := range list {
			checkSpan(t, d.Span, text)
			for _, n := range d.Notes {
				checkSpan(t, n.Span, text)
			}
			if d.Code == "" || d.Message == "" {
				t.Errorf("empty diagnostic %+v", d)
			}
		}
		if err := result.File.Printer().Print(io.Discard, list); err != nil {
			t.Error(err)
		}
	})
}

func checkSpan(t *testing.T, s diag.Span, text []byte) {
	if s.Start.Offset < 0 || s.End.Offset > len(text) || s.Start.Offset > s.End.Offset {
		t.Errorf("%+v is outside of %d bytes", s, len(text))
	}
}
