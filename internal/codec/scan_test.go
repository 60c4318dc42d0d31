package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"streamctl/internal/value"
)

// path reads "a.b[0]" as steps.
func path(text string) []Step {
	var steps []Step
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == '.' || r == '[' }) {
		if index, ok := strings.CutSuffix(part, "]"); ok {
			n, err := strconv.Atoi(index)
			if err != nil {
				panic(err)
			}
			steps = append(steps, Step{Index: n, IsIndex: true})
			continue
		}
		steps = append(steps, Step{Name: part})
	}
	return steps
}

// view is a record of the kind that the speed of Scan is measured with.
const view = `{"eventType":"PageViewEvent","timestamp":1413215518,"viewerId":1234,"sessionId":"a5b8c1d2e3f4","pageKey":"profile-view","viewedProfileId":4321,"trackingKey":"invitation-email","extra":{"a":[1,2,3]}}`

func viewShape() *Shape {
	s := NewShape()
	s.Slot(path("timestamp"), WantInt)
	s.Slot(path("viewerId"), WantInt)
	s.Slot(path("pageKey"), WantString)
	s.Slot(path("viewedProfileId"), WantInt)
	s.Freeze()
	return s
}

func TestScanView(t *testing.T) {
	s, row := viewShape(), &value.Row{}
	doc := []byte(view)
	if err := s.Scan(doc, row); err != nil {
		t.Fatal(err)
	}
	if row.Slots[0].AsInt() != 1413215518 || row.Slots[1].AsInt() != 1234 ||
		row.Slots[2].AsString() != "profile-view" || row.Slots[3].AsInt() != 4321 {
		t.Errorf("slots: %v", row.Slots)
	}
	if n := testing.AllocsPerRun(100, func() { _ = s.Scan(doc, row) }); n != 0 {
		t.Errorf("allocations: %v", n)
	}
}

func TestSlotNumbers(t *testing.T) {
	s := NewShape()
	a := s.Slot(path("a"), WantAny)
	ab := s.Slot(path("a.b"), WantInt)
	item := s.Slot(path("a[0]"), WantInt)
	whole := s.Slot(nil, WantAny)
	if s.Slot(path("a"), WantAny) != a || s.Slot(path("a.b"), WantInt) != ab || s.Slot(path("a[0]"), WantInt) != item || s.Slot(nil, WantAny) != whole {
		t.Error("the same path and want gave another slot")
	}
	if other := s.Slot(path("a.b"), WantString); other == ab || s.Slots() != 5 {
		t.Error("another want gave the same slot")
	}
	if s.Slot([]Step{{Name: "a"}, {Name: "[0]"}}, WantInt) == item {
		t.Error("a name and an index gave the same slot")
	}
	if s.Cut("a") != 0 || s.Cut("z") != 1 || s.Cut("a") != 0 {
		t.Error("numbers of cuts")
	}
	s.Freeze()
	defer func() {
		if recover() == nil {
			t.Error("a frozen shape took another slot")
		}
	}()
	s.Slot(path("b"), WantAny)
}

