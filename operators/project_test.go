package operators_test

import "testing"

// selecting runs a select list over {"a":1,"b":{"c":[1,2]},"a b":null} with key "k"
// and gives what comes out.
func selecting(t *testing.T, fields, list string) []string {
	t.Helper()
	r := newRig(t, replaced(`
pipeline: p
sources:
  in: {topic: in, FIELDS}
tables:
  t: {topic: t}
streams:
  s:
    from: in x
    join: [{left: t y, on: x.key == y.key}]
    select: LIST
sinks:
  out: {from: s, topic: out}
`, "FIELDS", fields, "LIST", list), nil)
	r.produce("t", "k", `{"a":10, "t":true}`, 1)
	r.produce("in", "k", `{"a":1, "b":{"c":[1,2]},"a b":null}`, 2)
	r.mustRun()
	return r.values("out")
}

func TestSelect(t *testing.T) {
	for _, c := range []struct{ list, want string }{
		{`[x.*]`, `{"a":1, "b":{"c":[1,2]},"a b":null}`},
		{`["*"]`, `{"b":{"c":[1,2]},"a b":null,"a":10, "t":true}`},
		{`[x.*, y.*]`, `{"b":{"c":[1,2]},"a b":null,"a":10, "t":true}`},
		{`[y.*, x.*]`, `{"t":true,"a":1, "b":{"c":[1,2]},"a b":null}`},
		{`["x.* except [a, b]"]`, `{"a b":null}`},
		{`["x.* except [b]", "y.* except [a]"]`, `{"a":1,"a b":null,"t":true}`},
		{`[x.*, {a: y.a}]`, `{"b":{"c":[1,2]},"a b":null,"a":10}`},
		{`[{a: 7}, x.*]`, `{"a":1, "b":{"c":[1,2]},"a b":null}`},
		{`[{z: 7}, x.*]`, `{"z":7,"a":1, "b":{"c":[1,2]},"a b":null}`},
		{`[{a: 7}, "x.* except [a]"]`, `{"a":7,"b":{"c":[1,2]},"a b":null}`},
		{`[{a: 7}, "x.* except [a]", y.*]`, `{"b":{"c":[1,2]},"a b":null,"a":10, "t":true}`},
		{`[{n: "x.b.c[1]"}, {n: "x.b.c[0]"}]`, `{"n":1}`},
		{`[{n: "x.b.c[0] + 1"}, {m: y.nothing.at.all}]`, `{"n":2,"m":null}`},
		{`[{whole: x}, {k: x.key}, {v: y.value}]`, `{"whole":{"a":1, "b":{"c":[1,2]},"a b":null},"k":"k","v":{"a":10, "t":true}}`},
		{`[{"a b": "x[\"a b\"] ?? 5"}]`, `{"a b":5}`},
	} {
		expect(t, c.list, selecting(t, "format: json", c.list), "k "+c.want)
	}
}

func TestSpreadOfWhatIsNoObjectIsAnErrorRecord(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in}
streams:
  s:
    from: in x
    select: [x.*, {a: "1"}]
    on_error: skip
sinks:
  out: {from: s, topic: out, on_error: skip}
`, nil)
	for _, doc := range []string{`[1]`, `5`, `"x"`, `null`, ` { } `} {
		r.produce("in", "k", doc, 1)
	}
	r.mustRun()
	expect(t, "outputs", r.values("out"), `k {"a":1}`, `k {"a":1}`)
	if got := r.drops(); len(got) != 1 || got[0] != "s wrong-type 3" && got[0] != "out wrong-type 3" {
		t.Errorf("drops %q", got)
	}
}

// A stream over a stream over a stream: columns are found where they lie,
// computed once, and overridden, left out and renamed on the way.
func TestStreamsOverStreams(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in}
tables:
  t: {topic: t}
streams:
  first:
    from: in i
    join: [{left: t t, on: i.key == t.key}]
    select:
      - i.*
      - sum: i.a + i.b
      - row: t
      - made: '{x: {y: i.a}}'
  second:
    from: first f
    where: f.sum > 2 && f.made.x.y == 1
    select:
      - f.* except [b]
      - a: f.sum * 2
      - deep: f.row.name
      - y: f.made.x.y
  third:
    from: second s
    where: s.a == 6 && s.deep == "T" && s.extra == true && s.value.y == 1
sinks:
  one: {from: first, topic: one}
  two: {from: second, topic: two, key: a}
  three: {from: third, topic: three}
`, nil)
	r.produce("t", "k", `{"name":"T"}`, 1)
	r.produce("in", "k", `{"a":1,"b":2,"extra":true}`, 2)
	r.produce("in", "k", `{"a":1,"b":0}`, 2)
	r.mustRun()
	expect(t, "one", r.values("one"),
		`k {"a":1,"b":2,"extra":true,"sum":3,"row":{"name":"T"},"made":{"x":{"y":1}}}`,
		`k {"a":1,"b":0,"sum":1,"row":{"name":"T"},"made":{"x":{"y":1}}}`)
	want := `{"extra":true,"sum":3,"row":{"name":"T"},"made":{"x":{"y":1}},"a":6,"deep":"T","y":1}`
	expect(t, "two", r.values("two"), "6 "+want)
	expect(t, "three", r.values("three"), "k "+want)
}

