package differential

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"streamctl/internal/testkit/model"
)

// A case can be written as a file: the pipeline, the circumstances, and the records,
// one a line. testdata/found has those that the engine, the compiler or the
// interpreter once got wrong, made small; a seed alone would become another case
// as soon as the generator learns something.

const (
	settingsMark = "--- settings "
	recordsMark  = "--- records: topic partition @time key value, - is null"
)

// describe prints a case as such a file.
func (c *testCase) describe() string {
	var b strings.Builder
	set, _ := json.Marshal(c.settings)
	fmt.Fprintf(&b, "# seed %d\n%s%s%s\n%s\n", c.seed, c.text, settingsMark, set, recordsMark)
	text := func(v []byte) string {
		if v == nil {
			return "-"
		}
		return string(v)
	}
	for _, rec := range c.records {
		fmt.Fprintf(&b, "%s %d @%d %s %s\n", rec.Topic, rec.Partition, rec.Time-firstTime, text(rec.Key), text(rec.Value))
	}
	return b.String()
}

// readCase reads what describe has printed.
func readCase(text string) (*testCase, error) {
	c := &testCase{}
	head, rest, ok := strings.Cut(text, settingsMark)
	set, records, found := strings.Cut(rest, "\n"+recordsMark+"\n")
	if !ok || !found {
		return nil, fmt.Errorf("read case: no settings, or no records")
	}
	_, c.text, _ = strings.Cut(head, "\n")
	if err := json.Unmarshal([]byte(set), &c.settings); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if _, err := fmt.Sscanf(head, "# seed %d", &c.seed); err != nil {
		return nil, fmt.Errorf("read seed: %w", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(records), "\n") {
		var topic, key string
		var partition int32
		var at int64
		if _, err := fmt.Sscanf(line, "%s %d @%d %s", &topic, &partition, &at, &key); err != nil {
			return nil, fmt.Errorf("read record %q: %w", line, err)
		}
		rec := model.Record{Topic: topic, Partition: partition, Time: firstTime + at}
		if key != "-" {
			rec.Key = []byte(key)
		}
		if value := strings.SplitN(line, " ", 5)[4]; value != "-" {
			rec.Value = []byte(value)
		}
		c.records = append(c.records, rec)
	}
	return c, nil
}

// TestFound runs the cases that once found something; STREAMCTL_CASE=file runs that one only.
func TestFound(t *testing.T) {
	files, err := filepath.Glob("testdata/found/*.txt")
	if only := os.Getenv("STREAMCTL_CASE"); only != "" {
		files = []string{only}
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c, err := readCase(string(text))
			if err != nil {
				t.Fatal(err)
			}
			v := try(c)
			if v.problem != "" || v.refused != "" || v.skipped {
				t.Errorf("%+v\n%s", v, c.describe())
			}
		})
	}
}

func TestCasesAreReadAsWritten(t *testing.T) {
	written := drawCase(1).describe()
	c, err := readCase(written)
	if err != nil {
		t.Fatal(err)
	}
	if again := c.describe(); again != written {
		t.Error(cmp.Diff(written, again))
	}
}