func TestScanWants(t *testing.T) {
	for _, c := range []struct {
		doc  string
		want Want
		out  string // the slot as JSON with its kind, or the error
	}{
		{`{"f":3}`, WantInt, "int 3"}, {`{"f":3.0}`, WantInt, "int 3"}, {`{"f":30e-1}`, WantInt, "int 3"}, {`{"f":-0}`, WantInt, "int 0"},
		{`{"f":3.5}`, WantInt, "field f: want int, got float 3.5"}, {`{"f":9223372036854775808}`, WantInt, "field f: want int, got number 9223372036854775808"},
		{`{"f":9223372036854775808.0}`, WantInt, "field f: want int, got float 9223372036854775808.0"}, {`{"f":-9223372036854775808.0}`, WantInt, "int -9223372036854775808"},
		{`{"f":"3"}`, WantInt, `field f: want int, got string "3"`}, {`{"f":[1,2]}`, WantInt, "field f: want int, got list [1,2]"}, {`{"f":{}}`, WantString, "field f: want string, got object {}"},
		{`{"f":null}`, WantInt, "null null"}, {`{}`, WantInt, "absent null"}, {`{"f":true}`, WantBool, "bool true"}, {`{"f":false}`, WantBool, "bool false"}, {`{"f":0}`, WantBool, "field f: want bool, got int 0"},
		{`{"f":3}`, WantFloat, "float 3"}, {`{"f":1.50}`, WantFloat, "float 1.50"}, {`{"f":12345678901234567890}`, WantFloat, "float 12345678901234567890"}, {`{"f":1e400}`, WantFloat, "field f: want float, got number 1e400"},
		{`{"f":"x\ny"}`, WantString, `string "x\ny"`}, {`{"f":1}`, WantString, "field f: want string, got int 1"}, {`{"f":{ }}`, WantObject, "json { }"}, {`{"f":[]}`, WantObject, "field f: want object, got list []"},
		{`{"f":"AP8="}`, WantBytes, `bytes "AP8="`}, {`{"f":"AP8"}`, WantBytes, `field f: want bytes, got string "AP8"`}, {`{"f":1}`, WantBytes, "field f: want bytes, got int 1"}, {`{"f":null}`, WantBytes, "null null"},
		{`{"f":[ 1]}`, WantList, "json [ 1]"}, {`{"f":{}}`, WantList, "field f: want list, got object {}"}, {`{"f":1e400}`, WantAny, "number 1e400"}, {`{"\u0066":7}`, WantAny, "int 7"},
		{`{"f":"x","f":1}`, WantInt, "int 1"}, {`{"f":1,"f":"x"}`, WantInt, `field f: want int, got string "x"`}, {`[1]`, WantInt, "field f: want int, but the document is not an object"},
		{`[1]`, WantAny, "invalid null"}, {`null`, WantInt, "null null"}, {`"f"`, WantAny, "invalid null"},
	} {
		s, row := NewShape(), &value.Row{}
		s.Slot(path("f"), c.want)
		s.Freeze()
		out := ""
		if err := s.Scan([]byte(c.doc), row); err != nil {
			out = err.Error()
		} else {
			out = row.Slots[0].Kind.String() + " " + string(value.AppendJSON(nil, row.Slots[0]))
		}
		if out != c.out {
			t.Errorf("%s as %s: %s, want %s", c.doc, c.want, out, c.out)
		}
	}
}

