package expr

import "testing"

// The benchmarks are the expressions of a stream-table join: what runs once
// per record.
func benchWorld(b *testing.B) *world {
	return newWorld(b,
		input{alias: "v", fields: []Field{
			{"pageKey", Type{Kind: String}}, {"viewerId", Type{Kind: Int}}, {"n", Type{Kind: Int}}, {"urn", Type{Kind: String}}, {"timestamp", Type{Kind: Int}}, {"untyped", Type{}},
		}, row: map[string]string{
			"pageKey": `"profile-view"`, "viewerId": "1234", "n": "17", "urn": `"urn:linkedin:profile:1234"`, "timestamp": "1413215518", "untyped": `"profile-view"`,
		}},
		input{alias: "p", fields: []Field{{"title", Type{Kind: String}}, {"company", Type{}}}, row: map[string]string{"title": `"Software Engineer"`, "company": `"Example Corporation"`}},
	)
}

func BenchmarkBool(b *testing.B) {
	for _, bench := range []struct{ name, text string }{
		{"field == constant", `v.pageKey == "profile-view"`},
		{"untyped == constant", `v.untyped == "profile-view"`},
		{"two conditions", `v.pageKey == "profile-view" && v.n > 3`},
		{"in constants", `v.pageKey in ["profile-view", "home", "search"]`},
		{"starts with", `v.pageKey startsWith "profile"`},
		{"not null", `v.viewerId != nil`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := benchWorld(b)
			p := w.compile(b, bench.text)
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := p.Bool(w.frame); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkInt(b *testing.B) {
	for _, bench := range []struct{ name, text string }{
		{"field", `v.viewerId`},
		{"arithmetic", `v.viewerId * 3 + v.n % 7`},
		{"seconds", `seconds(v.timestamp)`},
		{"int of URN", `int(split(v.urn, ":")[3])`},
		{"day in Berlin", `truncate_time(seconds(v.timestamp), "day", "Europe/Berlin")`},
		{"sum over a list", `sum(1..3, # * v.n)`}, {"let on the machine", `let x = v.n; x * x`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := benchWorld(b)
			p := w.compile(b, bench.text)
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := p.Int(w.frame); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	for _, bench := range []struct{ name, text string }{
		{"map of two fields", `{jobTitle: p.title, company: p.company}`},
		{"field", `p.title`},
		{"nested", `{a: {b: [v.n, v.viewerId + 1]}, c: p.title ?? "none"}`},
		{"upper", `upper(p.title)`},
		{"concatenation", `v.pageKey + "/" + p.title`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := benchWorld(b)
			p := w.compile(b, bench.text)
			var dst []byte
			var err error
			b.ReportAllocs()
			for b.Loop() {
				if dst, err = p.AppendJSON(dst[:0], w.frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	w := benchWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		if p, diags := Compile(Source{Text: `{jobTitle: upper(p.title), ok: v.pageKey == "profile-view"}`}, w.scope, Want{}); p == nil {
			b.Fatal(list(diags))
		}
	}
}
