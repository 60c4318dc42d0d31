package syntax

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

	"streamctl/internal/diag"
)

// hostile are files made to exhaust a parser. Every one must be refused or
// read within a second and a hundred megabytes.
func hostile() map[string][]byte {
	rep := func(s string, n int) []byte { return []byte(strings.Repeat(s, n)) }
	full := MaxSize - 64
	fill := func(s string) []byte { return rep(s, full/len(s)) }
	laughs := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 30; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	var indents strings.Builder
	for i := 0; indents.Len() < full; i++ {
		indents.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	files := map[string][]byte{
		"ten megabytes of one line": rep("a", 10<<20),
		"ten megabytes of lists":    rep("[", 10<<20),
		"billion laughs":            []byte(laughs),
		"lists 10000 deep":          append(rep("[", 10_000), rep("]", 10_000)...),
		"mappings 10000 deep":       append(rep("{a: ", 10_000), rep("}", 10_000)...),
		"dashes 10000 deep":         rep("- ", 10_000),
		"open lists":                fill("["),
		"open mappings":             fill("{"),
		"pairs":                     fill("{a: "),
		"dashes":                    fill("- "),
		"dash lines":                fill("-\n"),
		"question marks":            fill("? "),
		"growing indents":           []byte(indents.String()),
		"commas":                    append(append([]byte("a: ["), fill("a,")...), ']'),
		"keys":                      fill("a: b\n"),
		"comments":                  fill("# x\n"),
		"comments between":          fill("- a # b\n# c\n"),
		"comment line":              append([]byte("a: b #"), fill("#")...),
		"quotes":                    fill("'"),
		"double quotes":             fill("\""),
		"escapes":                   append(append([]byte("a: \""), fill("\\n")...), '"'),
		"anchors":                   fill("- &a b\n"),
		"aliases":                   append([]byte("- &a b\n"), fill("- *a\n")...),
		"tags":                      fill("- !a b\n"),
		"tag":                       append([]byte("a: !"), fill("a")...),
		"colons":                    fill(":"),
		"colons and spaces":         fill(": "),
		"plain lines":               append([]byte("a: "), fill("b\n ")...),
		"blank lines":               fill("\n"),
		"spaces":                    fill(" "),
		"tabs":                      fill("\t"),
		"literal":                   append([]byte("a: |\n"), fill(" x\n")...),
		"folded blank lines":        append([]byte("a: >\n"), fill(" x\n\n")...),
		"documents":                 fill("---\n"),
		"document ends":             fill("...\n"),
		"directives":                fill("%TAG ! a\n"),
		"zeros":                     make([]byte, full),
		"high bytes":                bytes.Repeat([]byte{0xff}, full),
		"long key":                  append(fill("k"), ": v"...),
		"many long keys":            fill(strings.Repeat("k", 900) + ": v\n"),
		"unclosed after much":       append(fill("- a\n"), "- [b\nc: d"...),
		"numbers":                   append([]byte("a: "), fill("9")...),
		"dates":                     fill("- 2001-01-01\n"),
	}
	// The same, just small enough for the first count to let them pass.
	for name, text := range maps.Clone(files) {
		// And small enough for the search for the place of an error.
		if len(text) > searchLimit {
			files[name+", short"] = text[:searchLimit]
		}
		count := 0
		for i, c := range text {
			if strings.IndexByte(structural, c) >= 0 {
				count++
			}
			if count == structuralLimit {
				files[name+", fewer"] = text[:i]
				break
			}
		}
	}
	return files
}

func TestHostileFiles(t *testing.T) {
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			file, list := Parse("hostile.yaml", text)
			if file.Root != nil {
				touch(file.Root)
			}
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			// The total of allocations is an upper bound of what was held at once.
			allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%d bytes: %v, %d MB allocated, %v", len(text), took, allocated, firstOf(list))
			if took > hostileTime {
				t.Errorf("took %v", took)
			}
			if held := int64(after.Sys) - int64(before.Sys); held > 100<<20 {
				t.Errorf("held %d MB more", held>>20)
			}
		})
	}
}

func firstOf(list diag.List) string {
	if len(list) == 0 {
		return "accepted"
	}
	return string(list[0].Code) + ": " + list[0].Message
}

