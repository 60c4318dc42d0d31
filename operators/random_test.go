package operators_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"streamctl/pipeline"
)

// Whatever compiles can be bound, and whatever is bound takes any record: under
// on_error: skip nothing stops it. The pipelines are drawn from the grammar,
// sense or not; what does not compile is not the matter here.
func TestWhateverCompilesRuns(t *testing.T) {
	drawn, compiled := 0, 0
	t.Cleanup(func() { t.Logf("%d of %d compiled", compiled, drawn) })
	rapid.Check(t, func(rt *rapid.T) {
		g := &generator{t: rt}
		drawn++
		src := g.pipeline()
		result, diags := pipeline.Check("random.yaml", []byte(src), pipeline.ParseOptions{})
		if diags.HasErrors() {
			return
		}
		compiled++
		if _, diags = pipeline.Bind(result.Plan); len(diags) > 0 {
			rt.Fatalf("bound with %v:\n%s", diags, src)
		}
		counts := map[string]int{}
		parts := rapid.IntRange(1, 2).Draw(rt, "partitions")
		for _, name := range []string{"s0", "s1", "t0", "t1", "o0", "o1"} {
			counts[name] = parts
		}
		r := newRig(t, src, counts)
		for range rapid.IntRange(0, 12).Draw(rt, "records") {
			topic := rapid.SampledFrom(g.inputs).Draw(rt, "topic")
			key := rapid.SampledFrom([]string{"-", "", "a", "1", `"q"`, `{"k":1}`, `[1,"b"]`, "\xff"}).Draw(rt, "key")
			if len(r.topics[topic]) == 0 {
				continue // nothing that is sunk needs it
			}
			r.produce(topic, key, g.value(), rapid.Int64Range(-1, 100).Draw(rt, "time"))
		}
		if err := r.run(); err != nil {
			rt.Fatalf("%v\n%s\n%s", err, src, result.Plan)
		}
		r.reopen()
		if err := r.run(); err != nil {
			rt.Fatal(err)
		}
	})
	if compiled*20 < drawn {
		t.Errorf("only %d of %d pipelines compiled", compiled, drawn)
	}
}

// However many partitions the topics have, the same comes out. Records go in
// one by one: between partitions there is no order otherwise.
func TestPartitionsDoNotChangeTheOutputs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &generator{t: rt}
		// These promises are not kept.
		src := replaced(g.pipeline(), ", partitioned_by: value.y", "", ", partitioned_by: 'lower(key)'", "")
		if _, diags := pipeline.Check("random.yaml", []byte(src), pipeline.ParseOptions{}); diags.HasErrors() {
			return
		}
		rigs := make([]*rig, 2)
		for i := range rigs {
			counts := map[string]int{"o0": 2, "o1": 3}
			for _, name := range []string{"s0", "s1", "t0", "t1"} {
				counts[name] = 1 + 2*i
			}
			rigs[i] = newRig(t, src, counts)
		}
		for range rapid.IntRange(0, 12).Draw(rt, "records") {
			topic := rapid.SampledFrom(g.inputs).Draw(rt, "topic")
			key := rapid.SampledFrom([]string{"", "a", "1", `"q"`, `{"k":1}`, `[1,"b"]`, "A"}).Draw(rt, "key")
			value, time := g.value(), rapid.Int64Range(0, 100).Draw(rt, "time")
			for _, r := range rigs {
				if len(r.topics[topic]) == 0 {
					continue
				}
				r.produce(topic, key, value, time)
				if err := r.run(); err != nil {
					rt.Fatal(err)
				}
			}
		}
		for _, topic := range []string{"o0", "o1"} {
			one, three := sortedOutputs(rigs[0], topic), sortedOutputs(rigs[1], topic)
			if !slices.Equal(one, three) {
				rt.Fatalf("%s differs:\none partition    %q\nthree partitions %q\n%s", topic, one, three, src)
			}
		}
		if one, three := rigs[0].drops(), rigs[1].drops(); !slices.Equal(one, three) {
			rt.Fatalf("drops differ:\none partition    %q\nthree partitions %q\n%s", one, three, src)
		}
	})
}

