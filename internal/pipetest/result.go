package pipetest

import (
	"strings"
	"time"

	"streamctl/internal/diag"
)

// FileResult is what came of one file of tests.
type FileResult struct {
	Path      string
	Pipelines []string // paths of their files
	// Faults are why nothing of it was run: the file, or its pipeline, is wrong.
	Faults  diag.List
	Tests   []TestResult
	Sources map[string][]byte // texts of the files that diagnostics point to
}

// TestResult is what came of one test.
type TestResult struct {
	Name     string
	Span     diag.Span
	Failures diag.List // none = it has passed
	Took     time.Duration
}

// Passed says whether everything was as expected.
func (r *TestResult) Passed() bool { return len(r.Failures) == 0 }

// Summary counts files, tests, and what has failed of them.
type Summary struct {
	Files, Invalid int
	Tests, Failed  int
}

// Summarize counts results.
func Summarize(results []FileResult) Summary {
	var s Summary
	for _, f := range results {
		s.Files++
		if f.Faults.HasErrors() {
			s.Invalid++
		}
		for i := range f.Tests {
			s.Tests++
			if !f.Tests[i].Passed() {
				s.Failed++
			}
		}
	}
	return s
}

// failure is one thing that was not as expected.
func failure(at diag.Span, message string, details ...string) diag.Diagnostic {
	d := diag.Diagnostic{Code: codeTestFailed, Severity: diag.Error, Span: at, Message: message}
	if len(details) > 0 {
		d.Notes = append(d.Notes, diag.Note{Text: strings.Join(details, "\n")})
	}
	return d
}
