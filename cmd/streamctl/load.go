package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/operators"
	"streamctl/pipeline"
)

// loaded is a pipeline file that has no errors.
type loaded struct {
	path     string
	name     string
	pipeline *pipeline.Pipeline
	plan     *pipeline.Plan
	topology *operators.Topology
	kafka    *pipeline.KafkaSettings // nil: the file has no kafka: section
}

// group is the consumer group of the pipeline.
func (l *loaded) group() string {
	if l.kafka != nil && l.kafka.Group != "" {
		return l.kafka.Group
	}
	return l.name
}

var errInvalid = errors.New("invalid pipeline")

// load reads and compiles a pipeline file. What it finds is printed; with
// errors among it the result is a failure that has been told already.
func (a *app) load(path string, set []string) (*loaded, error) {
	src, err := readPipeline(path)
	if err != nil {
		return nil, err
	}
	r, list := pipeline.Compile(path, src, pipeline.ParseOptions{Set: set})
	l := &loaded{path: path}
	if !list.HasErrors() {
		l.name, l.pipeline, l.plan, l.topology = r.Pipeline.Name, r.Pipeline, r.Plan, r.Topology
		if k := r.File.Kafka; k != nil {
			settings, more := k.Resolve(a.lookup())
			l.kafka = &settings
			list.Append(more)
			if !list.HasErrors() {
				list.Append(k.CheckInterval(settings, r.Pipeline.Settings))
			}
		}
	}
	if err := a.printDiagnostics(list, r.File); err != nil {
		return nil, err
	}
	if list.HasErrors() {
		return nil, &failure{code: exitInvalid, err: fmt.Errorf("%s: %w", path, errInvalid), silent: true}
	}
	return l, nil
}

func readPipeline(path string) ([]byte, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("read pipeline: %w", err)
	}
	return src, nil
}

// lookup is where ${...} gets its values.
func (a *app) lookup() syntax.Lookup {
	return syntax.Lookup{
		Env: func(name string) (string, bool) {
			v := a.getenv(name)
			return v, v != ""
		},
		File: os.ReadFile,
	}
}

// kafkaOf gives the kafka: section of a pipeline file, nil when there is no
// file or no section. Nothing else of the file has to be right.
func (a *app) kafkaOf(path string) (*pipeline.KafkaSettings, error) {
	if path == "" {
		return nil, nil
	}
	src, err := readPipeline(path)
	if err != nil {
		return nil, err
	}
	file, list := pipeline.Parse(path, src, pipeline.ParseOptions{})
	var settings *pipeline.KafkaSettings
	if !list.HasErrors() && file.Kafka != nil {
		s, more := file.Kafka.Resolve(a.lookup())
		settings = &s
		list = more
	}
	if list.HasErrors() {
		if err := a.printDiagnostics(list, file); err != nil {
			return nil, err
		}
		return nil, &failure{code: exitInvalid, err: fmt.Errorf("%s: %w", path, errInvalid), silent: true}
	}
	return settings, nil
}

// printDiagnostics prints findings to the error stream: what a command prints
// itself stays clean.
func (a *app) printDiagnostics(list diag.List, file *pipeline.File) error {
	if len(list) == 0 {
		return nil
	}
	if a.output == outputJSON {
		text, err := list.MarshalJSON()
		if err == nil {
			_, err = fmt.Fprintf(a.stderr, "%s\n", text)
		}
		return err
	}
	printer := a.printer(file, a.stderr)
	if err := printer.Print(a.stderr, list); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.stderr)
	return err
}

// printer shows a file's lines, but for its secrets.
func (a *app) printer(file *pipeline.File, w io.Writer) *diag.Printer {
	p := file.Printer()
	p.Color = a.color(w)
	return p
}
