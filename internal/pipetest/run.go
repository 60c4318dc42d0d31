package pipetest

import (
	"context"
	"os"
	"regexp"
	"runtime"
	"sync"
	"time"

	"streamctl/internal/diag"
)

// Options say what of the tests is run, and how.
type Options struct {
	// Run chooses tests by their names; nil = all.
	Run *regexp.Regexp
	// Set replaces values of the pipelines, as path=value, after what the files of
	// tests replace.
	Set []string
	// Restarts runs each test that passes twice more: with a restart after every
	// record, and with one that loses the state, too. It must pass all the same.
	Restarts bool
	// Parallel is how many tests run at a time; 0 = one per core.
	Parallel int
	// Now times the tests; nil = time.Now.
	Now func() time.Time
}

// Run runs the tests of files, as Find lists them. Results come in the order of files and tests,
// whatever ran first. It returns early, with what it has, when ctx ends.
func Run(ctx context.Context, files []string, opts Options) []FileResult {
	if opts.Parallel == 0 {
		opts.Parallel = runtime.GOMAXPROCS(0)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	results := make([]FileResult, len(files))
	slots := make(chan struct{}, opts.Parallel)
	var running sync.WaitGroup
	limited := func(do func()) {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() == nil {
				do()
			}
		})
	}
	for i, path := range files {
		limited(func() {
			f := &results[i]
			b := load(path, f, opts.Set)
			if b == nil {
				return
			}
			var chosen []*Test
			for _, t := range b.suite.Tests {
				if opts.Run == nil || opts.Run.MatchString(t.Name) {
					chosen = append(chosen, t)
				}
			}
			f.Tests = make([]TestResult, len(chosen))
			for j, t := range chosen {
				f.Tests[j] = TestResult{Name: t.Name, Span: t.Span, Failures: diag.List{failure(t.Span, "the test was not run: told to stop")}}
				limited(func() { f.Tests[j] = b.run(t, opts) })
			}
		})
	}
	running.Wait()
	return results
}

// load reads a file of tests and its pipeline; nil when one of them is wrong.
func load(path string, f *FileResult, set []string) *bound {
	f.Path = path
	src, err := os.ReadFile(path)
	if err != nil {
		f.Faults.Errorf(codeBadValue, diag.Span{File: path}, "read tests: %v", err)
		return nil
	}
	s, list := ParseSuite(path, src)
	f.Faults, f.Sources = list, s.Sources()
	for _, p := range s.Pipelines {
		f.Pipelines = append(f.Pipelines, p.Path)
	}
	if list.HasErrors() {
		return nil
	}
	s.set = append(s.set, set...)
	b, sources, list := bind(s)
	f.Faults, f.Sources = list, sources
	if list.HasErrors() {
		return nil
	}
	return b
}

// Where a test is restarted beside where it says so.
const (
	asWritten      = iota
	everywhere     // after every record
	losingState    // likewise, with new disks
	restartsBeyond // their number
)

// run runs one test.
func (b *bound) run(t *Test, opts Options) TestResult {
	out := TestResult{Name: t.Name, Span: t.Span}
	began := opts.Now()
	ways := asWritten + 1
	if opts.Restarts {
		ways = restartsBeyond
	}
	for way := range ways {
		r := &runner{bound: b, test: t, way: way, looked: make(map[string]diag.Span), rows: make(map[string]*tableView)}
		r.run()
		if out.Failures = r.failures; len(out.Failures) > 0 {
			break
		}
	}
	out.Took = opts.Now().Sub(began)
	return out
}
