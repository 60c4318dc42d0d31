package operators_test

import (
	"strings"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
)

// tableOf is a pipeline with a table that is defined by rest and sunk.
func tableOf(rest string) string {
	return `
pipeline: p
tables:
  users: {topic: users, ` + rest + `}
sinks:
  out: {from: users, topic: out}
`
}

func TestEnvelopesGiveOneTable(t *testing.T) {
	for name, c := range map[string]struct {
		rest    string
		records []string // key and value
	}{
		"bare": {"", []string{
			`1 {"name":"Ann"}`, `1 {"name":"Eve"}`, `2 {"name":"Bob"}`, `1 -`, `3 -`}},
		"old_new": {"envelope: old_new", []string{
			`1 {"id":1,"old":null,"new":{"name":"Ann"}}`, `1 {"old":{"name":"Ann"},"new":{"name":"Eve"}}`,
			`2 {"new":{"name":"Bob"}}`, `1 {"old":{"name":"Eve"},"new":null}`, `3 {"old":{"name":"X"}}`}},
		"debezium": {"envelope: debezium", []string{
			`1 {"before":null,"after":{"name":"Ann"},"op":"c"}`, `1 {"before":{"name":"Ann"},"after":{"name":"Eve"},"op":"u"}`,
			`2 {"before":null,"after":{"name":"Bob"},"op":"r"}`, `1 {"before":{"name":"Eve"},"after":null,"op":"d"}`, `1 -`, `3 -`}},
		"debezium with schema": {"envelope: debezium", []string{
			`1 {"schema":{},"payload":{"before":null,"after":{"name":"Ann"},"op":"c"}}`,
			`1 {"schema":{},"payload":{"before":{"name":"Ann"},"after":{"name":"Eve"},"op":"u"}}`,
			`2 {"schema":{},"payload":{"after":{"name":"Bob"},"op":"c"}}`,
			`1 {"schema":{},"payload":{"before":{"name":"Eve"},"after":null,"op":"d"}}`, `1 -`, `3 -`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tableOf(c.rest), nil)
			for i, rec := range c.records {
				key, val, _ := strings.Cut(rec, " ")
				r.produce("users", key, val, int64(i))
			}
			r.mustRun()
			expect(t, "outputs", r.values("out"),
				`1 {"name":"Ann"}`, `1 {"name":"Eve"}`, `1 -`, `2 {"name":"Bob"}`)
		})
	}
}

func TestWhatIsNoEnvelopeIsAnErrorRecord(t *testing.T) {
	for _, c := range []struct{ envelope, value, want string }{
		{"old_new", `{"name":"Ann"}`, "neither old nor new"},
		{"debezium", `{"name":"Ann"}`, "neither before nor after"},
		{"debezium", `{"op":"t","before":null,"after":null}`, `operation "t"`},
		{"debezium", `[1]`, "neither before nor after"},
		{"debezium", `{"after":`, "syntax"},
	} {
		r := newRig(t, tableOf("envelope: "+c.envelope), nil)
		r.produce("users", "1", c.value, 1)
		err := r.run()
		if err == nil || !strings.Contains(err.Error(), c.want) && c.want != "syntax" {
			t.Errorf("%s %s: %v, want %q", c.envelope, c.value, err, c.want)
		}
	}
}

func TestRekeyedTableMovesAndDeletesRows(t *testing.T) {
	r := newRig(t, tableOf("key: value.email"), map[string]int{"users": 3})
	for i, rec := range []string{
		`1 {"email":"a@x"}`, `1 {"email":"a@x","n":2}`, `1 {"email":"b@x"}`, `1 -`, `1 -`, `2 -`,
	} {
		key, val, _ := strings.Cut(rec, " ")
		r.produce("users", key, val, int64(i))
		r.mustRun()
		if i == 1 {
			r.reopen() // the remembered key lies in the store
		}
	}
	expect(t, "changelog", r.values("p.users.changelog"),
		`"a@x" {"email":"a@x"}`, `"a@x" {"email":"a@x","n":2}`, `"a@x" -`, `"b@x" {"email":"b@x"}`, `"b@x" -`)
	expect(t, "outputs", r.values("out"),
		`a@x {"email":"a@x"}`, `a@x {"email":"a@x","n":2}`, `a@x -`, `b@x {"email":"b@x"}`, `b@x -`)
}

