package reliability

import (
	"os"
	"testing"

	"streamctl/internal/testkit"
)

// product is the binary as users run it, built once for all tests of the package.
var product testkit.Binary

func TestMain(m *testing.M) {
	code := m.Run()
	product.Close()
	os.Exit(code)
}