func TestFieldErrorPath(t *testing.T) {
	s, row := NewShape(), &value.Row{}
	s.Slot([]Step{{Name: "a"}, {Name: "odd name"}, {Index: -1, IsIndex: true}, {Name: "x"}}, WantInt)
	s.Freeze()
	err := s.Scan([]byte(`{"a":{"odd name":[1,{"x":"`+strings.Repeat("y", 100)+`"}]}}`), row)
	want := `field a["odd name"][-1].x: want int, got string "` + strings.Repeat("y", 39) + "..."
	var field *FieldError
	if !errors.As(err, &field) || err.Error() != want || field.Got != value.String || len(field.Path) != 4 {
		t.Errorf("%v, want %s", err, want)
	}
	err = s.Scan([]byte(`{"a":{"odd name":[{"x":1},"z"]}}`), row)
	if want := `field a["odd name"][-1].x: want int, but a["odd name"][-1] is not an object`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	err = s.Scan([]byte(`{"a":{"odd name":{}}}`), row)
	if want := `field a["odd name"][-1].x: want int, but a["odd name"] is not a list`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestScanNull(t *testing.T) {
	s, row := viewShape(), &value.Row{}
	if err := s.Scan(nil, row); err != nil || row.Doc != nil {
		t.Fatalf("%v", err)
	}
	for i, v := range row.Slots {
		if v.Kind != value.Null {
			t.Errorf("slot %d of null is %s", i, v.Kind)
		}
	}
	if err := s.Scan([]byte{}, row); err == nil {
		t.Error("an empty document is JSON")
	}
}

// wanted are the paths of the fuzzed shape: names of all lengths that the
// name table treats differently, prefixes of each other, indexes from both ends.
func wanted() []string {
	return []string{"", "a", "a.b", "a.b.c", "a[0]", "a[1]", "a[-1]", "a[0].b", "a[-1].b", "a[-1][0]", "l[2].x.y", "l[-2]", "eightlen", "eightle9", "ninechars", "sixteencharslong", "sixteencharsl0ng",
		"seventeencharslon", "a-much-longer-name-of-a-member-one", "a-much-longer-name-of-a-member-two", "é", "timestamp", "viewerId", "pageKey", "extra.a", "extra.a[1]", "extra.a[7]", "k\"q"}
}

func fuzzShape() (*Shape, [][]Step, []string) {
	s := NewShape()
	var paths [][]Step
	for i, text := range wanted() {
		paths = append(paths, path(text))
		if s.Slot(paths[i], WantAny) != i {
			panic("slots are not numbered in order")
		}
	}
	empty := []Step{{Name: "a"}, {Name: ""}}
	s.Slot(empty, WantAny)
	cuts := []string{"a", "pageKey", "", "é"}
	for _, name := range cuts {
		s.Cut(name)
	}
	s.Freeze()
	return s, append(paths, empty), cuts
}

// follow finds path in what encoding/json decoded.
func follow(x any, path []Step) (found any, kind value.Kind) {
	for _, step := range path {
		if x == nil {
			return nil, value.Null
		}
		if step.IsIndex {
			list, ok := x.([]any)
			if !ok {
				return nil, value.Invalid
			}
			i := step.Index
			if i < 0 {
				i += len(list)
			}
			if i < 0 || i >= len(list) {
				return nil, value.Absent
			}
			x = list[i]
			continue
		}
		object, ok := x.(map[string]any)
		if !ok {
			return nil, value.Invalid
		}
		if x, ok = object[step.Name]; !ok {
			return nil, value.Absent
		}
	}
	return x, value.Raw // some value
}

func checkSlot(v value.Value, x any, path []Step) error {
	// Scan is eager: below something absent there is nothing, as below null; both are nulls.
	found, kind := follow(x, path)
	if kind == value.Raw {
		text, err := json.Marshal(found)
		if err != nil {
			return err
		}
		want, err := value.ParseJSON(text)
		if err != nil {
			return err
		}
		if !value.Equal(v, want) || v.IsNull() != (found == nil) || found == nil && v.Kind != value.Null {
			return fmt.Errorf("want %s, got %s %s", text, v.Kind, value.AppendJSON(nil, v))
		}
		return nil
	}
	if kind == value.Invalid && v.Kind != kind || !v.IsNull() || kind != value.Invalid && v.Kind == value.Invalid {
		return fmt.Errorf("want %s, got %s %s", kind, v.Kind, value.AppendJSON(nil, v))
	}
	return nil
}

// nested tells whether valid JSON nests deeper than is read here.
func nested(doc []byte) bool {
	now, inString := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if now++; now > value.MaxDepth {
				return true
			}
		case c == '}' || c == ']':
			now--
		}
	}
	return false
}

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func checkScan(t failer, s *Shape, paths [][]Step, cuts []string, row *value.Row, doc []byte) {
	t.Helper()
	err := s.Scan(doc, row)
	// encoding/json lets invalid UTF-8 pass and nests 10000 deep; nothing else differs.
	valid := json.Valid(doc) && utf8.Valid(doc) && !nested(doc)
	if (err == nil) != valid {
		t.Fatalf("Scan(%.200q): %v, valid %v", doc, err, valid)
	}
	if _, parseErr := value.ParseJSON(doc); (parseErr == nil) != valid || err != nil && err.Error() != parseErr.Error() {
		t.Fatalf("Scan(%.200q): %v, ParseJSON: %v", doc, err, parseErr)
	}
	if err != nil {
		return
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var x any
	if err := d.Decode(&x); err != nil {
		t.Fatal(err)
	}
	whole, err := value.ParseJSON(doc)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		if err := checkSlot(row.Slots[i], x, p); err != nil {
			t.Fatalf("Scan(%.200q): %s: %v", doc, PathText(p), err)
		}
		walked, err := Walk(whole, p)
		if (err != nil) != (row.Slots[i].Kind == value.Invalid) || !value.Equal(walked, row.Slots[i]) {
			t.Fatalf("Walk(%.200q, %s) = %s, %v; Scan: %s", doc, PathText(p), walked.Short(), err, row.Slots[i].Short())
		}
	}
	for n := range 1 << len(cuts) {
		checkSplice(t, row, cuts, n)
	}
}

// member is one member of an object as it stands in the document.
type member struct{ name, text string }

// membersOf lists the members of an object with the help of encoding/json.
func membersOf(t failer, doc []byte) []member {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(doc))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var list []member
	for d.More() {
		before := int(d.InputOffset())
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		text := strings.TrimLeft(string(doc[before:d.InputOffset()]), ", \t\r\n")
		list = append(list, member{name.(string), text})
	}
	return list
}

