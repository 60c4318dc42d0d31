package usecases

import (
	"os"
	"testing"

	"streamctl/internal/kafkatest"
	"streamctl/internal/testkit"
)

// shared is what all tests of the package use: one real broker, one binary.
type shared struct {
	kafka  kafkatest.Shared
	binary testkit.Binary
}

// The cleaner of the real broker looks for work all the time, so that a test can
// wait for compaction.
var all = shared{kafka: kafkatest.Shared{Options: kafkatest.Options{Properties: map[string]string{
	"log.cleaner.backoff.ms": "100",
}}}}

func TestMain(m *testing.M) {
	code := m.Run()
	all.kafka.Close()
	all.binary.Close()
	os.Exit(code)
}

// build makes the binary once.
func (s *shared) build(t *testing.T) string {
	t.Helper()
	path, err := s.binary.Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
