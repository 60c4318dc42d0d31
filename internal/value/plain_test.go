package value

import (
	"bytes"
	"testing"
)

// skipped is what skipPlain and skipWords give, byte by byte.
func skipped(doc []byte, j int) int {
	for j < len(doc) && isPlain(doc[j]) {
		j++
	}
	return j
}

func checkSkips(t *testing.T, doc []byte, j int) {
	t.Helper()
	want := skipped(doc, j)
	if got := skipPlain(doc, j); got != want {
		t.Fatalf("skipPlain(%q, %d) = %d, want %d", doc, j, got, want)
	}
	if got := skipWords(doc, j); got != want {
		t.Fatalf("skipWords(%q, %d) = %d, want %d", doc, j, got, want)
	}
}

// Every byte there is, at every place of texts of every length, from every place
// before it and the one behind: what lies around the text, and before the place to
// begin from, is not looked at.
func TestSkipPlain(t *testing.T) {
	const most, around = 140, 40
	memory := bytes.Repeat([]byte{'"'}, most+2*around)
	for n := range most + 1 {
		doc := memory[around : around+n]
		for i := range doc {
			doc[i] = "plain ~\x7f"[i&7]
		}
		checkSkips(t, doc, n)
		for at := range doc {
			old := doc[at]
			for c := range 256 {
				if n > 70 && c&0x1f != 0x02 && c&0x1f != 0x1c { // among these the quote and the backslash
					continue
				}
				doc[at] = byte(c)
				checkSkips(t, doc, 0)
				checkSkips(t, doc, at)
				checkSkips(t, doc, at+1)
				checkSkips(t, doc, at/2)
			}
			doc[at] = old
		}
	}
}

func FuzzSkipPlain(f *testing.F) {
	for _, seed := range jsonSeeds() {
		f.Add([]byte(seed), 0)
	}
	f.Fuzz(func(t *testing.T, doc []byte, j int) {
		if j >= 0 && j <= len(doc) {
			checkSkips(t, doc, j)
		}
	})
}
