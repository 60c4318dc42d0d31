package syntax

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestAt maps a word of the decoded value back to the file in every style.
func TestAt(t *testing.T) {
	cases := []struct{ name, text, find, want string }{
		{"plain", "a: v.x == y\n", "x", "v.[x] == y"},
		{"plain over lines", "a: v.x ==\n   y + 1\n", "y", "   [y] + 1"},
		{"plain over blank line", "a: one\n\n   two\n", "two", "   [two]"},
		{"plain with comment behind", "a: v.x # x\n", "x", "v.[x] #"},
		{"single", "a: 'it''s v.x'\n", "x", "v.[x]'"},
		{"single quote itself", "a: 'it''s v.x'\n", "'", "it['']s"},
		{"single over lines", "a: 'one\n  two'\n", "two", "  [two]'"},
		{"double", `a: "x == \"foo\" && bar"`, "bar", "&& [bar]"},
		{"double escape itself", `a: "x \u00e9 bar"`, "é", `x [\u00e9] bar`},
		{"double with surrogates of text", `a: "é \x41 bar"`, "bar", `[bar]`},
		{"double over lines", "a: \"one\n  two\n\n  three\"\n", "three", "  [three]"},
		{"double escaped break", "a: \"one\\\n  two\"\n", "two", "  [two]"},
		{"literal", "a: |\n  first\n  second == x\nb: 1\n", "x", "== [x]"},
		{"literal with indent", "a: |2\n    first\n  second == x\nb: 1\n", "x", "== [x]"},
		{"literal with inner blank", "a: |\n  first\n\n  second\n", "second", "  [second]"},
		{"literal keep", "a: |+\n  first\n\n\nb: 1\n", "first", "  [first]"},
		{"folded", "a: >\n  first\n  second == x\n", "x", "== [x]"},
		{"folded strip", "a: >-\n  first\n\n  second == x\n", "x", "== [x]"},
		{"folded more indented", "a: >\n  first\n    code x\n  last y\n", "y", "last [y]"},
		{"tag and anchor", "a: !!str &n v.x\n", "x", "v.[x]"},
		{"flow", "a: {b: v.x, c: 'd''e f'}\n", "f", "e [f]'"},
		{"wide", "a: '日本 x'\n", "x", "日本 [x]"},
		{"carriage returns", "a: |\r\n  first\r\n  second\r\n", "second", "  [second]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file, list := Parse("f", []byte(c.text))
			if len(list) > 0 {
				t.Fatal(list)
			}
			n := leafWith(file.Root, c.find)
			if n == nil {
				t.Fatalf("no value holds %q", c.find)
			}
			i := strings.LastIndex(n.Value, c.find)
			span := n.At(i, i+len(c.find))
			a, b := span.Start.Offset, span.End.Offset
			marked := c.text[:a] + "[" + c.text[a:b] + "]" + c.text[b:]
			if !strings.Contains(marked, c.want) {
				t.Errorf("marked %q, want %q in it", marked, c.want)
			}
		})
	}
}

func leafWith(n *Node, text string) *Node {
	if n.Kind == Scalar && strings.Contains(n.Value, text) {
		return n
	}
	for _, e := range n.Entries {
		if found := leafWith(e.Value, text); found != nil {
			return found
		}
	}
	for _, item := range n.Items {
		if found := leafWith(item, text); found != nil {
			return found
		}
	}
	return nil
}

// TestAtEdges: empty ranges, ranges out of bounds, empty values.
func TestAtEdges(t *testing.T) {
	file, _ := Parse("f", []byte("a: 'xyz'\nb: ''\n"))
	a, b := file.Root.Get("a"), file.Root.Get("b")
	check := func(name string, n *Node, start, end, from, to int) {
		t.Helper()
		s := n.At(start, end)
		if s.Start.Offset != from || s.End.Offset != to {
			t.Errorf("%s: got [%d,%d), want [%d,%d)", name, s.Start.Offset, s.End.Offset, from, to)
		}
	}
	check("whole", a, 0, 3, 4, 7)
	check("end", a, 3, 3, 7, 7)
	check("before", a, 1, 1, 5, 5)
	check("beyond", a, -4, 99, 4, 7)
	check("reversed", a, 2, 1, 6, 6)
	check("empty value", b, 0, 0, 12, 14)
}

