package lines

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"streamctl/internal/record"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Parsed{
		`{"key":"urn:1","value":{"a": 1, "b" : 1e400}}`: {record.Record{Key: []byte("urn:1"), Value: []byte(`{"a":1,"b":1e400}`), Time: -1}, -1},
		`{"key":1234,"value":"x"}`:                      {record.Record{Key: []byte("1234"), Value: []byte(`"x"`), Time: -1}, -1},
		`{"key":{"a" : 1},"value":null}`:                {record.Record{Key: []byte(`{"a":1}`), Time: -1}, -1},
		`{"key":null,"value_text":"plain"}`:             {record.Record{Value: []byte("plain"), Time: -1}, -1},
		`{"value_base64":"/w=="}`:                       {record.Record{Value: []byte{0xff}, Time: -1}, -1},
		`{"value_text":"null"}`:                         {record.Record{Value: []byte("null"), Time: -1}, -1},
		`{"key":"","timestamp":1413215518000}`:          {record.Record{Key: []byte{}, Time: 1413215518000}, -1},
		`{"timestamp":"2014-10-13T15:51:58Z"}`:          {record.Record{Time: 1413215518000}, -1},
		`{"partition":3,"offset":9,"topic":"t"}`:        {record.Record{Time: -1}, 3},
		`{"headers":{"b":"1","a":null}}`:                {record.Record{Time: -1, Headers: []record.Header{{Key: "b", Value: []byte("1")}, {Key: "a"}}}, -1},
		`{"headers":[{"key":"a","value":"1"},{"key":"a","value_base64":"/w=="}]}`: {record.Record{Time: -1,
			Headers: []record.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte{0xff}}}}, -1},
	} {
		got, err := Parse([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		``:                                "EOF",
		`[1]`:                             "want a JSON object, got array",
		`{"key":1`:                        "not closed",
		`{"kee":1}`:                       `unknown field "kee"`,
		`{} {}`:                           "more than one JSON value",
		`{"key":"a","key_base64":"/w=="}`: "both key and key_base64",
		`{"value":1,"value_text":"a"}`:    "more than one of value",
		`{"timestamp":-5}`:                "neither milliseconds",
		`{"timestamp":"yesterday"}`:       "not RFC 3339",
		`{"headers":7}`:                   "neither an object nor a list",
		`{"headers":{"a":1}}`:             `header "a": want a string`,
		`{"headers":[{"kee":"a"}]}`:       `unknown field "kee"`,
		`{"partition":-1}`:                "negative",
		`{"partition":"x"}`:               `member "partition"`,
		`{"value_base64":"***"}`:          "illegal base64",
		`{"headers":[{"key":"a","value":"b","value_base64":"/w=="}]}`: "both value and value_base64",
	} {
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

func TestWhatIsPrintedReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.OneOf(
			rapid.Just[[]byte](nil), rapid.SliceOf(rapid.Byte()),
			rapid.Map(rapid.SampledFrom([]string{`{"a":[1,2]}`, `"x"`, `null`, `12`, `1e400`, "tab\tquote\"", "{", "\u2028<>&"}),
				func(s string) []byte { return []byte(s) }),
		)
		rec := record.Record{
			Key: data.Draw(t, "key"), Value: data.Draw(t, "value"),
			Time: rapid.Int64Range(-1, 1<<50).Draw(t, "time"), Offset: 5,
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			rec.Headers = append(rec.Headers, record.Header{Key: rapid.SampledFrom([]string{"a", "b", "c\""}).Draw(t, "name"), Value: data.Draw(t, "header")})
		}
		line := Append(nil, record.TopicPartition{Topic: "t", Partition: 2}, &rec)
		got, err := Parse(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		want := Parsed{rec, 2}
		want.Record.Offset = 0
		if json.Valid(rec.Value) { // white space between tokens is lost
			var tight bytes.Buffer
			if err := json.Compact(&tight, rec.Value); err != nil {
				t.Fatal(err)
			}
			want.Record.Value = tight.Bytes()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", line, diff)
		}
	})
}
