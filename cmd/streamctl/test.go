package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"streamctl/internal/diag"
	"streamctl/internal/pipetest"
)

// exitTests is the code when tests have failed.
const exitTests = 4

type testFlags struct {
	run      string
	set      []string
	junit    string
	parallel int
	restarts bool
	watch    bool
	verbose  bool
}

func (a *app) testCommand() *cobra.Command {
	f := new(testFlags)
	cmd := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Run the tests that lie beside pipelines, without a broker",
		Long: `Run tests of pipelines: files called tests.yaml, or NAME.tests.yaml beside
NAME.yaml. A PATH is such a file, a pipeline whose tests are meant, or a directory
with all below it; without one, the directory at hand.

Each test runs the whole pipeline, as run would, on a log and a disk in memory and
with a clock that stands still: no broker is needed, and nothing is waited for.

  tests:
    - name: views of the same viewer are counted
      steps:
        - page_views: {key: "7", value: {viewerId: 7}, at: 0s}
        - expect: {counts: [{key: 7, value: {views: 1}}]}
        - restart: {}
        - page_views: {key: "7", value: {viewerId: 7}, at: 10s}
        - expect: {counts: [{key: 7, value: {views: 2, ...}}]}

What is not as expected is shown with its line; the exit code is then 4. It is 3 when a
file of tests or its pipeline is not valid.`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.test(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.run, "run", "", "run only tests whose names match this regular expression")
	flags.StringArrayVar(&f.set, "set", nil, "replace the value at a path of every pipeline, as PATH=VALUE; may be repeated")
	flags.StringVar(&f.junit, "junit", "", "write a report in JUnit's XML to this file")
	flags.IntVar(&f.parallel, "parallel", 0, "how many tests run at a time; default: one per core")
	flags.BoolVar(&f.restarts, "restarts", false, "run each test again with a restart after every record, and again with the state lost, too: it must pass all the same")
	flags.BoolVar(&f.watch, "watch", false, "run again whenever a file has changed, until told to stop")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "name the tests that pass, too")
	return cmd
}

// test runs the tests once, or again and again.
func (a *app) test(ctx context.Context, f *testFlags, paths []string) error {
	opts := pipetest.Options{Parallel: f.parallel, Set: f.set, Restarts: f.restarts}
	if f.parallel < 0 {
		return usagef("--parallel %d: want a number from 1", f.parallel)
	}
	if f.run != "" {
		var err error
		if opts.Run, err = regexp.Compile(f.run); err != nil {
			return usagef("--run %s: %w", f.run, err)
		}
	}
	if len(paths) == 0 {
		paths = []string{"."}
	}
	if f.watch {
		return a.watchTests(ctx, f, opts, paths)
	}
	return a.testOnce(ctx, f, opts, paths)
}

// testOnce finds the tests, runs them, and tells how it went.
func (a *app) testOnce(ctx context.Context, f *testFlags, opts pipetest.Options, paths []string) error {
	files, err := pipetest.Find(paths)
	if err != nil {
		return usagef("%w", err)
	}
	if len(files) == 0 {
		return usagef("there is no tests.yaml and no NAME.tests.yaml in %s", strings.Join(paths, ", "))
	}
	began := time.Now()
	results := pipetest.Run(ctx, files, opts)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f.junit != "" {
		if err := writeJUnit(f.junit, results); err != nil {
			return err
		}
	}
	sum := pipetest.Summarize(results)
	if a.output == outputJSON {
		err = a.printJSON(jsonResults(results, sum, time.Since(began)))
	} else {
		err = a.printTests(f, results, sum, time.Since(began))
	}
	switch {
	case err != nil:
		return err
	case sum.Invalid > 0:
		return &failure{code: exitInvalid, err: errors.New("tests or pipelines are invalid"), silent: true}
	case sum.Failed > 0:
		return &failure{code: exitTests, err: errors.New("tests have failed"), silent: true}
	case sum.Tests == 0:
		return usagef("--run %s matches no test", f.run)
	}
	return nil
}

func writeJUnit(path string, results []pipetest.FileResult) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return pipetest.WriteJUnit(file, results)
}