// checkSplice cuts the names that the bits of which select.
func checkSplice(t failer, row *value.Row, cuts []string, which int) {
	t.Helper()
	var numbers []int
	gone := map[string]bool{}
	for i, name := range cuts {
		if which>>i&1 != 0 {
			numbers = append(numbers, i)
			gone[name] = true
		}
	}
	out, more, ok := AppendSplice([]byte("~"), row, numbers)
	text := bytes.Trim(row.Doc, " \t\r\n")
	if text[0] != '{' {
		if isNull := string(text) == "null"; ok != isNull || more || isNull && string(out) != "~{" || !isNull && string(out) != "~" {
			t.Fatalf("AppendSplice(%.200q) = %.200q, %v, %v", row.Doc, out, more, ok)
		}
		return
	}
	var want []member
	for _, m := range membersOf(t, row.Doc) {
		if !gone[m.name] {
			want = append(want, m)
		}
	}
	if !ok || out[0] != '~' || more != (len(want) > 0) {
		t.Fatalf("AppendSplice(%.200q, %v) = %.200q, %v, %v", row.Doc, numbers, out, more, ok)
	}
	closed := append(bytes.Clone(out[1:]), '}')
	if !json.Valid(closed) {
		t.Fatalf("AppendSplice(%.200q, %v) = %.200q is not JSON", row.Doc, numbers, closed)
	}
	if got := membersOf(t, closed); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("AppendSplice(%.200q, %v) has %.200q, want %.200q", row.Doc, numbers, got, want)
	}
	if which == 0 && !bytes.HasPrefix(text, out[1:]) {
		t.Fatalf("AppendSplice(%.200q) without cuts = %.200q", row.Doc, out)
	}
	added, hasAny, _ := AppendMembers([]byte(`{"x":1`), row, numbers, true)
	if added = append(added, '}'); !json.Valid(added) || !hasAny || len(membersOf(t, added)) != 1+len(want) {
		t.Fatalf("AppendMembers(%.200q, %v) = %.200q", row.Doc, numbers, added)
	}
}