// touch asks for a place in every scalar once, as diagnostics could.
func touch(root *Node) {
	seen := map[*Node]bool{}
	var walk func(n *Node)
	walk = func(n *Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		if n.Kind == Scalar && len(seen) < 1000 {
			n.At(0, len(n.Value))
		}
		for _, e := range n.Entries {
			walk(e.Key)
			walk(e.Value)
		}
		for _, item := range n.Items {
			walk(item)
		}
	}
	walk(root)
}

// TestLimits: what is refused, and what just is not.
func TestLimits(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + "x" + strings.Repeat("]", n) }
	cases := []struct {
		name, text string
		want       diag.Code
	}{
		{"deep enough", nested(MaxDepth - 1), ""},
		{"too deep", nested(MaxDepth + 1), CodeLimit},
		{"aliases enough", "a: &a x\nb: [" + strings.TrimSuffix(strings.Repeat("*a,", MaxAliases), ",") + "]", ""},
		{"too many aliases", "a: &a x\nb: [" + strings.TrimSuffix(strings.Repeat("*a,", MaxAliases+1), ",") + "]", CodeLimit},
		{"alias in itself", "a: &a [*a]", CodeLimit},
		{"too large", strings.Repeat("#", MaxSize+1), CodeLimit},
		{"large enough", strings.Repeat("#", MaxSize), ""},
		{"byte order mark", bom + "a: 1", ""},
		{"byte order mark inside", "a: " + bom, CodeEncoding},
		{"utf-16", "\xff\xfea\x00", CodeEncoding},
		{"line separator", "a: b\u2028c", CodeEncoding},
		{"lone carriage return", "a: b\rc: d", CodeEncoding},
		{"windows lines", "a: b\r\nc: d\r\n", ""},
		{"document mark", "---\na: b\n", ""},
		{"document end", "a: b\n...\n", ""},
		{"two documents", "a: b\n---\nc: d\n", CodeDocuments},
		{"two marks", "---\n---\nc: d\n", CodeDocuments},
		{"behind the end", "a: b\n...\nc: d\n", CodeSyntax},
		{"tab inside a value", "a: b\tc\n", ""},
		{"tab behind a colon", "a:\tb\n", ""},
		{"tab in brackets", "a: [\n\tb]\n", ""},
		{"tab as indentation", "a:\n\tb: c\n", CodeTab},
		{"empty", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, list := Parse("f", []byte(c.text))
			if c.want == "" && len(list) > 0 {
				t.Fatalf("refused: %v", list)
			}
			if c.want != "" && (len(list) == 0 || list[0].Code != c.want) {
				t.Fatalf("got %v, want %s", list, c.want)
			}
		})
	}
}

// FuzzParse: no input makes Parse panic or gives places outside of the file.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a: b\n", "a: [1, 'x', \"y\\n\"]\n", "a: |\n  b\n", "a: &x >-\n  b\n\n  c\nd: *x\n", "a: {b: c}\n? d\n: e\n", "\xef\xbb\xbfa: b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, list := Parse("f", text)
		for _, d := range list {
			if s := d.Span; s.Start.Offset < 0 || s.End.Offset > len(text) || s.Start.Offset > s.End.Offset {
				t.Fatalf("%v outside of %d bytes", s, len(text))
			}
		}
		if file.Root != nil {
			inBounds(t, file.Root, len(text))
		}
	})
}

func inBounds(t *testing.T, n *Node, size int) {
	for _, s := range []diag.Span{n.Span, n.At(0, len(n.Value)), n.At(1, 2)} {
		if s.Start.Offset < 0 || s.End.Offset > size || s.Start.Offset > s.End.Offset {
			t.Fatalf("%v outside of %d bytes", s, size)
		}
	}
	for _, e := range n.Entries {
		inBounds(t, e.Key, size)
		inBounds(t, e.Value, size)
	}
	for _, item := range n.Items {
		inBounds(t, item, size)
	}
}

// hostileTime is what a hostile file may take at most; a loaded machine is
// given room, exponential behaviour is not.
const hostileTime = 3 * time.Second
