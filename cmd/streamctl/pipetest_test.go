package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Every example has tests beside it, and they pass.
func TestExamplesTested(t *testing.T) {
	out := streamctl(t, "test", "-v", "../../examples/...")
	files, err := filepath.Glob("../../examples/*/*/pipeline.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if tests := filepath.Join(filepath.Dir(file), "tests.yaml"); !strings.Contains(out, "ok      "+tests+": ") {
			t.Errorf("%s has no tests, or they were not run", file)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// What pipelines say does not depend on how they commit, nor on restarts.
func TestExamplesTestedAtLeastOnce(t *testing.T) {
	streamctl(t, "test", "--set", "guarantee=at_least_once", "../../examples/...")
}

func TestExamplesTestedWithRestarts(t *testing.T) {
	streamctl(t, "test", "--restarts", "../../examples/...")
}

// watched is an output that can be waited for.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

// Write implements io.Writer.
func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.grown <- struct{}{}:
	default:
	}
	return w.text.Write(b)
}

// await waits until a text has come n times.
func (w *watched) await(t *testing.T, text string, n int) {
	t.Helper()
	over := time.After(time.Minute)
	for {
		w.mu.Lock()
		all := w.text.String()
		w.mu.Unlock()
		if strings.Count(all, text) >= n {
			return
		}
		select {
		case <-w.grown:
		case <-over:
			t.Fatalf("%q has not come %d times:\n%s", text, n, all)
		}
	}
}

// --watch runs the tests again when a file has changed, whatever came of the last
// run, and ends with code 0 when it is told to.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pipeline.yaml", "pipeline: p\nsources: {in: {topic: in}}\nsinks: {out: {from: in, topic: out}}\n")
	write("tests.yaml", "tests:\n  - name: a\n    steps: [{in: {value: 1}}, {expect: {out: [{value: 2}]}}]\n")
	ctx, cancel := context.WithCancel(t.Context())
	out := &watched{grown: make(chan struct{}, 1)}
	a := newApp(strings.NewReader(""), out, out, os.Getenv)
	ended := make(chan int, 1)
	go func() { ended <- a.execute(ctx, []string{"test", "--watch", dir}) }()
	out.await(t, "waiting for changes", 1)
	out.await(t, "value: expected 2, got 1", 1)
	write("tests.yaml", "tests:\n  - name: a\n    steps: [{in: {value: 11}}, {expect: {out: [{value: 11}]}}]\n")
	out.await(t, "all passed", 1)
	write("pipeline.yaml", "pipeline: p\nsources: {in: {topic: in}}\nsinks: {out: {from: no, topic: out}}\n")
	out.await(t, `no source, table or stream "no"`, 1)
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("it ended with code %d", code)
	}
}

// The page on tests shows a pipeline and its tests: they pass, and what it shows of
// a failure is what comes of it.
func TestPageOnTestsIsTrue(t *testing.T) {
	page, err := os.ReadFile("../../docs/testing-pipelines.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := map[string]string{}
	for _, name := range []string{"pipeline.yaml", "tests.yaml"} {
		_, rest, ok := strings.Cut(string(page), "```yaml\n# "+name+"\n")
		if !ok {
			t.Fatalf("the page shows no %s", name)
		}
		files[name], _, _ = strings.Cut(rest, "```")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := streamctl(t, "test", dir); !strings.Contains(out, "2 tests in 1 file, all passed") {
		t.Error(out)
	}
	wrong := strings.Replace(files["tests.yaml"], "{views: 2}", "{views: 3}", 1)
	if err := os.WriteFile(filepath.Join(dir, "tests.yaml"), []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	var out bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &out, os.Getenv)
	if code := a.execute(t.Context(), []string{"test"}); code != exitTests {
		t.Errorf("exit code %d\n%s", code, out.String())
	}
	_, shown, _ := strings.Cut(string(page), "--- failed: ")
	shown, _, _ = strings.Cut(shown, "```")
	if !strings.Contains(out.String(), strings.TrimRight(shown, "\n")) {
		t.Errorf("the page shows\n%s\nthe command says\n%s", shown, out.String())
	}
}

// Each recipe says at its top what it does, and is in the list of examples.
func TestRecipesAreTold(t *testing.T) {
	list, err := os.ReadFile("../../examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../examples/recipes/*/pipeline.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(file))
		if !bytes.HasPrefix(text, []byte("# ")) {
			t.Errorf("%s does not begin with what it does", name)
		}
		if !strings.Contains(string(list), "(recipes/"+name+")") {
			t.Errorf("examples/README.md does not tell of %s", name)
		}
	}
}