// sortedOutputs lists the records of a topic, wherever they lie.
func sortedOutputs(r *rig, topic string) []string {
	var out []string
	for _, line := range r.show(topic) {
		_, line, _ = strings.Cut(line, " ")
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// generator draws a pipeline.
type generator struct {
	t       *rapid.T
	streams []string // names that can be read as streams
	tables  []string
	inputs  []string // topics
}

func (g *generator) pick(what string, from ...string) string {
	return rapid.SampledFrom(from).Draw(g.t, what)
}

func (g *generator) chance(what string, oneIn int) bool {
	return rapid.IntRange(1, oneIn).Draw(g.t, what) == 1
}

func (g *generator) pipeline() string {
	var b strings.Builder
	b.WriteString("pipeline: p\non_error: skip\nsources:\n")
	for i := range rapid.IntRange(1, 2).Draw(g.t, "sources") {
		name := fmt.Sprintf("s%d", i)
		fmt.Fprintf(&b, "  %s: {topic: %s%s}\n", name, name, g.pick("source options", "", "", ", fields: {x: int, y: string, m: {k: float}}",
			", key_format: json", ", timestamp: value.x", ", partitioned_by: value.y", ", partitioned_by: key, key_format: bytes"))

		g.streams, g.inputs = append(g.streams, name), append(g.inputs, name)
	}
	b.WriteString("tables:\n")
	for i := range rapid.IntRange(1, 2).Draw(g.t, "tables") {
		name := fmt.Sprintf("t%d", i)
		fmt.Fprintf(&b, "  %s: {topic: %s%s}\n", name, name, g.pick("table options", "", ", key: value.y", ", key: string(value.x), value: value.m",
			", key_format: json, key: key.k, envelope: debezium", ", envelope: old_new", ", key: '[key, value.x]'", ", fields: {x: int, y: string}, key: y",
			", key: 'lower(key)'", ", key: 'lower(key)', partitioned_by: 'lower(key)'"))
		g.tables, g.inputs = append(g.tables, name), append(g.inputs, name)
	}
	var derived, streams strings.Builder
	for i := range rapid.IntRange(1, 4).Draw(g.t, "queries") {
		if g.chance("derived table", 3) {
			name := fmt.Sprintf("d%d", i)
			fmt.Fprintf(&derived, "  %s:\n%s", name, g.query(true))
			g.tables = append(g.tables, name)
		} else {
			name := fmt.Sprintf("q%d", i)
			fmt.Fprintf(&streams, "  %s:\n%s", name, g.query(false))
			g.streams = append(g.streams, name)
		}
	}
	b.WriteString(derived.String())
	if streams.Len() > 0 {
		b.WriteString("streams:\n" + streams.String())
	}
	b.WriteString("sinks:\n")
	for i := range 2 {
		from, options := g.streams[len(g.streams)-1-i%len(g.streams)], ""
		if g.chance("sink of a table", 3) {
			from = g.pick("sunk", g.tables...)
		} else {
			options = g.pick("sink options", "", "", ", key: value", ", key: key", ", key_format: json")
		}
		fmt.Fprintf(&b, "  o%d: {from: %s, topic: o%d%s}\n", i, from, i, options)
	}
	return b.String()
}

func (g *generator) query(derived bool) string {
	var b strings.Builder
	changes := !derived && g.chance("changes", 6)
	from := g.pick("from", g.streams...) + " a"
	if changes {
		from = g.pick("from", g.tables...) + " a"
	} else if g.chance("union", 4) {
		from = fmt.Sprintf("[%s, %s a]", from, g.pick("from", g.streams...))
	}
	fmt.Fprintf(&b, "    from: %s\n", from)
	aliases := []string{"a"}
	var joins strings.Builder
	for i := range rapid.IntRange(0, 2).Draw(g.t, "joins") {
		if changes {
			break
		}
		alias := string(rune('b' + i))
		table := g.pick("joined", g.tables...)
		key := alias + ".key"
		on := "(" + g.expression(aliases) + ") == " + key
		if g.chance("composite", 3) {
			on = fmt.Sprintf("(%s) == %s[0] && (%s) == %s[1]", g.expression(aliases), key, g.expression(aliases), key)
		}
		fmt.Fprintf(&joins, "      - {%s: %s %s, on: '%s'}\n", g.pick("kind", "inner", "left"), table, alias, on)
		aliases = append(aliases, alias)
	}
	if g.chance("where", 2) {
		fmt.Fprintf(&b, "    where: '(%s) %s'\n", g.expression(aliases), g.pick("condition", "!= nil", "!= 7", `== "a"`))
	}
	if joins.Len() > 0 {
		b.WriteString("    join:\n" + joins.String())
	}
	if derived {
		fmt.Fprintf(&b, "    group_by: %s\n    select:\n", g.pick("group", "a.y", "a.key", "{g: a.x}", "{g: a.y, n: a.x}", "{g: lower(a.y)}"))
		fmt.Fprintf(&b, "      - c: %s\n      - n: '%s'\n", g.pick("aggregate", "count()", "count(a.x)"), g.pick("aggregate", "sum(a.x)", "max(a.y)", "min(a.x) ?? 0", "1 + count()"))
		return b.String()
	}
	if g.chance("no select", 3) {
		return b.String()
	}
	b.WriteString("    select:\n")
	for i, alias := range aliases {
		if g.chance("spread", 2) {
			fmt.Fprintf(&b, "      - '%s.*%s'\n", alias, g.pick("except", "", "", " except [x]"))
		}
		fmt.Fprintf(&b, "      - %s: '%s'\n", g.pick("column", "n", "x", "y", "key", "m"), g.expression(aliases[:i+1]))
	}
	return b.String()
}

func (g *generator) expression(aliases []string) string {
	a := g.pick("alias", aliases...)
	return replaced(g.pick("expression", "A.x", "A.y", "A.n", "A.key", "A.m.k", "A.value", "A", "string(A.x)", "A.y ?? \"z\"", "{k: A.x, l: [A.y]}", "lower(A.y)", "A.x + 1", "len(A.y)"), "A", a)
}

// value draws the value of a record: documents that fit now and then.
func (g *generator) value() string {
	doc := g.pick("doc", `{"x":1,"y":"a","m":{"k":1.5}}`, `{"x":7,"y":"b"}`, `{"x":"1"}`, `{"y":null,"m":3}`, `[1]`, `"a"`, `null`, `-`, `{`, `{"x":9223372036854775807,"y":"a","n":1}`, `{"x":1.0,"y":"A","x":2}`)
	if doc == "-" {
		return doc
	}
	return replaced(g.pick("envelope", "DOC", "DOC", "DOC", `{"old":DOC,"new":DOC}`, `{"new":null,"old":DOC}`, `{"before":null,"after":DOC,"op":"c"}`, `{"before":DOC,"after":null,"op":"d"}`), "DOC", doc)
}