func scanSeeds() []string {
	return []string{view, ` {"a" : { "b" : {"c":1} } , "l":[1,2,{"x":{"y":[]}}] } `, `{"a":[{"b":1},[7],{"b":2}]}`, `{"a":[[5]]}`, `{"a":[]}`, `{"a":null}`, `{"a":5}`, `{"a":"s","a":{"b":1}}`,
		`{"a":{"b":{"c":1}},"a":{}}`, `{"a":{"b":1,"b":{"c":2}}}`, `{"a":{"":1}}`, `{"":1,"":2,"x":3}`, `{"é":1,"\u00e9":2}`, `{"\u0061":{"\u0062":"\u0063"}}`, `{"k\"q":1}`, `{"k\u0022q":1}`,
		`{"eightlen":1,"eightle9":2,"ninechars":3,"sixteencharslong":4,"sixteencharsl0ng":5,"seventeencharslon":6,"a-much-longer-name-of-a-member-one":7,"a-much-longer-name-of-a-member-two":8,"a-much-longer-name-of-a-member-twx":9}`,
		`{"pageKey":1 , "x" : 2, "a":3,"pageKey":4,"pageKey" :5}`, "{\n  \"pageKey\": 1,\n  \"z\": 2,\n  \"a\": 3\n}\n", `{"a":1}`, `{}`, `{ }`, `[]`, `5`, `"a"`, `null`, ` null `, `true`, ``, `{"a":1,}`, `{"a":[1,2,}`, `{"a":{"b":tru}}`,
		`{"a":` + strings.Repeat("[", 999) + strings.Repeat("]", 999) + `}`, `{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, `{"a":{"b":{"c":` + strings.Repeat(`{"d":`, 997) + "1" + strings.Repeat("}", 1000),
		`{"a":{"b":{"c":` + strings.Repeat(`{"d":`, 998) + "1" + strings.Repeat("}", 1001), strings.Repeat(`{"a":`, 100000), strings.Repeat("[", 100000), "{\"a\":\"\xff\"}", "{\"\xff\":1}", "{\"a\xff\":1}", `{"x":1e400,"a":1e-400,"timestamp":12345678901234567890,"viewerId":-0}`, `{"a":NaN}`,
		`{"timestamp":123456789012345678,"viewerId":1234567890123456789,"l":[0.5,1E5,-1]}`, `{"pageKey":"12345678","x":"1234567890123456","é":"ü12345678"}`, "{\"pageKey\":\"a\tb\"}", `{"timestamp":01}`, `{"timestamp":-}`, `{"timestamp":1.}`}
}

func FuzzScan(f *testing.F) {
	for _, seed := range scanSeeds() {
		f.Add([]byte(seed))
	}
	s, paths, cuts := fuzzShape()
	row := &value.Row{}
	f.Fuzz(func(t *testing.T, doc []byte) { checkScan(t, s, paths, cuts, row, doc) })
}

func TestScanTruncatedAndDamaged(t *testing.T) {
	s, paths, cuts := fuzzShape()
	row := &value.Row{}
	for _, seed := range scanSeeds() {
		if len(seed) > 1000 {
			continue
		}
		doc := []byte(seed)
		for i := range doc {
			checkScan(t, s, paths, cuts, row, bytes.Clone(doc[:i:i])) // a read too far panics
			if i < 250 {
				for _, c := range []byte{0, '"', '\\', '}', ']', ',', ':', '0', '9', '.', ' ', 0x80, 0xff} {
					bad := bytes.Clone(doc)
					bad[i] = c
					checkScan(t, s, paths, cuts, row, bad)
				}
			}
		}
	}
}

func TestNameTableFindsAll(t *testing.T) {
	s, row := NewShape(), &value.Row{}
	var doc strings.Builder
	const fields = 700
	for i := range fields {
		name := strings.Repeat("n", i%40) + strconv.Itoa(i)
		if s.Slot([]Step{{Name: name}}, WantInt) != i {
			t.Fatal("slots are not numbered in order")
		}
		fmt.Fprintf(&doc, `,"%s":%d,"%sx":-1`, name, i, name)
	}
	s.Freeze()
	if err := s.Scan([]byte("{"+doc.String()[1:]+"}"), row); err != nil {
		t.Fatal(err)
	}
	for i, v := range row.Slots {
		if v.AsInt() != int64(i) || v.Kind != value.Int {
			t.Errorf("field %d = %v", i, v)
		}
	}
}

func TestScanReusesRow(t *testing.T) {
	s, _, _ := fuzzShape()
	row := &value.Row{}
	docs := [][]byte{[]byte(`{"a":{"b":{"c":"x"}},"pageKey":1,"pageKey":2,"l":[1,2,{"x":{"y":"z"}}]}`), []byte(view), []byte(`{}`)}
	for _, doc := range docs {
		if err := s.Scan(doc, row); err != nil {
			t.Fatal(err)
		}
	}
	if len(row.Dups) != 0 || row.Cuts[1].End != 0 || row.Slots[3].Kind != value.Absent {
		t.Errorf("an earlier document shows through: %v", row)
	}
	if n := testing.AllocsPerRun(50, func() {
		for _, doc := range docs {
			_ = s.Scan(doc, row)
		}
	}); n != 0 {
		t.Errorf("allocations: %v", n)
	}
}

func TestScanFloatsDoNotAllocate(t *testing.T) {
	s, row := NewShape(), &value.Row{}
	s.Slot(path("a"), WantFloat)
	s.Slot(path("b"), WantFloat)
	s.Freeze()
	doc := []byte(`{"a":12345678,"b":1.25}`)
	if n := testing.AllocsPerRun(100, func() { _ = s.Scan(doc, row) }); n != 0 {
		t.Errorf("allocations: %v", n)
	}
	if a := row.Slots[0]; a.Kind != value.Float || a.AsFloat() != 12345678 || a.Text != "12345678" {
		t.Errorf("a = %v", a)
	}
}

func TestScanManyDuplicates(t *testing.T) {
	s, row := NewShape(), &value.Row{}
	cuts := []int{s.Cut("x")}
	s.Freeze()
	doc := []byte(`{"y":0` + strings.Repeat(`,"x":1`, 10000) + `,"z":2}`)
	if err := s.Scan(doc, row); err != nil {
		t.Fatal(err)
	}
	if out, more, ok := AppendSplice(nil, row, cuts); string(out) != `{"y":0,"z":2` || !more || !ok {
		t.Errorf("AppendSplice = %.100q", out)
	}
	if err := s.Scan([]byte(`{}`), row); err != nil || cap(row.Dups) > maxKeptDups {
		t.Errorf("%v; the row keeps room for %d duplicates", err, cap(row.Dups))
	}
}

func TestScanValue(t *testing.T) {
	s := NewShape()
	whole := s.Slot(nil, WantAny)
	field := s.Slot(path("a[1]"), WantInt)
	s.Freeze()
	for _, c := range []struct {
		v          value.Value
		doc, field string // field: kind, or the error
	}{
		{value.OfRaw(`{"a": [1,2]}`), `{"a": [1,2]}`, "int"}, {value.OfMap([]string{"a"}, []value.Value{value.OfList([]value.Value{{}, value.OfInt(7)})}), `{"a":[null,7]}`, "int"},
		{value.OfRaw(`{"a":[]}`), `{"a":[]}`, "absent"}, {value.OfRaw(`{"a":[1,"x"]}`), `{"a":[1,"x"]}`, `field a[1]: want int, got string "x"`}, {value.NullV(), "", "null"}, {value.Value{}, "", "null"},
		{value.OfBytes([]byte("hi")), `"aGk="`, "field a[1]: want int, but the document is not an object"}, {value.OfString("x"), `"x"`, "field a[1]: want int, but the document is not an object"},
	} {
		row := &value.Row{}
		got := ""
		if err := s.ScanValue(c.v, row); err != nil {
			got = err.Error()
		} else {
			got = row.Slots[field].Kind.String()
		}
		if got != c.field || string(row.Doc) != c.doc || !value.Equal(row.Slots[whole], c.v) {
			t.Errorf("ScanValue(%s): %s, doc %s, whole %s; want %s", c.v.Short(), got, row.Doc, row.Slots[whole].Short(), c.field)
		}
	}
	if row := (&value.Row{}); s.ScanValue(value.OfRaw(`{"a":`), row) == nil {
		t.Error("a raw value that is not JSON passes")
	}
	strings := NewShape()
	strings.Slot(nil, WantString)
	strings.Freeze()
	if err := strings.ScanValue(value.OfBytes([]byte("hi")), &value.Row{}); err == nil || err.Error() != `document: want string, got bytes "aGk="` {
		t.Errorf("bytes as a string: %v", err)
	}
}

// drawJSON writes a random document with names that the fuzzed shape wants,
// white space and escapes anywhere they may stand.
func drawJSON(t *rapid.T, depth int) string {
	space := func() string { return rapid.SampledFrom([]string{"", "", "", " ", "\n\t", "\r\n  "}).Draw(t, "space") }
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch kind := rapid.IntRange(0, kinds).Draw(t, "kind"); kind {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "word")
	case 1:
		return strconv.FormatInt(rapid.Int64().Draw(t, "int"), 10)
	case 2:
		return rapid.SampledFrom([]string{"0", "-0", "1.50", "1e400", "-1E-7", "12345678901234567890", "3.0"}).Draw(t, "number")
	case 3, 4:
		text, err := json.Marshal(rapid.String().Draw(t, "text"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	default:
		var b strings.Builder
		n := rapid.IntRange(0, 4).Draw(t, "children")
		b.WriteString("[{"[kind-5:kind-4] + space())
		for i := range n {
			if i > 0 {
				b.WriteString("," + space())
			}
			if kind == 6 {
				name := rapid.SampledFrom([]string{"a", "b", "c", "l", "x", "y", "k\\\"q", "\\u0061", "pageKey", "page\\u004bey", "", "é", "viewerId", "extra", "sixteencharslong", "sixteencharslonG", "eightlen", "other"}).Draw(t, "name")
				b.WriteString(`"` + name + `"` + space() + ":" + space())
			}
			b.WriteString(drawJSON(t, depth-1) + space())
		}
		b.WriteString("]}"[kind-5 : kind-4])
		return b.String()
	}
}

func TestScanProperty(t *testing.T) {
	s, paths, cuts := fuzzShape()
	row := &value.Row{}
	rapid.Check(t, func(r *rapid.T) {
		checkScan(r, s, paths, cuts, row, []byte(drawJSON(r, 4)))
	})
}

func TestScanDepthAlongPath(t *testing.T) {
	s, row := NewShape(), &value.Row{}
	s.Slot(path(strings.Repeat("a.", value.MaxDepth+5)), WantAny)
	s.Slot(path(strings.Repeat("a.", value.MaxDepth-1)+"a[0]"), WantAny)
	s.Freeze()
	for depth, want := range map[int]bool{value.MaxDepth: true, value.MaxDepth + 1: false} {
		doc := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
		if err := s.Scan([]byte(doc), row); (err == nil) != want {
			t.Errorf("depth %d: %v", depth, err)
		}
		doc = strings.Repeat(`{"a":`, depth-1) + "[1]" + strings.Repeat("}", depth-1)
		if err := s.Scan([]byte(doc), row); (err == nil) != want {
			t.Errorf("depth %d with a list: %v", depth, err)
		}
	}
}
