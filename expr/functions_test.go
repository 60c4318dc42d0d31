package expr

import (
	"strings"
	"testing"
	"time"

	"streamctl/internal/calendar"
	"streamctl/internal/value"
)

// functionCases has a call per line: name, arguments, result as JSON. Every
// function of the library is in it (TestEveryFunction).
func functionCases() [][]string {
	return [][]string{
		{"lower", `v.s`, `"héllo"`}, {"upper", `v.s`, `"HÉLLO"`}, {"trim", `" a\t"`, `"a"`},
		{"trim_prefix", `v.s`, `"Hé"`, `"llo"`}, {"trim_prefix", `v.s`, `"x"`, `"Héllo"`}, {"trim_suffix", `v.s`, `"lo"`, `"Hél"`},
		{"replace", `v.s`, `"l"`, `"LL"`, `"HéLLLLo"`}, {"split", `"a,b,"`, `","`, `["a","b",""]`}, {"split", `"añ"`, `""`, `["a","ñ"]`},
		{"join", `v.texts`, `"-"`, `"a-b"`}, {"join", `[1, nil, "x", true]`, `","`, `"1,x,true"`}, {"join", `v.texts`, `"ab"`},
		{"substring", `v.s`, `1`, `"éllo"`}, {"substring", `v.s`, `1`, `2`, `"él"`}, {"substring", `v.s`, `-2`, `"lo"`}, {"substring", `v.s`, `9`, `3`, `""`}, {"substring", `v.s`, `0`, `v.j`, `error: length -2 is negative`},
		{"starts_with", `v.s`, `"Hé"`, `true`}, {"ends_with", `v.s`, `"Hé"`, `false`}, {"contains", `v.s`, `"éll"`, `true`}, {"contains", `v.ints`, `2.0`, `true`}, {"contains", `v.texts`, `"z"`, `false`},
		{"index_of", `v.s`, `"l"`, `2`}, {"index_of", `v.s`, `"z"`, `-1`}, {"index_of", `v.s`, `""`, `0`},
		{"repeat", `"ab"`, `3`, `"ababab"`}, {"repeat", `v.s`, `v.big`, `error: result is longer than 1048576 bytes`}, {"repeat", `v.s`, `v.j`, `error: times -2 is negative`},
		{"pad_left", `"7"`, `3`, `"0"`, `"007"`}, {"pad_left", `"é"`, `3`, `"  é"`}, {"pad_right", `"7"`, `4`, `"ab"`, `"7aba"`}, {"pad_right", `"long"`, `2`, `"long"`}, {"pad_left", `"x"`, `v.big`, `error: is more than`},
		{"reverse", `v.s`, `"olléH"`}, {"reverse", `v.ints`, `[2,1,3]`},
		{"format", `"{} of {} {{}}"`, `v.i`, `v.s`, `"7 of Héllo {}"`}, {"format", `"{}{}"`, `v.i`, `error: template has more {} than there are values (1)`}, {"format", `"{}"`, `v.i`, `v.i`, `error: template has 1 {} for 2 values`}, {"format", `"{x}"`, `v.i`, `error: single {`},

		{"regex_match", `v.urn`, `"^urn:.*:[0-9]+$"`, `true`}, {"regex_match", `v.s`, `"z"`, `false`},
		{"regex_extract", `v.urn`, `":([0-9]+)$"`, `"1234"`}, {"regex_extract", `v.urn`, `"[0-9]+"`, `"1234"`}, {"regex_extract", `v.urn`, `"(?P<kind>[a-z]+):([0-9]+)"`, `"kind"`, `"profile"`},
		{"regex_extract", `v.urn`, `"(x)?urn"`, `null`}, {"regex_extract", `v.urn`, `"zzz"`, `null`}, {"regex_extract", `v.urn`, `"(a)(b)?"`, `0`, `null`},
		{"regex_replace", `v.urn`, `"[a-z]+:"`, `""`, `"1234"`}, {"regex_replace", `v.s`, `"(l+)"`, `"<$1>"`, `"Hé<ll>o"`},

		{"abs", `v.j`, `2`}, {"abs", `-1.5`, `1.5`}, {"abs", `-v.big - 1`, `error: overflow of int`}, {"ceil", `1.2`, `2`}, {"ceil", `v.i`, `7`}, {"floor", `-1.2`, `-2`}, {"floor", `v.f * 1e300`, `error: is beyond the ints`},
		{"round", `2.5`, `3`}, {"round", `-2.5`, `-3`}, {"round", `1.005`, `1`, `1`}, {"round", `1.255`, `2`, `1.25`}, {"round", `1234.5`, `-2`, `1200`}, {"round", `v.i`, `7`},
		{"sqrt", `16`, `4`}, {"sqrt", `v.j`, `error: no result for -2`}, {"pow", `2`, `10`, `1024`}, {"pow", `0`, `v.j`, `error: **: division by zero`}, {"exp", `0`, `1`}, {"exp", `v.i * 1000`, `error: no result for 7000`},
		{"log", `1`, `0`}, {"log", `8`, `2`, `3`}, {"log", `1000`, `10`, `3`}, {"log", `v.j`, `error: no result for -2`}, {"mod", `-1`, `7`, `6`}, {"mod", `7`, `v.j`, `1`}, {"mod", `v.i`, `v.j + 2`, `error: division by zero`},
		{"div", `7`, `2`, `3`}, {"div", `-7`, `2`, `-3`}, {"div", `v.i`, `v.j + 2`, `error: division by zero`}, {"div", `-v.big - 1`, `-1`, `error: overflow of int`},
		{"min", `3`, `1.5`, `2`, `1.5`}, {"min", `v.ints`, `1`}, {"min", `["b", nil, "a"]`, `"a"`}, {"max", `"a"`, `"b"`, `"b"`}, {"max", `v.i`, `v.any`, `error: cannot compare`}, {"max", `v.ints`, `3`}, {"min", `v.texts[2:]`, `null`},
		{"sum", `v.ints`, `6`}, {"sum", `[1.5, nil, 2]`, `3.5`}, {"sum", `[v.big, 1]`, `error: overflow of int`}, {"sum", `v.ints[5:]`, `0`}, {"mean", `v.ints`, `2`}, {"mean", `[nil]`, `null`},

		{"int", `"1234"`, `1234`}, {"int", `"-9223372036854775808"`, `-9223372036854775808`}, {"int", `v.s`, `error: int: "Héllo" is not an int`}, {"int", `v.any + "9999999999999999999"`, `error: is not an int`}, {"int", `"9223372036854775808" + v.texts[0][:0]`, `error: out of range`},
		{"int", `-3.9`, `-3`}, {"int", `v.f * 1e300`, `error: beyond the ints`}, {"int", `v.texts[0][:0]`, `error: "" is not an int`}, {"int", `"+5"`, `5`}, {"int", `v.anyInt`, `5`}, {"int", `v.anyList`, `error: x of int must be a number or a string, got list`},
		{"float", `"1e3"`, `1000`}, {"float", `v.i`, `7`}, {"float", `v.s`, `error: float: "Héllo" is not a number`}, {"float", `"NaN" + v.texts[0][:0]`, `error: is not a number`}, {"float", `"1e999" + v.texts[0][:0]`, `error: out of range`}, {"float", `v.anyList`, `error: x of float must be`},
		{"string", `v.i`, `"7"`}, {"string", `v.f`, `"1.5"`}, {"string", `v.o`, `"{\"a\":1,\"b\":{\"c\":[10,20]},\"x y\":\"z\"}"`}, {"string", `true`, `"true"`}, {"string", `b"ab"`, `"ab"`}, {"string", `hex_decode("c3a9")`, `"é"`}, {"string", `hex_decode("ff" + v.s[:0])`, `error: bytes are not UTF-8 text`},
		{"bool", `"true"`, `true`}, {"bool", `v.b`, `true`}, {"bool", `v.s`, `error: neither true nor false`},
		{"try_int", `v.s`, `null`}, {"try_int", `"12"`, `12`}, {"try_int", `v.o`, `null`}, {"try_float", `"1.5"`, `1.5`}, {"try_float", `v.s`, `null`}, {"try_bool", `v.s`, `null`}, {"try_bool", `"false"`, `false`},
		{"coalesce", `v.noInt`, `v.no`, `v.i`, `7`}, {"coalesce", `v.i`, `v.i / (v.i - 7)`, `7`}, {"coalesce", `v.no`, `null`}, {"is_null", `v.no`, `true`}, {"is_null", `v.i`, `false`}, {"if_null", `v.noInt`, `3`, `3`}, {"if_null", `v.i`, `3`, `7`},
		{"null_if", `v.i`, `7.0`, `null`}, {"null_if", `v.i`, `8`, `7`}, {"type_of", `v.no`, `"null"`}, {"type_of", `v.o`, `"object"`}, {"type_of", `v.ints`, `"list"`}, {"type_of", `v.f`, `"float"`},

		{"len", `v.s`, `5`}, {"len", `v.ints`, `3`}, {"len", `v.o`, `3`}, {"len", `b"abc"`, `3`}, {"len", `v.anyInt`, `error: x of len must be`},
		{"first", `v.ints`, `3`}, {"last", `v.ints`, `2`}, {"first", `v.ints[9:]`, `null`}, {"slice", `v.ints`, `1`, `[1,2]`}, {"slice", `v.s`, `1`, `-1`, `"éll"`},
		{"sort", `v.ints`, `[1,2,3]`}, {"sort", `[2, nil, 1.5]`, `"desc"`, `[2,1.5,null]`}, {"sort", `v.anyList`, `error: cannot compare`}, {"sort", `v.texts`, `v.s`, `error: order must be`},
		{"distinct", `[1, 1.0, "1", nil, nil, true, [1], [1.0]]`, `[1,"1",null,true,[1]]`}, {"concat", `v.ints`, `[4]`, `v.texts[1:]`, `[3,1,2,4,"b"]`}, {"flatten", `[[1], 2, [[3]]]`, `[1,2,[3]]`},
		{"keys", `v.o`, `["a","b","x y"]`}, {"values", `{a: 1, b: nil}`, `[1,null]`}, {"get", `v.o`, `"a"`, `1`}, {"get", `v.ints`, `-1`, `2`}, {"get", `v.o`, `v.s`, `null`},

		{"parse_json", `"{\"a\": [1, 2.50]}"`, `{"a": [1, 2.50]}`}, {"parse_json", `"7"`, `7`}, {"parse_json", `v.s`, `error: parse_json`}, {"try_parse_json", `v.s`, `null`}, {"try_parse_json", `"[1]"`, `[1]`}, {"to_json", `v.items[0]`, `"{\"n\":1,\"p\":2.5}"`},
		{"base64_encode", `v.s`, `"SMOpbGxv"`}, {"base64_encode", `b"\xff\xfe\xfd"`, `"//79"`}, {"base64_decode", `"SMOpbGxv"`, `"SMOpbGxv"`}, {"base64_decode", `"__79"`, `"//79"`}, {"base64_decode", `v.s`, `error: "Héllo" is not base64`},
		{"hex_encode", `"az"`, `"617a"`}, {"hex_decode", `"617a"`, `"YXo="`}, {"hex_decode", `v.s`, `error: is not hexadecimal`},

		{"url_scheme", `"https://Ex.com:81/a%20b?q=1&q=2#f"`, `"https"`}, {"url_host", `"https://Ex.com:81/a%20b?q=1"`, `"ex.com"`}, {"url_port", `"https://ex.com:81/"`, `"81"`}, {"url_port", `"https://ex.com/"`, `null`}, {"url_path", `"https://ex.com/a%20b?q"`, `"/a b"`},
		{"url_query", `"https://ex.com/?q=1&r"`, `"q=1&r"`}, {"url_param", `"https://ex.com/?q=a+b&q=2"`, `"q"`, `"a b"`}, {"url_param", `"https://ex.com/?q=1"`, `"z"`, `null`}, {"url_host", `"not a host"`, `null`}, {"url_host", `"http://[" + v.s`, `error: is not a URL`},
		{"url_encode", `"a b&é"`, `"a+b%26%C3%A9"`}, {"url_decode", `"a+b%26"`, `"a b&"`}, {"url_decode", `"%zz" + v.s`, `error: is not URL-encoded`},

		{"hash", `"a"`, `-3159516928754090262`}, {"hash", `1234`, `2282126479029740061`}, {"hash", `1234.0`, `2282126479029740061`}, {"murmur2", `"21"`, `1173551340`}, {"md5", `"a"`, `"0cc175b9c0f1b6a831c399e269772661"`}, {"sha1", `"a"`, `"86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"`},
		{"sha256", `"a"`, `"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"`}, {"uuid_of", `"dns"`, `"www.example.com"`, `"2ed6657d-e927-568b-95e1-2665a8aea6a2"`}, {"uuid_of", `v.s`, `"x"`, `error: namespace "Héllo" is not a UUID`},

		{"seconds", `1413215518`, `1413215518000`}, {"seconds", `1.001`, `1001`}, {"seconds", `v.big`, `error: time 9223372036854775807 is out of range`}, {"millis", `1413215518000`, `1413215518000`}, {"millis", `1.9`, `1`}, {"micros", `1999`, `1`}, {"micros", `-1`, `-1`},
		{"now", `1700000000000`},
		{"parse_time", `"2014-10-13T15:51:58Z"`, `"rfc3339"`, `1413215518000`}, {"parse_time", `"2014-10-13 17:51:58"`, `"%Y-%m-%d %H:%M:%S"`, `"Europe/Berlin"`, `1413215518000`}, {"parse_time", `"13 Oct 2014 03:51:58.250 PM +02:00"`, `"%d %b %Y %I:%M:%S.%L %p %z"`, `1413208318250`},
		{"parse_time", `"Monday, October 13, 2014"`, `"%A, %B %d, %Y"`, `1413158400000`}, {"parse_time", `"2014-286"`, `"%Y-%j"`, `1413158400000`}, {"parse_time", `"1413215518.5"`, `"%s.%f"`, `1413215518500`},
		{"parse_time", `v.s`, `"%Y"`, `error: "Héllo" is not a time of this layout`}, {"parse_time", `"2014-02-30" + v.texts[0][:0]`, `"%Y-%m-%d"`, `error: no day of the calendar`}, {"parse_time", `"2014x" + v.s`, `"%Y"`, `error: has text behind the time`}, {"parse_time", `v.s`, `v.s`, `error: layout "Héllo" is neither`},
		{"format_time", `1413215518000`, `"rfc3339"`, `"2014-10-13T15:51:58Z"`}, {"format_time", `1413215518250`, `"%Y-%m-%d %H:%M:%S.%L %z %a %% %j"`, `"Europe/Berlin"`, `"2014-10-13 17:51:58.250 +0200 Mon % 286"`}, {"format_time", `0`, `"%f %s %p %I %B %Z"`, `"000000 0 AM 12 January UTC"`},
		{"format_time", `v.big`, `"rfc3339"`, `error: is out of range`}, {"format_time", `v.i`, `"rfc3339"`, `v.s`, `error: unknown time zone "Héllo"`},
		{"truncate_time", `1413215518123`, `"hour"`, `1413212400000`}, {"truncate_time", `-1`, `"minute"`, `-60000`}, {"truncate_time", `v.i`, `v.s`, `error: unknown unit`},
		{"time_part", `1413215518123`, `"weekday"`, `1`}, {"time_part", `1413215518123`, `"hour"`, `"Asia/Kolkata"`, `21`}, {"time_part", `1413215518123`, `"millisecond"`, `123`}, {"time_part", `v.i`, `v.s`, `error: unknown part`},
	}
}

