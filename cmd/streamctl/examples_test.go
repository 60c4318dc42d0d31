package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"streamctl/internal/lines"
	"streamctl/pipeline"
)

const examplesDir = "../../examples/pipelines"

// streamctl runs one command line in this process and fails the test unless it
// ends with code 0. It gives what was printed.
func streamctl(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	a := newApp(strings.NewReader(""), &stdout, &stderr, os.Getenv)
	if code := a.execute(ctx, args); code != exitOK {
		t.Fatalf("streamctl %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// target is a broker to run an example on: arguments that every command gets,
// and those with which produce makes a topic.
type target struct {
	broker, topic []string
}

func targets(t *testing.T) map[string]func(*testing.T) target {
	t.Helper()
	return map[string]func(*testing.T) target{
		"embedded": func(t *testing.T) target {
			return target{broker: []string{"--data-dir", t.TempDir()}}
		},
		"kafka": func(t *testing.T) target {
			// The records are from 2014, and are to outlive that.
			return target{
				broker: []string{"--brokers", realKafka(t), "--data-dir", t.TempDir()},
				topic:  []string{"--partitions", "4", "--config", "retention.ms=-1"},
			}
		},
	}
}

// TestExamples runs every example as its README tells: round by round its input
// is produced and the pipeline run until the end; then its output is what
// expected/ says, per key in that order.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(examplesDir, "*", "pipeline.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for name, make := range targets(t) {
		for _, file := range files {
			dir := filepath.Dir(file)
			t.Run(name+"/"+filepath.Base(dir), func(t *testing.T) {
				if name == "embedded" {
					t.Parallel()
				}
				runExample(t, dir, make(t))
			})
		}
	}
}

// input is one file of an example's input: the round it belongs to and its topic.
type input struct {
	round, topic, path string
	compacted          bool // the topic keeps the last record per key
}

func inputsOf(t *testing.T, dir string) []input {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "input", "*.jsonl"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("input of %s: %v, %v", dir, paths, err)
	}
	var out []input
	for _, path := range paths { // Glob sorts: by round
		round, topic, ok := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".jsonl"), "-")
		if !ok {
			t.Fatalf("%s is not named ROUND-TOPIC.jsonl, or ROUND-TOPIC.compacted.jsonl", path)
		}
		topic, compacted := strings.CutSuffix(topic, ".compacted")
		out = append(out, input{round, topic, path, compacted})
	}
	return out
}

func runExample(t *testing.T, dir string, on target) {
	// Topics and group of its own on a broker that others use too.
	file := filepath.Join(dir, "pipeline.yaml")
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	prefix := fmt.Sprintf("x%d-", time.Now().UnixNano())
	text := strings.ReplaceAll(string(src), "topic: ", "topic: "+prefix)
	text = strings.Replace(text, "pipeline: ", "pipeline: "+prefix, 1)
	file = filepath.Join(t.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	outputs, err := filepath.Glob(filepath.Join(dir, "expected", "*.jsonl"))
	if err != nil || len(outputs) == 0 {
		t.Fatalf("expected output of %s: %v, %v", dir, outputs, err)
	}
	checked, diags := pipeline.Check(file, []byte(text), pipeline.ParseOptions{})
	if diags.HasErrors() {
		t.Fatalf("compile %s: %v", dir, diags)
	}
	for _, sink := range checked.Pipeline.Sinks {
		topic := sink.Sink.Topic.Value
		streamctl(t, slices.Concat([]string{"produce", topic, "--from", os.DevNull, "--partitions", "4", "--config", "retention.ms=-1"}, on.broker)...)
	}
	inputs := inputsOf(t, dir)
	for i, in := range inputs {
		args := slices.Concat([]string{"produce", prefix + in.topic, "--from", in.path}, on.topic, on.broker)
		if in.compacted {
			args = append(args, "--config", "cleanup.policy=compact")
		}
		streamctl(t, args...)
		if i == len(inputs)-1 || inputs[i+1].round != in.round {
			streamctl(t, slices.Concat([]string{"run", file, "--until-end"}, on.broker)...)
		}
	}
	for _, path := range outputs {
		topic := prefix + outputTopic(path)
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got := streamctl(t, slices.Concat([]string{"consume", topic, "--until-end"}, on.broker)...)
		read := perKey
		if strings.HasSuffix(path, ".table.jsonl") {
			read = lastPerKey
		}
		if diff := cmp.Diff(read(t, string(want)), read(t, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filepath.Base(path), diff)
		}
	}
}

// outputTopic is the topic that a file of expected output tells of. TOPIC.jsonl holds its
// records; TOPIC.table.jsonl what they come to: where several inputs meet, which
// result comes between two others is not the same in every run.
func outputTopic(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".jsonl"), ".table")
}

// lastPerKey gives the table that the records of some lines make.
func lastPerKey(t *testing.T, text string) map[string][]string {
	t.Helper()
	out := perKey(t, text)
	for key, records := range out {
		_, value, _ := strings.Cut(records[len(records)-1], " ")
		if out[key] = []string{value}; value == "" || value == "null" {
			delete(out, key)
		}
	}
	return out
}

// perKey gives the records of some lines as text, by key, in their order.
func perKey(t *testing.T, text string) map[string][]string {
	t.Helper()
	out := make(map[string][]string)
	for line := range strings.Lines(text) {
		p, err := lines.Parse([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		key := "null"
		if p.Record.Key != nil {
			key = fmt.Sprintf("%q", p.Record.Key)
		}
		out[key] = append(out[key], fmt.Sprintf("%d %s", p.Record.Time, p.Record.Value))
	}
	return out
}

// Each example says in its README what it is about, and is told of in the list of examples.
func TestExamplesAreTold(t *testing.T) {
	list, err := os.ReadFile(filepath.Join(examplesDir, "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(examplesDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
			t.Errorf("%s has no README.md", filepath.Base(dir))
		}
		told[filepath.Base(dir)] = strings.Contains(string(list), "pipelines/"+filepath.Base(dir))
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if !told[name] {
			t.Errorf("examples/README.md does not tell of %s", name)
		}
	}
}
