package diag

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// at gives the span of the first occurrence of word in text.
func at(file, text, word string) Span {
	i := strings.Index(text, word)
	pos := func(o int) Pos {
		line := strings.LastIndexByte(text[:o], '\n') + 1
		return Pos{Offset: o, Line: strings.Count(text[:o], "\n") + 1, Col: utf8.RuneCountInString(text[line:o]) + 1}
	}
	return Span{File: file, Start: pos(i), End: pos(i + len(word))}
}

func printed(t *testing.T, p *Printer, list List) string {
	t.Helper()
	var out strings.Builder
	if err := p.Print(&out, list); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestNearest(t *testing.T) {
	fields := []string{"topic", "format", "key_format", "timestamp", "on_error", "from", "join", "select"}
	cases := []struct{ name, want string }{
		{"toppic", "topic"}, {"tpoic", "topic"}, {"Topic", "topic"}, {"topics", "topic"},
		{"formt", "format"}, {"key-format", "key_format"}, {"onerror", "on_error"}, {"form", "from"},
		{"joins", "join"}, {"timestmap", "timestamp"}, {"selct", "select"},
		{"xyz", ""}, {"", ""}, {"a", ""}, {"topic", ""}, {strings.Repeat("topic", 100), ""},
	}
	for _, c := range cases {
		if got := Nearest(c.name, fields); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.name, got, c.want)
		}
	}
	backwards := slices.Clone(fields)
	slices.Reverse(backwards)
	for _, c := range cases {
		if got := Nearest(c.name, backwards); got != c.want {
			t.Errorf("Nearest(%q) = %q depends on the order of candidates", c.name, got)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"abc", "xbc", 1}, {"ca", "abc", 3}, {"kitten", "sitting", 3}, {"", "ab", 2}} {
		if got := distance([]rune(c.a), []rune(c.b)); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance([]rune(c.b), []rune(c.a)); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestSortIsSourceOrder(t *testing.T) {
	text := "a\nb\nc\n"
	var list List
	list.Errorf("z", at("f", text, "c"), "third")
	list.Warnf("b", at("f", text, "b"), "second, by code")
	list.Errorf("a", at("f", text, "b"), "first at b")
	list.Errorf("y", at("e", text, "c"), "other file")
	list.Errorf("a", at("f", text, "b"), "first at b")
	list.Sort()
	var got []string
	for _, d := range list {
		got = append(got, d.Message)
	}
	want := []string{"other file", "first at b", "second, by code", "third"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !list.HasErrors() || (List{Warnf("a", Span{}, "w")}).HasErrors() {
		t.Error("HasErrors is wrong")
	}
	if s := list.Summary(); s != "3 errors, 1 warning" {
		t.Errorf("summary %q", s)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	d := Errorf("c", Span{}, "unknown field %q in %s", strings.Repeat("k", 1<<20), "a\nb")
	if len(d.Message) > 400 || !strings.Contains(d.Message, `" in a b`) || !utf8.ValidString(d.Message) {
		t.Errorf("%d bytes: %.200s", len(d.Message), d.Message)
	}
	d = Errorf("c", Span{}, "%s", strings.Repeat("é ", 1<<20))
	if len(d.Message) > 1100 || !utf8.ValidString(d.Message) {
		t.Errorf("%d bytes", len(d.Message))
	}
}

// The layout is part of what users and editors know: it is held in full.
func TestPrinter(t *testing.T) {
	text := "pipeline: p\nsources:\n\tv: {名前: x, toppic: y}\n\tw: {name: z}\n"
	p := &Printer{Sources: map[string][]byte{"p.yaml": []byte(text)}}
	list := List{
		Errorf("unknown-field", at("p.yaml", text, "toppic"), "unknown field %q", "toppic").
			WithNote(at("p.yaml", text, "w"), "another place").
			WithNote(Span{}, "without a place").
			WithHelp("did you mean %q?", "topic"),
		Warnf("unused", Span{File: "p.yaml"}, "whole file"),
		Warnf("unused", Span{File: "other.yaml", Start: Pos{Line: 3, Col: 4}, End: Pos{Line: 3, Col: 5}}, "no source"),
		Errorf("empty", Span{File: "p.yaml", Start: at("p.yaml", text, "x,").Start, End: at("p.yaml", text, "x,").Start}, "empty span"),
	}
	want := strings.TrimPrefix(`
error[unknown-field]: unknown field "toppic"
  --> p.yaml:3:13
   |
 3 |     v: {名前: x, toppic: y}
   |                  ^^^^^^
   = note: another place
  --> p.yaml:4:2
   |
 4 |     w: {name: z}
   |     -
   = note: without a place
   = help: did you mean "topic"?

warning[unused]: whole file
  --> p.yaml

warning[unused]: no source
  --> other.yaml:3:4

error[empty]: empty span
  --> p.yaml:3:10
   |
 3 |     v: {名前: x, toppic: y}
   |               ^
`, "\n")
	if got := printed(t, p, list); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if colored := printed(t, &Printer{Sources: p.Sources, Color: true}, list); !strings.Contains(colored, styleError) || stripped(colored) != want {
		t.Errorf("with colour:\n%q", colored)
	}
}

func stripped(s string) string {
	for _, style := range []string{styleReset, styleError, styleWarning, styleFrame, styleBold, styleHelp} {
		s = strings.ReplaceAll(s, style, "")
	}
	return s
}

// TestLongLines: wherever the word stands in a long line, the line is cut to
// the width and the carets stand under the word.
func TestLongLines(t *testing.T) {
	for _, filler := range []string{"x", "日", "\t", "é"} {
		for _, before := range []int{0, 1, 30, 99, 100, 101, 500} {
			for _, after := range []int{0, 1, 60, 500} {
				text := strings.Repeat(filler, before) + "WORD" + strings.Repeat(filler, after)
				p := &Printer{Sources: map[string][]byte{"f": []byte(text)}}
				lines := strings.Split(printed(t, p, List{Errorf("c", at("f", text, "WORD"), "m")}), "\n")
				source, marks := []rune(lines[3]), lines[4]
				column, width := 0, 0
				for i, r := range source {
					if string(source[i:min(i+4, len(source))]) == "WORD" {
						column = width
					}
					width += runeWidth(r)
				}
				if got := strings.IndexByte(marks, '^'); got != column || strings.Count(marks, "^") != 4 {
					t.Errorf("%q*%d, %d behind: carets at %d, word at %d\n%s\n%s", filler, before, after, got, column, lines[3], marks)
				}
				if width > defaultWidth+8 {
					t.Errorf("%q*%d: line is %d wide", filler, before, width)
				}
			}
		}
	}
}

func TestHiddenPlacesAreNotPrinted(t *testing.T) {
	text := "password: [hunter2]\n"
	secret := at("f", text, "[hunter2]")
	p := &Printer{Sources: map[string][]byte{"f": []byte(text)}, Hidden: []Span{secret}}
	got := printed(t, p, List{Errorf("c", secret, "expected a text")})
	if strings.Contains(got, "hunter") || !strings.Contains(got, "password: *********") {
		t.Error(got)
	}
}

func TestManyAreCounted(t *testing.T) {
	var list List
	for i := range 250 {
		list.Errorf("c", Span{}, "fault %d", i)
	}
	got := printed(t, &Printer{}, list)
	if !strings.HasSuffix(got, "fault 99\n\n... and 150 errors\n") {
		t.Error(got[len(got)-60:])
	}
}

// The names of the JSON form are an interface.
func TestJSON(t *testing.T) {
	text := "a: b\n"
	list := List{
		Errorf("code", at("f", text, "b"), "message").WithHelp("help").WithNote(at("f", text, "a"), "note"),
		Warnf("bare", Span{}, "bare"),
	}
	got, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"code":"code","severity":"error","message":"message","help":"help",` +
		`"span":{"file":"f","start":{"line":1,"column":4,"offset":3},"end":{"line":1,"column":5,"offset":4}},` +
		`"notes":[{"message":"note","span":{"file":"f","start":{"line":1,"column":1,"offset":0},"end":{"line":1,"column":2,"offset":1}}}]},` +
		`{"code":"bare","severity":"warning","message":"bare"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, _ := json.Marshal(List(nil)); string(got) != "[]" {
		t.Errorf("an empty list is %s", got)
	}
}

func TestPrintFails(t *testing.T) {
	err := (&Printer{}).Print(failingWriter{}, List{Errorf("c", Span{}, "m")})
	if err == nil || !strings.HasPrefix(err.Error(), "print diagnostics: ") {
		t.Error(err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("full") }