func TestTableWithDebeziumKeyOfItsOwn(t *testing.T) {
	r := newRig(t, tableOf("key_format: json, key: key.id, envelope: debezium"), nil)
	for i, rec := range []string{
		`{"id":1} {"before":null,"after":{"id":1,"name":"Ann"},"op":"c"}`,
		`{"id":1} {"before":{"id":1,"name":"Ann"},"after":null,"op":"d"}`,
		`{"id":1} -`,
	} {
		key, val, _ := strings.Cut(rec, " ")
		r.produce("users", key, val, int64(i))
	}
	r.mustRun()
	expect(t, "outputs", r.values("out"), `1 {"id":1,"name":"Ann"}`, `1 -`)
}

func TestTableRowsThatCannotBe(t *testing.T) {
	for _, c := range []struct{ rest, key, value, reason string }{
		{"", "-", `{"n":1}`, operators.ReasonNullKey},
		{"", "\xff", `{"n":1}`, operators.ReasonInvalidKey},
		{"", "1", `{"n":1`, operators.ReasonInvalidValue},
		{"key: value.id", "1", `{"n":1}`, operators.ReasonNullKey},
		{"key: int(value.id)", "1", `{"id":"x"}`, operators.ReasonExpression},
		{"timestamp: value.at", "1", `{"n":1}`, operators.ReasonTimestamp},
		{"timestamp: value.at", "1", `{"at":-1}`, operators.ReasonTimestamp},
		{"timestamp: value.at", "1", `{"at":9700000000000}`, operators.ReasonAhead},
		{"fields: {at: int}, timestamp: at", "1", `{"at":"x"}`, operators.ReasonWrongType},
	} {
		r := newRig(t, tableOf("on_error: skip, "+c.rest), nil)
		r.produce("users", c.key, c.value, 1)
		r.mustRun()
		expect(t, c.rest+" "+c.value, append(r.drops(), r.values("out")...), "users "+c.reason+" 1")
	}
}

// A deletion has the time of its record: the timestamp of the row that it deletes
// says when that was made.
func TestDeletionsHaveTheTimeOfTheirRecord(t *testing.T) {
	for _, c := range []struct{ rest, value string }{
		{"timestamp: value.at, envelope: old_new", `{"old":{"id":1,"at":5},"new":null}`},
		{"timestamp: value.at, envelope: debezium", `{"before":{"id":1,"at":5},"after":null,"op":"d"}`},
		{"timestamp: value.at, envelope: old_new", "-"},
	} {
		r := newRig(t, tableOf(c.rest), nil)
		r.produce("users", "1", `{"old":null,"new":{"id":1,"at":5},"before":null,"after":{"id":1,"at":5},"op":"c"}`, 7)
		r.produce("users", "1", c.value, 9)
		r.mustRun()
		expect(t, c.rest, r.show("out"), `1 1 {"id":1,"at":5} @5`, `1 1 - @9`)
	}
}

func TestLoadEqualsProcess(t *testing.T) {
	r := newRig(t, replaced(tableOf("value: value.row, envelope: old_new, on_error: skip"), "from: users, topic: out", "from: joined, topic: out")+`
sources:
  views: {topic: views}
streams:
  joined:
    from: views v
    join: [{inner: users u, on: v.key == u.key}]
`, map[string]int{"users": 1, "views": 1})
	for i, rec := range []string{`a {"new":{"row":{"n":1}}}`, `b {"new":{"row":null}}`, `c -`, `d {"bad":1}`, `- {"new":{"row":1}}`} {
		key, val, _ := strings.Cut(rec, " ")
		r.produce("users", key, val, int64(i))
	}
	task := r.tasks[0]
	loader := task.inputs[inputOf(t, task, "users")].(operators.Loader)
	var got []string
	for i := range r.topics["users"][0] {
		key, row, skip, err := loader.Load(&r.topics["users"][0][i], record.TopicPartition{Topic: "users"}, false)
		if err != nil {
			t.Fatal(err)
		}
		if skip {
			got = append(got, "skipped")
			continue
		}
		got = append(got, text(key)+" "+text(row))
	}
	expect(t, "loaded", got, `"a" {"n":1}`, `"b" -`, `"c" -`, "skipped", "skipped")
	told := r.drops()
	for i := range r.topics["users"][0] { // as by a restore
		if _, _, _, err := loader.Load(&r.topics["users"][0][i], record.TopicPartition{Topic: "users"}, true); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "what is told of records that have been processed before", r.drops(), told...)
}

