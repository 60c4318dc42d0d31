package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Binary is the product as its users run it, built once for all tests of a
// package. STREAMCTL_BINARY names one that was built otherwise.
type Binary struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Path builds the binary at the first call.
func (b *Binary) Path() (string, error) {
	b.once.Do(b.build)
	return b.path, b.err
}

func (b *Binary) build() {
	if b.path = os.Getenv("STREAMCTL_BINARY"); b.path != "" {
		return
	}
	if b.dir, b.err = os.MkdirTemp("", "streamctl-binary-"); b.err != nil {
		return
	}
	b.path = filepath.Join(b.dir, "streamctl")
	cmd := exec.Command("go", "build", "-o", b.path, "streamctl/cmd/streamctl")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build streamctl: %w\n%s", err, out)
	}
}

// Close deletes what was built.
func (b *Binary) Close() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}