// What is materialised on the way through a repartition topic is the same as
// what goes straight on.
func TestSelectBehindARepartition(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in}
tables:
  t: {topic: t}
streams:
  first:
    from: in i
    select: ['i.* except [b]', {s: i.a + i.b}, {k: i.key}]
  second:
    from: first f
    join: [{inner: t t, on: f.s == t.key}]
    select: [f.*, {name: t.name}, {same: f.key}]
sinks:
  out: {from: second, topic: out}
`, nil)
	r.produce("t", "k", `{"name":"T"}`, 1)
	r.produce("in", "key", `{"a":"","b":"k", "c" : 1e400}`, 2)
	r.mustRun()
	expect(t, "out", r.values("out"), `key {"a":"","c" : 1e400,"s":"k","k":"key","name":"T","same":"key"}`)
}

// A name that two spreads may have is that of the row that has it: a row that a
// left join has not found has none, neither in the value nor for those who read it.
func TestSpreadOfWhatWasNotFoundHidesNothing(t *testing.T) {
	for _, fields := range []string{"", ", fields: {name: string}"} {
		spreadOfWhatWasNotFound(t, fields)
	}
}

func spreadOfWhatWasNotFound(t *testing.T, fields string) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in`+fields+`}
tables:
  t: {topic: t`+fields+`}
streams:
  s:
    from: in x
    join: [{left: t y, on: x.key == y.key}]
    select: [x.*, y.*]
sinks:
  out: {from: s, topic: out, key: name}
`, nil)
	r.produce("t", "k", `{"name":"theirs"}`, 1)
	r.produce("t", "l", `{"name":null}`, 1)
	r.produce("t", "n", `{"other":1}`, 1)
	r.produce("in", "k", `{"name":"ours"}`, 2)
	r.produce("in", "l", `{"name":"ours"}`, 2)
	r.produce("in", "m", `{"name":"ours"}`, 2)
	r.produce("in", "n", `{"name":"mine"}`, 2)
	r.mustRun()
	expect(t, "outputs with"+fields, r.values("out"), `- {"name":null}`, `mine {"name":"mine","other":1}`, `ours {"name":"ours"}`, `theirs {"name":"theirs"}`)
}

// A whole row is written of columns that another step may ask for after it was
// asked for itself: they are computed before it all the same.
func TestWholeRowsAreWrittenOfAllColumns(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  in: {topic: in, fields: {n: int}}
streams:
  s: {from: in x, select: [x.*, {twice: x.n * 2}]}
  a: {from: s x, select: [{whole: x}]}
  b: {from: s x, where: x.twice > 0, select: [{twice: x.twice}]}
sinks:
  out: {from: a, topic: out}
  other: {from: b, topic: other}
`, nil)
	r.produce("in", "k", `{"n":1}`, 1)
	r.produce("in", "k", `{"n":2}`, 2)
	r.mustRun()
	expect(t, "whole rows", r.values("out"), `k {"whole":{"n":1,"twice":2}}`, `k {"whole":{"n":2,"twice":4}}`)
	expect(t, "columns", r.values("other"), `k {"twice":2}`, `k {"twice":4}`)
}
