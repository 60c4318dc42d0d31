package operators_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Golden scripts: a pipeline, and behind a line of `---` records as `TOPIC KEY VALUE
// @TIME` ("-" is null), each with what it brings about below it: `> TOPIC KEY VALUE
// @TIME` for an output, `! DEFINITION REASON N` for what has been dropped so far.
// `wall MS` lets time on the wall go on. What follows # is a comment. `go test ./operators -run
// TestScripts -update` writes the outputs anew: read them.
//
// Each script is run once more with a restart behind each of its records, and has to
// give the same.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/scripts/*.script")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scripts: ", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".script"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := parseScript(t, string(text))
			got := s.run(t, -1)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("it gives\n%s", got)
			}
			for i := range s.lines {
				if again := s.run(t, i); again != got {
					t.Errorf("with a restart behind line %d, %q:\n%s", i, s.lines[i], again)
				}
			}
		})
	}
}

// script is a parsed file.
type script struct {
	pipeline string
	lines    []string // records and comments, without what they gave
}

func parseScript(t *testing.T, text string) *script {
	t.Helper()
	pipeline, records, ok := strings.Cut(text, "\n---\n")
	if !ok {
		t.Fatal("no line of ---")
	}
	s := &script{pipeline: pipeline}
	for line := range strings.Lines(records) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "> ") && !strings.HasPrefix(line, "! ") {
			s.lines = append(s.lines, line)
		}
	}
	return s
}

// run gives the file as it is when all tasks begin anew behind line number restart.
func (s *script) run(t *testing.T, restart int) string {
	t.Helper()
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`topic: ([a-z-]+)`).FindAllStringSubmatch(s.pipeline, -1) {
		counts[m[1]] = 1
	}
	_, sinks, _ := strings.Cut(s.pipeline, "\nsinks:")
	var outputs []string
	for _, m := range regexp.MustCompile(`topic: ([a-z-]+)`).FindAllStringSubmatch(sinks, -1) {
		outputs = append(outputs, m[1])
	}
	slices.Sort(outputs)
	r := newRig(t, s.pipeline, counts)
	out := s.pipeline + "\n---\n"
	seen, dropped := map[string]int{}, []string(nil)
	for i, line := range s.lines {
		out += line + "\n"
		record, _, _ := strings.Cut(line, " #")
		if record = strings.TrimSpace(record); record == "" || record[0] == '#' {
			continue
		}
		var ms int64
		if n, _ := fmt.Sscanf(record, "wall %d", &ms); n == 1 {
			r.wall(ms)
		} else {
			feedLine(r, record)
		}
		for _, topic := range outputs {
			lines := shown(r, topic)
			for _, l := range lines[seen[topic]:] {
				out += "> " + topic + " " + l + "\n"
			}
			seen[topic] = len(lines)
		}
		for _, d := range r.drops() {
			if !slices.Contains(dropped, d) {
				out += "! " + d + "\n"
			}
		}
		dropped = r.drops()
		if i == restart {
			r.reopen()
		}
	}
	return out
}

// feedLine feeds "TOPIC KEY VALUE @TIME"; the value may have spaces in it.
func feedLine(r *rig, line string) {
	r.t.Helper()
	m := regexp.MustCompile(`^(\S+) (\S+) (.*) @(\d+)$`).FindStringSubmatch(line)
	if m == nil {
		r.t.Fatalf("no record: %q", line)
	}
	at, err := strconv.ParseInt(m[4], 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	r.produce(m[1], m[2], m[3], at)
	r.mustRun()
}
