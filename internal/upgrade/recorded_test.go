package upgrade

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write what this version records to testdata")

// TestWhatVersion1HasRecordedIsUnchanged: a plan that the first version
// recorded still is what this version makes of the same file. When it is not,
// every running pipeline would be taken for a changed one at the upgrade: -update
// is no remedy.
func TestWhatVersion1HasRecordedIsUnchanged(t *testing.T) {
	const path = "testdata/recorded-1.json"
	plan := describe(t, base)
	if *update {
		text, err := recorded(t, plan).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Compare(old, plan, situation(plan), nil)
	if err != nil || c.Changed() || c.Differs {
		t.Errorf("%v %+v", err, c)
	}
	if next := c.Next(plan, situation(plan).Counts, "test", old.At); !next.Same(old) {
		t.Error("it would be recorded anew")
	}
}