// callOf writes the call of a case.
func callOf(c []string) string { return c[0] + "(" + strings.Join(c[1:len(c)-1], ", ") + ")" }

func TestFunctions(t *testing.T) {
	w := sample(t)
	w.frame.Now = 1700000000000
	for _, c := range functionCases() {
		want := c[len(c)-1]
		if want == "" {
			continue
		}
		got := w.eval(t, callOf(c))
		if message, fails := strings.CutPrefix(want, "error: "); fails && strings.HasPrefix(got, "error: ") && strings.Contains(got, message) {
			continue
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", callOf(c), got, want)
		}
	}
}

// TestEveryFunction: every function has a case, and says so when an argument
// is null: the result is null, unless nulls are what the function is about.
func TestEveryFunction(t *testing.T) {
	w := sample(t)
	tested := map[string]bool{}
	for _, c := range functionCases() {
		tested[c[0]] = true
		fn := library()[c[0]]
		if fn == nil {
			t.Fatalf("no function %s", c[0])
		}
		if fn.nulls || fn.operator == opCoalesce || fn.operator == opIsNull || c[0] == "coalesce" {
			continue
		}
		for i := 1; i < len(c)-1; i++ {
			with := append([]string{}, c...)
			with[i] = "v.no"
			p, diags := Compile(Source{Text: callOf(with)}, w.scope, Want{})
			if p == nil {
				if len(diags) == 0 || diags[0].Code == codeType {
					t.Errorf("%s: %s", callOf(with), list(diags))
				}
				continue // a pattern must be a constant, min(x) alone is an aggregate
			}
			if got := w.eval(t, callOf(with)); got != "null" && !strings.HasPrefix(got, "error: ") {
				t.Errorf("%s is %s, not null", callOf(with), got)
			}
		}
	}
	for name := range library() {
		if !tested[name] {
			t.Errorf("function %s has no case", name)
		}
	}
}

