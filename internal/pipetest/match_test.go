package pipetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/internal/value"
)

// readPattern reads a pattern from the YAML of a value.
func readPattern(t *testing.T, text string) *pattern {
	t.Helper()
	file, list := syntax.Parse("t.yaml", []byte("p: "+text))
	if list.HasErrors() {
		t.Fatalf("%s: %v", text, list)
	}
	p := patternOf(file.Root.Get("p"), &list)
	if list.HasErrors() {
		t.Fatalf("%s: %v", text, list)
	}
	return p
}

func TestPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		json    string
		differ  string // the differences, "" = it matches
	}{
		{`1`, `1`, ""},
		{`1`, `1.0`, ""},
		{`1`, `"1"`, `v: expected 1, got "1"`},
		{`"1"`, `1`, `v: expected "1", got 1`},
		{`9007199254740993`, `9007199254740992`, `v: expected 9007199254740993, got 9007199254740992`},
		{`1e400`, `1e400`, ""},
		{`1e400`, `1e401`, `v: expected 1e400, got 1e401`},
		{`12.50`, `12.5`, ""},
		{`true`, `true`, ""},
		{`True`, `true`, ""},
		{`true`, `"true"`, `v: expected true, got "true"`},
		{`null`, `null`, ""},
		{`~`, `0`, `v: expected null, got 0`},
		{`any`, `null`, ""},
		{`any`, `{"a":1}`, ""},
		{`"any"`, `"any"`, ""},
		{`"any"`, `"other"`, `v: expected "any", got "other"`},
		{`matches "^a+$"`, `"aa"`, ""},
		{`'matches "^[ab]{2}$"'`, `"ab"`, ""},
		{`matches "^a+$"`, `"b"`, `v: expected matches "^a+$", got "b"`},
		{`matches "1"`, `1`, `v: expected matches "1", got 1`},
		{`matches '\d'`, `"x1"`, ""},
		{`'matches "say \"hi\""'`, `"say \"hi\""`, ""},
		{`matches nothing`, `"matches nothing"`, ""},
		{`equals "any"`, `"any"`, ""},
		{`'equals "matches \"x\""'`, `"matches \"x\""`, ""},
		{`approx 1.5`, `1.5000001`, ""},
		{`approx 1.5`, `1.51`, `v: expected approx 1.5, got 1.51`},
		{`approx 1.5 +- 0.1`, `1.59`, ""},
		{`approx 1.5 ± 0.1`, `1.4`, ""},
		{`approx 1.5 +- 0.1`, `1.7`, `v: expected approx 1.5 +- 0.1, got 1.7`},
		{`approx 1.5`, `"1.5"`, `v: expected approx 1.5, got "1.5"`},
		{`{a: 1}`, `{"a":1}`, ""},
		{`{a: 1, b: [x]}`, `{"b":["x"],"a":1}`, ""},
		{`{a: 1}`, `{"a":2,"b":3}`, `v.a: expected 1, got 2; v.b: expected no such field, got 3`},
		{`{a: 1, ...}`, `{"a":1,"b":3}`, ""},
		{`{a: 1, c: 2, ...}`, `{"a":1,"b":3}`, `v.c: expected 2, got nothing`},
		{`{a: null}`, `{}`, `v.a: expected null, got nothing`},
		{`{a: any}`, `{}`, `v.a: expected any, got nothing`},
		{`{a: absent, ...}`, `{"b":1}`, ""},
		{`{a: absent, ...}`, `{"a":null}`, `v.a: expected absent, got null`},
		{`{a: 1}`, `[1]`, `v: expected {"a":1}, got [1]`},
		{`{...}`, `{"a":1}`, ""},
		{`{...}`, `null`, `v: expected {...}, got null`},
		{`[1, 2]`, `[1,2]`, ""},
		{`[1, 2]`, `[2,1]`, `v[0]: expected 1, got 2; v[1]: expected 2, got 1`},
		{`[1]`, `[1,2]`, `v[1]: expected no such element, got 2`},
		{`[1, 2]`, `[1]`, `v[1]: expected 2, got no such element`},
		{`[1, ...]`, `[1,2,3]`, ""},
		{`[..., 3]`, `[1,2,3]`, ""},
		{`[..., 2, ...]`, `[1,2,3]`, ""},
		{`[1, ..., 3]`, `[1,3]`, ""},
		{`[..., 4, ...]`, `[1,2,3]`, `v: expected [...,4,...], got [1,2,3]`},
		{`[...]`, `[]`, ""},
		{`{a: [{b: {c: [1, ...]}}, ...]}`, `{"a":[{"b":{"c":[2]}}]}`, `v.a: expected [{"b":{"c":[1,...]}},...], got [{"b":{"c":[2]}}]`},
		{`{a: {b: [1, {c: x}]}}`, `{"a":{"b":[1,{"c":"y"}]}}`, `v.a.b[1].c: expected "x", got "y"`},
	} {
		v, err := value.ParseJSON(tc.json)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range readPattern(t, tc.pattern).compare(v, "v") {
			got = append(got, d.String())
		}
		if strings.Join(got, "; ") != tc.differ {
			t.Errorf("%s against %s: got %q, want %q", tc.pattern, tc.json, strings.Join(got, "; "), tc.differ)
		}
	}
}

// Blocks say the same as brackets.
func TestPatternsInBlocks(t *testing.T) {
	file, list := syntax.Parse("t.yaml", []byte("p:\n  a: 1\n  ...:\n  l:\n    - 1\n    - ...\n"))
	if list.HasErrors() {
		t.Fatal(list)
	}
	if got := patternOf(file.Root.Get("p"), &list).String(); got != `{"a":1,"l":[1,...],...}` {
		t.Errorf("got %s", got)
	}
}

