package syntax

import (
	"fmt"
	"strings"
	"testing"
)

const overridden = `pipeline: p
sources:
  page_views:
    topic: page-views
  clicks: {topic: clicks}
`

func allowKafka(path []string) bool { return path[0] == "kafka" }

func TestOverride(t *testing.T) {
	file, list := Parse("p.yaml", []byte(overridden))
	if len(list) > 0 {
		t.Fatal(list)
	}
	out, list := file.Override([]string{
		"sources.page_views.topic=test-views",
		"sources.clicks.format=string",
		"kafka.brokers=[a:1, b:2]",
		"kafka.sasl.mechanism=PLAIN",
		"pipeline=a=b",
	}, allowKafka)
	if len(list) > 0 {
		t.Fatal(list)
	}
	get := func(path string) *Node {
		n := out.Root
		for _, part := range strings.Split(path, ".") {
			n = n.Get(part)
		}
		if n == nil {
			t.Fatalf("%s is gone", path)
		}
		return n
	}
	for path, want := range map[string]string{
		"sources.page_views.topic": "test-views", "sources.clicks.format": "string", "sources.clicks.topic": "clicks",
		"kafka.sasl.mechanism": "PLAIN", "pipeline": "a=b",
	} {
		if got := get(path).Value; got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	brokers := get("kafka.brokers")
	if len(brokers.Items) != 2 || brokers.Items[1].Value != "b:2" {
		t.Fatalf("brokers %v", brokers)
	}
	for _, c := range []struct {
		n    *Node
		want string
	}{{get("sources.page_views.topic"), "1:26"}, {brokers.Items[1], "3:21"}, {get("pipeline"), "5:10"}} {
		s := c.n.At(0, 1)
		if got := fmt.Sprintf("%d:%d", s.Start.Line, s.Start.Col); s.File != OverrideFile || got != c.want {
			t.Errorf("%q is at %s:%s, want %s", c.n.Value, s.File, got, c.want)
		}
	}
	if file.Root.Get("sources").Get("page_views").Get("topic").Value != "page-views" || file.Root.Get("kafka") != nil {
		t.Error("the original tree was changed")
	}
}

func TestOverrideFaults(t *testing.T) {
	cases := []struct{ setting, message, help string }{
		{"sources.page_view.topic=x", `there is no "page_view" in sources`, `did you mean "page_views"?`},
		{"source.page_views.topic=x", `there is no "source" in the file`, `did you mean "sources"?`},
		{"sources.zzz.topic=x", `there is no "zzz" in sources`, "there are: page_views, clicks"},
		{"pipeline.name=x", "pipeline is no mapping: nothing can be set below it", ""},
		{"kafka", `"kafka" is not path=value`, "write --set sources.NAME.topic=TOPIC"},
		{"=x", `"=x" is not path=value`, "write --set sources.NAME.topic=TOPIC"},
		{"sources..topic=x", `the path "sources..topic" has an empty part`, ""},
		{"kafka.brokers=[a", "the value cannot be read as YAML", "write a list as [a, b]"},
	}
	for _, c := range cases {
		file, _ := Parse("p.yaml", []byte(overridden))
		_, list := file.Override([]string{c.setting}, allowKafka)
		if len(list) != 1 {
			t.Errorf("%s: %v", c.setting, list)
			continue
		}
		d := list[0]
		if d.Code != CodeOverride || d.Message != c.message || d.Help != c.help || d.Span.File != OverrideFile {
			t.Errorf("%s: %+v", c.setting, d)
		}
	}
}

func TestOverrideOfAnEmptyFile(t *testing.T) {
	file, _ := Parse("p.yaml", nil)
	out, list := file.Override([]string{"pipeline=p"}, allowKafka)
	if len(list) > 0 || out.Root.Get("pipeline").Value != "p" {
		t.Error(list, out.Root)
	}
}

func lookups() Lookup {
	env := map[string]string{"HOST": "kafka", "EMPTY": "", "SECRET": "hunter2", "NESTED": "${env:HOST}"}
	return Lookup{
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		File: func(path string) ([]byte, error) {
			if path == "/run/secret" {
				return []byte("s3cret\n"), nil
			}
			return nil, fmt.Errorf("no such file")
		},
	}
}

func TestInterpolate(t *testing.T) {
	cases := []struct{ text, want string }{
		{"plain", "plain"},
		{"${env:HOST}:9092", "kafka:9092"},
		{"a ${env:HOST} b ${env:HOST}", "a kafka b kafka"},
		{"${env:NONE:-localhost:9092}", "localhost:9092"},
		{"${env:EMPTY:-x}", "x"},
		{"${env:EMPTY}", ""},
		{"${env:HOST:?set it}", "kafka"},
		{"${file:/run/secret}", "s3cret"},
		{"$${env:HOST}", "${env:HOST}"},
		{"cost: 5$", "cost: 5$"},
		{"${env:NESTED}", "${env:HOST}"},
		{"${env:NONE:-}", ""},
	}
	for _, c := range cases {
		n := scalarNode(t, c.text)
		got, list := Interpolate(n, lookups())
		if got != c.want || len(list) > 0 {
			t.Errorf("%s = %q %v, want %q", c.text, got, list, c.want)
		}
		if list := CheckInterpolation(n); len(list) > 0 {
			t.Errorf("%s is refused: %v", c.text, list)
		}
	}
}

func TestInterpolationFaults(t *testing.T) {
	cases := []struct{ text, place, message, help string }{
		{"x${env:NONE}", "${env:NONE}", "environment variable NONE is not set", "set it, or give a default: ${env:NONE:-default}"},
		{"${env:EMPTY:?the password}", "${env:EMPTY:?the password}", "environment variable EMPTY is not set", "the password"},
		{"${file:/none}", "${file:/none}", "read file /none: no such file", ""},
	}
	for _, c := range cases {
		n := scalarNode(t, c.text)
		_, list := Interpolate(n, lookups())
		if len(list) != 1 {
			t.Errorf("%s: %v", c.text, list)
			continue
		}
		d := list[0]
		place := string(n.src.text[d.Span.Start.Offset:d.Span.End.Offset])
		if d.Code != CodeInterpolation || place != c.place || d.Message != c.message || d.Help != c.help {
			t.Errorf("%s: at %q: %+v", c.text, place, d)
		}
	}
	_, list := Interpolate(scalarNode(t, "${env:SECRET} ${env:NONE}"), lookups())
	if len(list) != 1 || strings.Contains(fmt.Sprint(list), "hunter2") {
		t.Errorf("a value is shown: %v", list)
	}
}

func scalarNode(t *testing.T, text string) *Node {
	t.Helper()
	file, list := Parse("p.yaml", []byte("v: '"+text+"'"))
	if len(list) > 0 {
		t.Fatal(list)
	}
	return file.Root.Get("v")
}

func TestFindInterpolation(t *testing.T) {
	for text, want := range map[string]string{
		"a ${env:B} c": "${env:B}", "${file:/x}": "${file:/x}", "${env:OPEN": "${env:OPEN",
		"$${env:B}": "", "a{b}": "", "${b}": "", "$${env:A}${env:B}": "${env:B}",
	} {
		start, end, found := FindInterpolation(text)
		if found != (want != "") || found && text[start:end] != want {
			t.Errorf("%s: %d %d %v", text, start, end, found)
		}
	}
}

// TestSyntaxErrorsPointAtThePlace: the text under the caret for each family of
// YAML mistakes, wherever in the file it is made.
func TestSyntaxErrorsPointAtThePlace(t *testing.T) {
	cases := []struct{ text, place string }{
		{"a: b: c\n", ":"},
		{"y:\n  z: a == \"b\": c\n", ":"},
		{"a: [1, 2\nb: 3\n", "["},
		{"a: {p: 1, q: 2\n", "{"},
		{"a: {p: 1, q: a.b[0], c: 5}\n", "["},
		{"a: \"abc\nb: 3\n", `"`},
		{"a: \"a\\qb\"\n", `\`},
		{"a: \"\\ud800\"\n", `\ud800`},
		{"x:\n  z: 1\n\ty: 1\n", "\t"},
		{"x: @foo\n", "@foo"},
		{"y:\n    a: 1\n  b: 2\nz: 1\n", "b:"},
		{"y:\n  - a\n  b: 1\n", "b:"},
		{"y: foo\n  zz: 2\n", "zz"},
		{"y: 1\nfoo\nz: 2\n", "foo"},
		{"y: - a\n", "-"},
		{"y: \"x\" == y\nz: 1\n", "== y"},
		{"y: 'it's'\nz: 1\n", "s'"},
		{"y: | foo\n  foo\n", "foo"},
		{"y: *a b\n", "*a"},
		{"y: 1\n- b\n", "-"},
	}
	for _, c := range cases {
		for name, before := range map[string]string{"": "", "behind fields": "o: 1\np: [1, {q: 'r'}]\n# c\n", "behind a mark": "---\n", "behind BOM": bom} {
			text := before + c.text
			_, list := Parse("f", []byte(text))
			if len(list) != 1 || list[0].Code != CodeSyntax && list[0].Code != CodeTab {
				t.Errorf("%q %s: %v", text, name, list)
				continue
			}
			s := list[0].Span
			if got := text[s.Start.Offset:s.End.Offset]; got != c.place || s.Start.Offset < len(before) {
				t.Errorf("%q %s: at %q, want %q: %s", text, name, got, c.place, list[0].Message)
			}
		}
	}
}
