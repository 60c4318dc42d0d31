package reliability

import (
	"os"
	"testing"

	"streamctl/internal/kafkatest"
	"streamctl/internal/testkit"
)

// product is the binary as users run it, realKafka the broker; both are there once
// for all tests of the package.
var (
	product   testkit.Binary
	realKafka kafkatest.Shared
)

func TestMain(m *testing.M) {
	code := m.Run()
	product.Close()
	realKafka.Close()
	os.Exit(code)
}