// TestSpans: the end of every kind of value, which yaml.v3 does not know.
func TestSpans(t *testing.T) {
	cases := []struct{ name, text, key, want string }{
		{"plain", "a: b c # d\n", "a", "b c"},
		{"quoted", "a: 'b' # d\n", "a", "'b'"},
		{"double with quote", `a: "b\"c" `, "a", `"b\"c"`},
		{"flow list", "a: [1, [2], '3']\nb: 1\n", "a", "[1, [2], '3']"},
		{"flow list with comment", "a: [1, # ]\n  2 ]\nb: 1\n", "a", "[1, # ]\n  2 ]"},
		{"empty flow", "a: [ ]\nb: {}\n", "a", "[ ]"},
		{"flow mapping", "a: {b: 1, c: {d: e}, }\n", "a", "{b: 1, c: {d: e}, }"},
		{"block mapping", "a:\n  b: 1\n  c: two\nd: 1\n", "a", "b: 1\n  c: two"},
		{"block list", "a:\n- b\n- c: d\ne: 1\n", "a", "- b\n- c: d"},
		{"literal", "a: |\n  b\n  c\n\nd: 1\n", "a", "|\n  b\n  c"},
		{"folded", "a: >-\n  b\n  c\n\nd: 1\n", "a", ">-\n  b\n  c"},
		{"empty literal", "a: |\nd: 1\n", "a", "|"},
		{"nothing", "a:\nd: 1\n", "a", ""},
		{"pair in a list", "a: [b: c]\n", "a", "[b: c]"},
		{"anchored", "a: &x [1]\nb: *x\n", "b", "[1]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file, list := Parse("f", []byte(c.text))
			if len(list) > 0 {
				t.Fatal(list)
			}
			s := file.Root.Get(c.key).Span
			if got := c.text[s.Start.Offset:s.End.Offset]; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestAtInventedScalars: in whatever style a scalar is written, with whatever
// folding, every byte of its value is found in the file, in order, and plain
// letters are found as themselves.
func TestAtInventedScalars(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, style := inventScalar(t)
		file, list := Parse("f", []byte(text))
		if len(list) > 0 || file.Root == nil {
			t.Skip("not YAML:", list)
		}
		n := file.Root.Get("key")
		if n == nil || n.Kind != Scalar || n.Value == "" || n.IsNull() {
			t.Skip("no scalar")
		}
		from, to, ok := n.src.locate(n)
		if !ok {
			t.Fatalf("%s scalar not found again: %q = %q", style, text, n.Value)
		}
		last := 0
		for i := range from {
			if int(from[i]) < last && i > 0 && n.Value[i] != '\n' {
				t.Fatalf("byte %d of %q goes back in %q", i, n.Value, text)
			}
			last = int(from[i])
			if c := n.Value[i]; c >= 'a' && c <= 'z' && to[i] == from[i]+1 && text[from[i]] != c {
				t.Fatalf("byte %d of %q is at %q in %q", i, n.Value, text[from[i]], text)
			}
		}
		if after := file.Root.Get("next"); after == nil || n.Span.End.Offset > after.Span.Start.Offset {
			t.Fatalf("the value ends at %d, behind the next key, in %q", n.Span.End.Offset, text)
		}
	})
}

// inventScalar writes `key: SCALAR` in one of the styles.
func inventScalar(t *rapid.T) (text, style string) {
	style = rapid.SampledFrom([]string{"plain", "single", "double", "literal", "folded"}).Draw(t, "style")
	word := rapid.SampledFrom([]string{"ab", "x.y", "é", "日", "''", "\\n", "\\\"", "\\x41", "==", "(1)", "  ", "z", "\\\\", "a'b", "q\"r"})
	lines := make([]string, rapid.IntRange(1, 5).Draw(t, "lines"))
	for i := range lines {
		lines[i] = strings.Join(rapid.SliceOfN(word, 0, 4).Draw(t, "words"), rapid.SampledFrom([]string{"", " ", "  "}).Draw(t, "gap"))
	}
	indent := func(extra bool) string {
		var b strings.Builder
		for _, l := range lines {
			pad := "  "
			if extra && rapid.IntRange(0, 3).Draw(t, "pad") == 0 {
				pad = "    "
			}
			b.WriteString("\n" + pad + l)
		}
		return b.String()
	}
	tail := "\nnext: 1\n"
	switch style {
	case "single":
		return "key: '" + strings.TrimPrefix(indent(true), "\n  ") + "'" + tail, style
	case "double":
		return `key: "` + strings.TrimPrefix(indent(true), "\n  ") + `"` + tail, style
	case "literal", "folded":
		head := map[string]string{"literal": "|", "folded": ">"}[style]
		chomp := rapid.SampledFrom([]string{"", "-", "+"}).Draw(t, "chomp")
		return fmt.Sprintf("key: %s%s%s%s", head, chomp, indent(true), tail), style
	}
	return "key: " + strings.TrimPrefix(indent(false), "\n  ") + tail, style
}
