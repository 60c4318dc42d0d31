package expr

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite goldens and docs/functions.md")
	os.Exit(m.Run())
}