// runSequence compares lists of letters; `.` stands for any number of records.
func runSequence(put func(int, int, func(int) bool, func(int, int) []difference) []pair, want, got string) string {
	pairs := put(len(want), len(got), func(i int) bool { return want[i] == '.' }, func(i, j int) []difference {
		if want[i] == got[j] {
			return nil
		}
		return make([]difference, 1+int(max(want[i], got[j])-min(want[i], got[j])))
	})
	var out []string
	for _, p := range pairs {
		switch {
		case p.want < 0:
			out = append(out, "+"+string(got[p.got]))
		case p.got < 0:
			out = append(out, "-"+string(want[p.want]))
		case p.matched():
			out = append(out, "="+string(want[p.want]))
		default:
			out = append(out, "~"+string(want[p.want])+string(got[p.got]))
		}
	}
	return strings.Join(out, " ")
}

func TestAlign(t *testing.T) {
	for _, tc := range []struct{ want, got, result string }{
		{"", "", ""},
		{"abc", "abc", "=a =b =c"},
		{"abc", "ac", "=a -b =c"},
		{"ac", "abc", "=a +b =c"},
		{"a", "b", "~ab"},
		{"abc", "adc", "=a ~bd =c"},
		{"ab", "ba", "-a =b +a"},
		{"", "ab", "+a +b"},
		{"ab", "", "-a -b"},
		{".", "abc", ""},
		{"a.c", "abbc", "=a =c"},
		{".c", "c", "=c"},
		{"a.", "a", "=a"},
		{"a.", "b", "-a"},
	} {
		if got := runSequence(align, tc.want, tc.got); got != tc.result {
			t.Errorf("%q beside %q: got %q, want %q", tc.want, tc.got, got, tc.result)
		}
	}
}

func TestAssign(t *testing.T) {
	for _, tc := range []struct{ want, got, result string }{
		{"abc", "cab", "=a =b =c"},
		{"ab", "ba", "=a =b"},
		{"aab", "aba", "=a =a =b"},
		{"ab", "bc", "~ac =b"},
		{"ab", "b", "-a =b"},
		{"a", "ba", "=a +b"},
		{"a.", "bac", "=a"},
		{"d.", "bac", "-d"},
	} {
		if got := runSequence(assign, tc.want, tc.got); got != tc.result {
			t.Errorf("%q beside %q: got %q, want %q", tc.want, tc.got, got, tc.result)
		}
	}
}

// An expected record that accepts many must not take the only one that another accepts.
func TestAssignFindsRoomForAll(t *testing.T) {
	accepts := []string{"ab", "a"}
	pairs := assign(2, 2, func(int) bool { return false }, func(i, j int) []difference {
		if strings.Contains(accepts[i], string("ab"[j])) {
			return nil
		}
		return []difference{{}}
	})
	for _, p := range pairs {
		if !p.matched() {
			t.Errorf("got %v", pairs)
		}
	}
}

func TestMoments(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]int64{
		"0s": 0, "0": 0, "90s": 90_000, "1h30m": 5_400_000, "-1s": -1000, "2d": 172_800_000,
		"2026-01-01T00:00:01Z": 1000, "2026-01-01T01:00:00+01:00": 0, "1767225600500": 500,
	} {
		file, list := syntax.Parse("t.yaml", []byte("p: "+text))
		p := &parser{faults: list}
		m := p.moment(file.Root.Get("p"), "at")
		if m == nil || m.from(begin)-begin.UnixMilli() != want {
			t.Errorf("%s: got %+v %v, want %d", text, m, p.faults, want)
		}
	}
}

func TestFind(t *testing.T) {
	for _, tc := range []struct {
		paths []string
		want  string
	}{
		{[]string{"testdata/failing"}, "[testdata/failing/letters.tests.yaml testdata/failing/others.tests.yaml testdata/failing/several.tests.yaml testdata/failing/sinks.tests.yaml]"},
		{[]string{"testdata/failing/...", "testdata/failing/sinks.tests.yaml"}, "[testdata/failing/letters.tests.yaml testdata/failing/others.tests.yaml testdata/failing/several.tests.yaml testdata/failing/sinks.tests.yaml]"},
		{[]string{"testdata/bad/broken.yaml"}, "[testdata/bad/broken.tests.yaml]"},
	} {
		got, err := Find(tc.paths)
		if err != nil || fmt.Sprint(got) != tc.want {
			t.Errorf("%v: got %v, %v", tc.paths, got, err)
		}
	}
	for path, want := range map[string]string{
		"a/tests.yaml": "a/pipeline.yaml", "a/x.tests.yaml": "a/x.yaml", "tests.yaml": "pipeline.yaml",
	} {
		if got := defaultPipeline(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// What a file of tests writes as text is what a pipeline with that format reads.
func TestJSONKeepsItsText(t *testing.T) {
	text := `{z: 12.50, a: [1e400, "x\"y", true, null], "1": {b: 9007199254740993}}`
	file, list := syntax.Parse("t.yaml", []byte(text))
	if list.HasErrors() {
		t.Fatal(list)
	}
	var faults diag.List
	if got, want := string(appendJSON(nil, file.Root, &faults)), `{"z":12.50,"a":[1e400,"x\"y",true,null],"1":{"b":9007199254740993}}`; got != want || faults != nil {
		t.Errorf("got %s %v", got, faults)
	}
}