// printTests shows what failed, then a line per file, then the sums.
func (a *app) printTests(f *testFlags, results []pipetest.FileResult, sum pipetest.Summary, took time.Duration) error {
	var out strings.Builder
	for _, r := range results {
		if len(r.Tests) == 0 && !r.Faults.HasErrors() {
			continue // --run has chosen none of them
		}
		printer := &diag.Printer{Sources: r.Sources, Color: a.color(a.stdout)}
		if len(r.Faults) > 0 {
			if err := printer.Print(&out, r.Faults); err != nil {
				return err
			}
			out.WriteByte('\n')
		}
		if err := a.printFile(&out, f, printer, r); err != nil {
			return err
		}
	}
	fmt.Fprintf(&out, "%s\n", sumText(sum, took))
	_, err := fmt.Fprint(a.stdout, out.String())
	return err
}

func (a *app) printFile(out *strings.Builder, f *testFlags, printer *diag.Printer, r pipetest.FileResult) error {
	failed := 0
	var slowest time.Duration
	for i := range r.Tests {
		t := &r.Tests[i]
		slowest += t.Took
		if t.Passed() {
			if f.verbose {
				fmt.Fprintf(out, "  ok    %s (%s)\n", t.Name, brief(t.Took))
			}
			continue
		}
		failed++
		fmt.Fprintf(out, "--- failed: %s (%s:%d)\n", t.Name, r.Path, t.Span.Start.Line)
		if err := printer.Print(out, t.Failures); err != nil {
			return err
		}
		out.WriteByte('\n')
	}
	switch {
	case r.Faults.HasErrors():
		fmt.Fprintf(out, "invalid %s: %s\n", r.Path, r.Faults.Summary())
	case failed > 0:
		fmt.Fprintf(out, "FAILED  %s: %d of %s (%s)\n", r.Path, failed, plural(len(r.Tests), "test"), brief(slowest))
	default:
		fmt.Fprintf(out, "ok      %s: %s (%s)\n", r.Path, plural(len(r.Tests), "test"), brief(slowest))
	}
	return nil
}

func sumText(s pipetest.Summary, took time.Duration) string {
	text := fmt.Sprintf("%s in %s", plural(s.Tests, "test"), plural(s.Files, "file"))
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d failed", s.Failed)
	}
	if s.Invalid > 0 {
		text += fmt.Sprintf(", %s invalid", plural(s.Invalid, "file"))
	}
	if s.Failed+s.Invalid == 0 {
		text += ", all passed"
	}
	return text + " (" + brief(took) + ")"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// brief rounds a duration for people.
func brief(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// jsonTests is the output as data.
type jsonTests struct {
	Passed  bool       `json:"passed"`
	Tests   int        `json:"tests"`
	Failed  int        `json:"failed"`
	Invalid int        `json:"invalid"`
	Seconds float64    `json:"seconds"`
	Files   []jsonFile `json:"files"`
}

type jsonFile struct {
	File        string     `json:"file"`
	Pipelines   []string   `json:"pipelines"`
	Diagnostics diag.List  `json:"diagnostics"`
	Tests       []jsonTest `json:"tests"`
}

type jsonTest struct {
	Name     string    `json:"name"`
	Line     int       `json:"line"`
	Passed   bool      `json:"passed"`
	Seconds  float64   `json:"seconds"`
	Failures diag.List `json:"failures"`
}

func jsonResults(results []pipetest.FileResult, sum pipetest.Summary, took time.Duration) jsonTests {
	out := jsonTests{
		Passed: sum.Failed+sum.Invalid == 0, Tests: sum.Tests, Failed: sum.Failed, Invalid: sum.Invalid, Seconds: took.Seconds(), Files: []jsonFile{},
	}
	for _, r := range results {
		f := jsonFile{File: r.Path, Pipelines: append([]string{}, r.Pipelines...), Diagnostics: append(diag.List{}, r.Faults...), Tests: []jsonTest{}}
		for i := range r.Tests {
			t := &r.Tests[i]
			f.Tests = append(f.Tests, jsonTest{t.Name, t.Span.Start.Line, t.Passed(), t.Took.Seconds(), append(diag.List{}, t.Failures...)})
		}
		out.Files = append(out.Files, f)
	}
	return out
}
