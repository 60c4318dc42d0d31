package pipetest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/diag"
)

// The form of reports that build servers read: a suite per file, a case per test.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	File     string      `xml:"file,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr,omitempty"`
	Time    string        `xml:"time,attr"`
	Failure *junitProblem `xml:"failure"`
	Error   *junitProblem `xml:"error"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes results as JUnit XML. A file that could not be run is one
// case with an error.
func WriteJUnit(w io.Writer, results []FileResult) error {
	var out junitSuites
	var all time.Duration
	for _, f := range results {
		s := junitSuite{Name: f.Path, File: f.Path}
		var took time.Duration
		if f.Faults.HasErrors() {
			s.Errors, s.Tests = 1, 1
			s.Cases = append(s.Cases, junitCase{Name: f.Path, Class: f.Path, File: f.Path, Time: seconds(0), Error: problem(f.Faults, f.Sources)})
		}
		for _, t := range f.Tests {
			c := junitCase{Name: t.Name, Class: f.Path, File: f.Path, Line: t.Span.Start.Line, Time: seconds(t.Took)}
			if !t.Passed() {
				c.Failure = problem(t.Failures, f.Sources)
				s.Failures++
			}
			s.Tests++
			took += t.Took
			s.Cases = append(s.Cases, c)
		}
		s.Time = seconds(took)
		all += took
		out.Suites = append(out.Suites, s)
		out.Tests += s.Tests
		out.Failures += s.Failures
		out.Errors += s.Errors
	}
	out.Time = seconds(all)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// problem shows diagnostics as a terminal without colours would.
func problem(list diag.List, sources map[string][]byte) *junitProblem {
	var text strings.Builder
	printer := diag.Printer{Sources: sources}
	_ = printer.Print(&text, list) // a Builder takes everything
	return &junitProblem{Message: list[0].Message, Type: string(list[0].Code), Text: text.String()}
}