func TestTruncateTimeThroughDaylightSaving(t *testing.T) {
	for _, c := range []struct{ zone, at, unit, want string }{
		{"Europe/Berlin", "2014-10-13T15:51:58+02:00", "week", "2014-10-13T00:00:00+02:00"},
		{"Europe/Berlin", "2014-10-12T23:59:59+02:00", "week", "2014-10-06T00:00:00+02:00"},
		{"Europe/Berlin", "2014-10-26T12:00:00+01:00", "day", "2014-10-26T00:00:00+02:00"},
		{"Europe/Berlin", "2014-10-26T02:30:00+01:00", "hour", "2014-10-26T02:00:00+01:00"},
		{"Europe/Berlin", "2014-10-26T02:30:00+02:00", "hour", "2014-10-26T02:00:00+02:00"},
		{"Europe/Berlin", "2014-10-30T02:30:00+01:00", "month", "2014-10-01T00:00:00+02:00"},
		{"Europe/Berlin", "2014-12-31T23:30:00+01:00", "year", "2014-01-01T00:00:00+01:00"},
		{"Europe/Berlin", "2014-08-31T23:30:00+02:00", "quarter", "2014-07-01T00:00:00+02:00"},
		{"Asia/Kolkata", "2014-10-13T15:51:58+05:30", "hour", "2014-10-13T15:00:00+05:30"},
		{"Asia/Kolkata", "2014-10-13T15:51:58+05:30", "minute", "2014-10-13T15:51:00+05:30"},
		// Clocks skip midnight: the day begins at one o'clock.
		{"America/Sao_Paulo", "2018-11-04T12:00:00-02:00", "day", "2018-11-04T01:00:00-02:00"},
		// Midnight comes twice: the day begins with the first.
		{"America/Havana", "2023-11-05T12:00:00-05:00", "day", "2023-11-05T00:00:00-04:00"},
		{"America/Havana", "2023-11-05T00:30:00-05:00", "day", "2023-11-05T00:00:00-04:00"},
		{"America/Santiago", "2025-09-07T12:00:00-03:00", "day", "2025-09-07T01:00:00-03:00"},
		{"America/Santiago", "2025-09-06T23:30:00-04:00", "day", "2025-09-06T00:00:00-04:00"},
		{"America/Santiago", "2025-09-07T12:00:00-03:00", "week", "2025-09-01T00:00:00-04:00"},
		{"Pacific/Apia", "2011-12-31T12:00:00+14:00", "day", "2011-12-31T00:00:00+14:00"},
		// Clocks are set back over midnight, which has been then: the new day goes on.
		{"America/St_Johns", "2010-11-06T23:30:00-03:30", "day", "2010-11-07T00:00:00-02:30"},
		{"America/Sao_Paulo", "2018-02-17T23:30:00-03:00", "day", "2018-02-17T00:00:00-02:00"},
		// An hour begins no sooner than the clocks that show it.
		{"Australia/Lord_Howe", "2025-10-05T02:40:00+11:00", "hour", "2025-10-05T02:30:00+11:00"},
		{"Australia/Lord_Howe", "2025-04-06T01:40:00+10:30", "hour", "2025-04-06T01:30:00+10:30"},
		{"UTC", "1969-12-31T23:59:59Z", "day", "1969-12-31T00:00:00Z"},
		{"UTC", "1970-01-01T00:00:00Z", "second", "1970-01-01T00:00:00Z"},
	} {
		loc, err := calendar.Load(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		ms, err := truncate(at.UnixMilli(), c.unit, loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.UnixMilli(ms).In(loc).Format(time.RFC3339); got != c.want {
			t.Errorf("%s of %s in %s is %s, want %s", c.unit, c.at, c.zone, got, c.want)
		}
	}
}

// A time that clocks leap over is the moment of the leap, one that they show twice is
// the first, in zones on both sides of UTC.
func TestParseTimeThroughDaylightSaving(t *testing.T) {
	lay, err := compileLayout("%Y-%m-%d %H:%M")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ zone, text, want string }{
		{"America/Santiago", "2025-09-07 00:00", "2025-09-07T01:00:00-03:00"},
		{"America/New_York", "2025-03-09 02:30", "2025-03-09T03:00:00-04:00"},
		{"Europe/Berlin", "2025-03-30 02:30", "2025-03-30T03:00:00+02:00"},
		{"America/New_York", "2025-11-02 01:30", "2025-11-02T01:30:00-04:00"},
		{"Europe/Berlin", "2025-10-26 02:30", "2025-10-26T02:30:00+02:00"},
		{"Pacific/Apia", "2011-12-30 15:00", "2011-12-31T00:00:00+14:00"},
	} {
		loc, err := calendar.Load(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		v, err := lay.parseValue(value.OfString(c.text), loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.UnixMilli(v.AsInt()).In(loc).Format(time.RFC3339); got != c.want {
			t.Errorf("%s in %s is %s, want %s", c.text, c.zone, got, c.want)
		}
	}
}

// TestTruncateTimeHolds: the beginning is never later than the time, is its own
// beginning, and a day has 23, 24 or 25 hours, in zones with odd changes.
func TestTruncateTimeHolds(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Atlantic/Azores", "America/New_York", "Asia/Kolkata", "UTC"} {
		loc, err := calendar.Load(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, unit := range []string{"day", "week", "month", "quarter", "year"} {
			last := int64(0)
			for ms := int64(1_000_000_000_000); ms < 1_700_000_000_000; ms += 7*3_600_000 + 1234 {
				start, err := truncate(ms, unit, loc)
				if err != nil {
					t.Fatal(err)
				}
				again, _ := truncate(start, unit, loc)
				before, _ := truncate(start-1, unit, loc)
				if start > ms || again != start || before >= start || start < last {
					t.Fatalf("%s of %d in %s: %d, again %d, just before %d, last %d", unit, ms, zone, start, again, before, last)
				}
				if day := start - before; unit == "day" && (day < 23*3_600_000 || day > 25*3_600_000) {
					t.Fatalf("day before %d in %s has %d ms", start, zone, day)
				}
				last = start
			}
		}
	}
}

func TestLayoutsReadWhatTheyWrite(t *testing.T) {
	loc, err := calendar.Load("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"rfc3339", "rfc1123", "%Y-%m-%dT%H:%M:%S.%L%z", "%s.%L", "%d %B %Y %I:%M:%S.%f %p %z", "%Y %j %H:%M:%S.%f %z", "%a %b %d %H:%M:%S.%L %z %Y"} {
		lay, err := compileLayout(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, ms := range []int64{0, 1413215518250, -86400000, 951782400123} {
			if text == "rfc1123" {
				ms -= (ms%1000 + 1000) % 1000
			}
			if text == "%s.%L" && ms < 0 {
				continue
			}
			written, err := lay.formatValue(value.OfInt(ms), loc)
			if err != nil {
				t.Fatal(err)
			}
			read, err := lay.parseValue(written, loc)
			if err != nil || read.AsInt() != ms {
				t.Errorf("%s: %d is written %s and read %d (%v)", text, ms, written.Text, read.AsInt(), err)
			}
		}
	}
}

// A record lies in memory that the next one may lie in: which zone a name stands
// for must not be remembered by that memory.
func TestZonesAreRememberedByName(t *testing.T) {
	w := sample(t)
	p := w.compile(t, `format_time(0, "%H:%M", v.s)`)
	zones := []string{"Asia/Tokyo", "Asia/Dubai", "Asia/Seoul", "Asia/Kabul", "Asia/Dhaka", "Asia/Macau", "Asia/Amman", "Asia/Qatar", "Asia/Aqtau", "Asia/Chita"}
	text := []byte(`"Asia/Tokyo"`)
	for range 3 {
		for _, name := range zones {
			loc, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			copy(text[1:], name)
			s, err := value.ParseJSON(text)
			if err != nil {
				t.Fatal(err)
			}
			w.frame.Rows[0].Slots[4] = s
			if got, err := p.Eval(w.frame); err != nil || got.Text != time.UnixMilli(0).In(loc).Format("15:04") {
				t.Errorf("midnight UTC in %s is %v: %v", name, got, err)
			}
		}
	}
	if n := len(w.frame.zones); n != len(zones) {
		t.Errorf("%d zones are remembered, want %d", n, len(zones))
	}
}
