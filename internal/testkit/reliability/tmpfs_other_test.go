//go:build !linux

package reliability

import "testing"

func diskFullForReal(t *testing.T) { t.Skip("mounting a file system in memory is done on Linux only") }
