package match

import (
	"errors"
	"strings"
	"testing"
	"unsafe"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"foo AND bar":                    "(foo AND bar)",
		"foo bar":                        "(foo AND bar)",
		"foo OR bar baz":                 "(foo OR (bar AND baz))",
		"foo AND NOT bar OR baz":         "((foo AND NOT bar) OR baz)",
		"NOT NOT foo":                    "NOT NOT foo",
		"(foo OR bar) AND baz":           "((foo OR bar) AND baz)",
		`"Foo  Bar"`:                     `"foo bar"`,
		`"foo"`:                          "foo",
		"FooBar*":                        "foobar*",
		"title:Foo":                      "title:foo",
		`title:"foo bar" title:ba*`:      `(title:"foo bar" AND title:ba*)`,
		"title:(foo OR bar) baz":         "((title:foo OR title:bar) AND baz)",
		"foo-bar":                        `"foo bar"`,
		"and or not":                     "(and AND or AND not)",
		"Straße ÉCOLE":                   "(strasse AND école)",
		"e\u0301cole":                    "école",
		"東京":                             `"東 京"`,
		"  foo\n\tbar ":                  "(foo AND bar)",
		"can't 3.14":                     "(can't AND 3.14)",
		`meta.tag:x`:                     "meta.tag:x",
		`"a* b"`:                         "!at character 3: a prefix cannot stand inside a phrase",
		"":                               "!at character 1: the query is empty",
		"  ":                             "!at character 1: the query is empty",
		"foo AND":                        `!at character 8: expected a word, a phrase or "(" after AND, but the query ends`,
		"AND foo":                        `!at character 1: expected a word, a phrase or "(" before AND`,
		"foo OR OR bar":                  `!at character 8: expected a word, a phrase or "(" between OR and OR`,
		"(foo":                           `!at character 1: "(" is never closed`,
		"foo)":                           `!at character 4: ")" closes nothing`,
		"()":                             `!at character 2: expected a word, a phrase or "(" between "(" and ")"`,
		`é "foo`:                         "!at character 3: the phrase is never closed",
		"f*o":                            `!at character 2: "*" can only stand at the end of a word`,
		"*":                              `!at character 1: "*" has no letter or digit that could be searched for`,
		"foo-ba*":                        `!at character 1: "foo-ba" is several words (foo, ba): only one word can be a prefix`,
		"foo~2":                          `!at character 4: '~' means nothing here: put the text in quotes to search for it`,
		"-foo":                           `!at character 1: "-foo" is no operator of this grammar: write AND, OR or NOT, or put the text in quotes`,
		"foo && bar":                     `!at character 5: "&&" is no operator of this grammar: write AND, OR or NOT, or put the text in quotes`,
		"title:":                         `!at character 7: expected a word, a phrase or "(" after title:, but the query ends`,
		"title:AND":                      `!at character 7: expected a word, a phrase or "(" between title: and AND`,
		"a:b:c":                          `!at character 3: field b stands inside field a`,
		"a:b:":                           `!at character 3: field b stands inside field a`,
		"12:30":                          `!at character 1: "12" cannot be the name of a field: put the text in quotes to search for it`,
		":foo":                           `!at character 1: ":" must follow the name of a field`,
		`"..."`:                          `!at character 1: the phrase "..." has no letter or digit that could be searched for`,
		"NOT":                            `!at character 4: expected a word, a phrase or "(" after NOT, but the query ends`,
		strings.Repeat("(", 200) + "x":   "!at character 101: the query is nested deeper than 100",
		strings.Repeat("x ", 1025):       "!at character 2049: the query has more than 1024 terms",
		strings.Repeat("x", 64<<10) + "": strings.Repeat("x", 64<<10),
		strings.Repeat("x", 64<<10+1):    "!at character 1: the query is longer than 65536 bytes",
	} {
		q, err := Parse(text)
		got := ""
		if err != nil {
			got = "!" + err.Error()
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.At > len(text) {
				t.Errorf("Parse(%.40q): error %#v", text, err)
			}
		} else {
			got = q.String()
			if again, err := Parse(got); err != nil || again.String() != got {
				t.Errorf("Parse(%.40q): %s does not read itself: %v", text, got, err)
			}
		}
		if got != want {
			t.Errorf("Parse(%.40q)\n got  %.200s\n want %.200s", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`a AND (b OR NOT "c d") title:e*`, `((`, `"`, "a:b:c", "\xff", "ǅ*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			return
		}
		canonical := q.String()
		if len(canonical) > MaxQueryBytes {
			return
		}
		x := NewIndex()
		x.Put("k", q)
		x.Begin()
		x.Add("", []byte(text))
		got := len(x.AppendMatches(nil)) == 1
		if want := q.root.matches(documentOf(text)); got != want {
			t.Errorf("%q on itself: index %v, naive %v", text, got, want)
		}
	})
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"foo, bar and baz.":           "foo bar and baz",
		"Hello WORLD 42":              "hello world 42",
		"it's 3.14 or a_b":            "it's 3.14 or a_b",
		"e-mail: ann@example.org":     "e mail ann example.org",
		"ΣΊΣΥΦΟΣ σίσυφος":             "σίσυφοσ σίσυφοσ",
		"ﬁne ＡＢＣ ①":                   "fine abc 1",
		"!? ... --":                   "",
		"a\xffb":                      "a b",
		"日本語 カタカナ":                    "日 本 語 カタカナ",
		"ก":                           "ก",
		strings.Repeat("Ǆ", 40) + "x": strings.Repeat("dž", 40) + "x",
	} {
		var c cutter
		var got []string
		c.each([]byte(text), func(w []byte) { got = append(got, string(w)) })
		if s := strings.Join(got, " "); s != want {
			t.Errorf("words of %q: %q, want %q", text, s, want)
		}
	}
}

// Rows of a state lie in memory that is written again: a query that was read from
// one must keep nothing of the text, the names of its fields neither.
func TestQueriesKeepNothingOfTheirText(t *testing.T) {
	text := []byte(`title:storm AND body:"calm sea" AND tag:co*`)
	q, err := Parse(unsafe.String(unsafe.SliceData(text), len(text)))
	if err != nil {
		t.Fatal(err)
	}
	x := NewIndex()
	x.Put("q", q)
	want := q.String()
	clear(text)
	x.Begin()
	x.Add("title", []byte("a storm"))
	x.Add("body", []byte("the calm sea"))
	x.Add("tag", []byte("coast"))
	if keys := x.AppendMatches(nil); len(keys) != 1 {
		t.Errorf("the query is not found any more: %v", keys)
	}
	if got := q.String(); got != want {
		t.Errorf("the query is %s, was %s", got, want)
	}
}
