package usecases

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"streamctl/internal/kafkatest"
)

// shared is what all tests of the package use: one real broker, one binary.
type shared struct {
	kafka  kafkatest.Shared
	dir    string
	once   sync.Once
	binary string
	err    error
}

// The cleaner of the real broker looks for work all the time, so that a test can
// wait for compaction.
var all = shared{kafka: kafkatest.Shared{Options: kafkatest.Options{Properties: map[string]string{
	"log.cleaner.backoff.ms": "100",
}}}}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "streamctl-usecases-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make directory:", err)
		os.Exit(1)
	}
	all.dir = dir
	code := m.Run()
	all.kafka.Close()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build makes the binary once; STREAMCTL_BINARY names one that was made otherwise.
func (s *shared) build(t *testing.T) string {
	t.Helper()
	if given := os.Getenv("STREAMCTL_BINARY"); given != "" {
		return given
	}
	s.once.Do(func() {
		s.binary = filepath.Join(s.dir, "streamctl")
		cmd := exec.Command("go", "build", "-o", s.binary, "streamctl/cmd/streamctl")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			s.err = fmt.Errorf("build streamctl: %w\n%s", err, out)
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.binary
}
