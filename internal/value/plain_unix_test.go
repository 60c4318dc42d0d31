//go:build unix

package value

import (
	"bytes"
	"os"
	"syscall"
	"testing"
)

// Nothing is read but the text itself: it lies at either end of a page whose neighbours
// must not be touched, on pain of the process's life.
func TestSkipPlainReadsItsTextOnly(t *testing.T) {
	page := os.Getpagesize()
	memory, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	middle := memory[page : 2*page]
	copy(middle, bytes.Repeat([]byte{'x'}, page))
	for _, wall := range [][]byte{memory[:page], memory[2*page:]} {
		if err := syscall.Mprotect(wall, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 200 {
		for j := range n + 1 {
			checkSkips(t, middle[:n], j)
			checkSkips(t, middle[page-n:], j)
		}
	}
}
