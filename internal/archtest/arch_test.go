// Package archtest holds the house to its plan: which package may import which,
// and which third-party library belongs to which package alone. An import that
// is not in the tables fails; so does an entry that nothing uses, for a table
// that allows too much proves nothing.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "streamctl"

// edges: what each package of the product may import of ours. Imports only go
// downward.
var edges = map[string][]string{
	// The bottom: nothing of ours.
	"internal/diag":       {},
	"internal/record":     {},
	"internal/value":      {},
	"internal/crashpoint": {},
	"internal/selfstat":   {},
	"internal/sample":     {},
	// When clocks on the wall show what: for windows and functions alike.
	"internal/calendar": {},

	// Text and bytes.
	"internal/syntax": {"internal/diag"},
	"internal/codec":  {"internal/value"},
	"internal/lines":  {"internal/record"},
	"internal/match":  {},
	"internal/wasm":   {"internal/value"},
	"expr":            {"internal/calendar", "internal/diag", "internal/value", "internal/codec"},

	// What runs.
	"state":     {"internal/record"},
	"operators": {"internal/calendar", "internal/diag", "internal/record", "internal/value", "internal/codec", "internal/match", "expr", "state"},
	"pipeline": {
		"internal/calendar", "internal/syntax", "internal/diag", "internal/value", "internal/codec", "internal/wasm",
		"expr", "state", "operators",
	},

	// The engine declares the ports; it knows neither the compiler nor a client.
	"internal/engine": {"internal/record", "operators", "state"},
	"internal/assign": {"internal/engine"},
	"internal/kafka":  {"internal/assign", "internal/engine", "internal/record"},
	"internal/memlog": {"internal/assign", "internal/engine", "internal/record"},
	"internal/reset":  {"internal/diag", "internal/record", "operators"},
	// A change of a pipeline is judged by its plans, and recorded through the ports.
	"internal/upgrade": {"internal/diag", "internal/engine", "internal/record", "pipeline"},
	"internal/broker":  {},
	// Runs pipelines on the log in memory, as their users test them.
	"internal/pipetest": {
		"internal/codec", "internal/diag", "internal/engine", "internal/memlog", "internal/record", "internal/syntax", "internal/value",
		"operators", "pipeline", "state",
	},
	// Looks on at a run: reads what the engine shows, and is not known to it.
	"internal/observe": {"internal/engine", "internal/record"},

	// The top: wiring and printing.
	"cmd/streamctl": {
		"internal/broker", "internal/codec", "internal/crashpoint", "internal/diag", "internal/engine",
		"internal/kafka", "internal/lines", "internal/observe", "internal/pipetest", "internal/record", "internal/reset", "internal/sample",
		"internal/selfstat", "internal/syntax", "internal/upgrade", "operators", "pipeline", "state",
	},
}

// helpers serve tests and measurements only, they and what lies below them: the
// product must not import them, and what they import is their own affair.
var helpers = []string{
	"internal/archtest", "internal/bench", "internal/kafkatest", "internal/testkit",
}

func isHelper(name string) bool {
	return slices.ContainsFunc(helpers, func(h string) bool { return name == h || strings.HasPrefix(name, h+"/") })
}

// libraries: who may import a third-party module. What is not listed may not be imported.
var libraries = map[string][]string{
	"github.com/IBM/sarama":   {"internal/kafka"},
	"github.com/xdg-go/scram": {"internal/kafka"},
	// What sarama compresses with: how large a record will be.
	"github.com/klauspost/compress":    {"internal/kafka"},
	"github.com/pierrec/lz4/v4":        {"internal/kafka"},
	"github.com/cockroachdb/pebble/v2": {"state"},
	"github.com/expr-lang/expr":        {"expr"},
	// Sketches: different values and percentiles in bounded memory.
	"github.com/axiomhq/hyperloglog": {"operators"},
	"github.com/cespare/xxhash/v2":   {"operators"},
	"github.com/influxdata/tdigest":  {"operators"},
	"gopkg.in/yaml.v3":               {"internal/syntax"},
	"github.com/twmb/franz-go":       {"internal/broker"},
	"github.com/spf13/cobra":         {"cmd/streamctl"},
	"github.com/spf13/pflag":         {"cmd/streamctl"},
	"github.com/vbauerster/mpb/v8":   {"cmd/streamctl"},
	"golang.org/x/term":              {"cmd/streamctl"},
	// What a word of a text is, and when two are equal: tables of Unicode.
	"github.com/clipperhouse/uax29/v2": {"internal/match"},
	"golang.org/x/text":                {"internal/match"},
	// Functions of the user's own, in a sandbox, without cgo.
	"github.com/tetratelabs/wazero": {"internal/wasm"},
	// The format that every monitoring system reads, and what the Go runtime shows in it.
	"github.com/prometheus/client_golang": {"internal/observe"},
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

// packages lists the packages of the module, without their tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v\n%s", err, stderr.Bytes())
	}
	var all []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("list packages: %v", err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module+"/")
		all = append(all, p)
	}
}

// libraryOf gives the module of a third-party import, "" for the standard library.
func libraryOf(path string) string {
	first, _, _ := strings.Cut(path, "/")
	if !strings.Contains(first, ".") {
		return ""
	}
	for lib := range libraries {
		if path == lib || strings.HasPrefix(path, lib+"/") {
			return lib
		}
	}
	return path
}

func TestImportsGoDownward(t *testing.T) {
	used := make(map[[2]string]bool)
	for _, p := range packages(t) {
		if isHelper(p.ImportPath) && edges[p.ImportPath] == nil {
			continue
		}
		allowed, known := edges[p.ImportPath]
		if !known {
			t.Errorf("package %s is not in the table: give it its place, or make it a helper", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			own, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				if lib := libraryOf(imported); lib != "" {
					used[[2]string{p.ImportPath, lib}] = true
					if !slices.Contains(libraries[lib], p.ImportPath) && !isHelper(p.ImportPath) {
						t.Errorf("%s imports %s, which belongs to %v", p.ImportPath, imported, libraries[lib])
					}
				}
				continue
			}
			used[[2]string{p.ImportPath, own}] = true
			if !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s, which is not among %v", p.ImportPath, own, allowed)
			}
		}
	}
	for from, list := range edges {
		for _, to := range list {
			if !used[[2]string{from, to}] {
				t.Errorf("the table lets %s import %s, but it does not: take the entry out", from, to)
			}
		}
	}
	for lib, list := range libraries {
		for _, from := range list {
			if !used[[2]string{from, lib}] {
				t.Errorf("the table lets %s import %s, but it does not: take the entry out", from, lib)
			}
		}
	}
}

// The table itself must not have a cycle: a package stands above all it may import.
func TestTableHasNoCycle(t *testing.T) {
	const visiting, done = 1, 2
	mark := make(map[string]int)
	var visit func(string, []string)
	visit = func(name string, path []string) {
		switch mark[name] {
		case done:
			return
		case visiting:
			t.Fatalf("cycle: %s -> %s", strings.Join(path, " -> "), name)
		}
		mark[name] = visiting
		for _, to := range edges[name] {
			if _, known := edges[to]; !known {
				t.Errorf("%s may import %s, which is not in the table", name, to)
			}
			visit(to, append(path, name))
		}
		mark[name] = done
	}
	for name := range edges {
		visit(name, nil)
	}
}