// A row's key is canonical however the record's was written, and the record stays
// as it was: its key may serve as the row's.
func TestKeysOfRowsAreCanonical(t *testing.T) {
	keys := []string{`7`, `7.0`, `70e-1`, ` 8 `, `-0`, `0`, `"a"`, `"\u0061"`, `12345678901234567890`, `true`, `{"b":1,"a":2}`, `[ 1 ]`, `01`, `"ä"`, `"a`, `-5`}
	for _, rest := range []string{"", "value: '{k: key, n: value.n}', "} {
		r := newRig(t, tableOf(rest+"key_format: json, on_error: skip"), map[string]int{"users": 1})
		for i, key := range keys {
			r.produce("users", key, `{"n":1}`, int64(i))
		}
		loader := r.tasks[0].inputs[0].(operators.Loader)
		var got []string
		for i := range r.topics["users"][0] {
			rec := &r.topics["users"][0][i]
			key, _, skip, err := loader.Load(rec, record.TopicPartition{Topic: "users"}, true)
			if err != nil {
				t.Fatal(err)
			}
			if skip {
				key = []byte("skipped")
			}
			got = append(got, string(key))
		}
		expect(t, rest+"loaded", got, `7`, `7`, `7`, `8`, `0`, `0`, `"a"`, `"a"`, `12345678901234567890`, `true`, `{"a":2,"b":1}`, `[1]`, "skipped", `"ä"`, "skipped", `-5`)
		for i, rec := range r.topics["users"][0] {
			if string(rec.Key) != keys[i] {
				t.Errorf("%sthe record's key %s became %s", rest, keys[i], rec.Key)
			}
		}
	}
}

func inputOf(t *testing.T, task *rigTask, table string) int {
	for i, in := range task.sub.Inputs {
		if in.Table == table {
			return i
		}
	}
	t.Fatalf("no input for table %s", table)
	return -1
}

func TestChangesOfATableThroughAStream(t *testing.T) {
	r := newRig(t, `
pipeline: p
tables:
  users: {topic: users}
streams:
  adults:
    from: users u
    where: u.age >= 18
    select:
      - name: u.name
      - in_years: u.age + 0
      - key: u.key
  old:
    from: adults a
    where: a.in_years >= 65
sinks:
  adults_out: {from: adults, topic: adults}
  old_out: {from: old, topic: old}
`, nil)
	for i, rec := range []string{
		`a {"name":"Ann","age":17}`, `a {"name":"Ann","age":18}`, `a {"name":"Anna","age":65}`, `a {"name":"Anna","age":64}`, `a -`,
		`b {"name":"Bob","age":70}`, `b {"name":"Bob","age":3}`, `b {"name":"Bob","age":4}`, `b -`, `c -`,
	} {
		key, val, _ := strings.Cut(rec, " ")
		r.produce("users", key, val, int64(i))
	}
	r.mustRun()
	expect(t, "adults", r.values("adults"),
		`a {"name":"Ann","in_years":18,"key":"a"}`, `a {"name":"Anna","in_years":65,"key":"a"}`,
		`a {"name":"Anna","in_years":64,"key":"a"}`, `a -`,
		`b {"name":"Bob","in_years":70,"key":"b"}`, `b -`)
	expect(t, "old", r.values("old"),
		`a {"name":"Anna","in_years":65,"key":"a"}`, `a -`, `b {"name":"Bob","in_years":70,"key":"b"}`, `b -`)
}
