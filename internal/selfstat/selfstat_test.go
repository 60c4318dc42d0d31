package selfstat

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTellsWhatIsAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cpu.prof")
	stop, err := Start(func(name string) string { return map[string]string{StatsEnv: "1", ProfileEnv: path}[name] })
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := stop(&out); err != nil {
		t.Fatal(err)
	}
	var stats struct{ Mallocs uint64 }
	line, ok := strings.CutPrefix(out.String(), Prefix)
	if err := json.Unmarshal([]byte(line), &stats); !ok || err != nil || stats.Mallocs == 0 {
		t.Errorf("printed %q: %v", out.String(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("profile: %v, %v", info, err)
	}
}

func TestSilentWhenNothingIsAskedFor(t *testing.T) {
	stop, err := Start(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := stop(&out); err != nil || out.Len() != 0 {
		t.Errorf("printed %q, %v", out.String(), err)
	}
}

func TestProfileThatCannotBeWritten(t *testing.T) {
	_, err := Start(func(name string) string {
		if name == ProfileEnv {
			return filepath.Join(t.TempDir(), "no", "such", "dir")
		}
		return ""
	})
	if err == nil {
		t.Error("no error")
	}
}
