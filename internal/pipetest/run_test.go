package pipetest

import (
	"strings"
	"testing"

	"streamctl/internal/diag"
)

// suiteOf loads a file of tests.
func suiteOf(t *testing.T, path string) *bound {
	t.Helper()
	var f FileResult
	b := load(path, &f, nil)
	if b == nil {
		t.Fatalf("%s: %v", path, f.Faults)
	}
	return b
}

// With restarts, every record is followed by the start of another process, and a
// failure says that it comes of them.
func TestRestartsAreMade(t *testing.T) {
	b := suiteOf(t, "testdata/failing/sinks.tests.yaml")
	for way, told := range map[int]string{
		asWritten: "sink", everywhere: "with a restart after every record: sink",
		losingState: "with a restart that loses the state after every record: sink",
	} {
		r := &runner{bound: b, test: b.suite.Tests[0], way: way, looked: map[string]diag.Span{}, rows: map[string]*tableView{}}
		r.run()
		if len(r.failures) != 1 || !strings.HasPrefix(r.failures[0].Message, told+` "named"`) {
			t.Errorf("it says %v", r.failures)
		}
		want := int32(1) // the first start, and one for each of the two records
		if way != asWritten {
			want = 3
		}
		if got := r.world.log.Generation("shop"); got < want || got > 2*want {
			t.Errorf("the group has come to generation %d, want that of %d processes", got, want)
		}
	}
}

// The results of a run do not depend on how many tests run at a time, and are told
// in the order of the files.
func TestResultsComeInOrder(t *testing.T) {
	files := []string{"testdata/failing/sinks.tests.yaml", "testdata/bad/empty.tests.yaml", "testdata/failing/others.tests.yaml"}
	var first string
	for _, parallel := range []int{1, 8} {
		var out strings.Builder
		results := Run(t.Context(), files, Options{Parallel: parallel})
		for _, f := range results {
			out.WriteString(f.Path + "\n")
			for _, r := range f.Tests {
				out.WriteString(r.Name + r.Failures[0].Message + "\n")
			}
		}
		if first == "" {
			first = out.String()
		} else if out.String() != first {
			t.Errorf("got\n%s\nand\n%s", first, out.String())
		}
		if s := Summarize(results); s != (Summary{Files: 3, Invalid: 1, Tests: 17, Failed: 17}) {
			t.Errorf("summary %+v", s)
		}
	}
}

// A pipeline is named from where the file of tests lies, or by its whole path.
func TestPathOfPipeline(t *testing.T) {
	for named, want := range map[string]string{
		"../other/p.yaml": "suites/other/p.yaml",
		"/abs/path.yaml":  "/abs/path.yaml",
	} {
		s, _ := ParseSuite("suites/mine/tests.yaml", []byte("pipeline: "+named+"\ntests: []\n"))
		if got := s.Pipelines[0].Path; got != want {
			t.Errorf("%s: got %s, want %s", named, got, want)
		}
	}
}
