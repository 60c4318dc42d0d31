package pipeline

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// enrichment holds every clause of this version of the language.
const enrichment = `pipeline: profile-enrichment
guarantee: at_least_once
commit_interval: 250ms
max_ahead: 1h30m
on_error: dead_letter

kafka:
  brokers: ["${env:KAFKA:-localhost:9092}"]
  group: g
  client_id: c
  tls: {ca: /ca.pem, server_name: kafka, insecure_skip_verify: true}
  sasl: {mechanism: scram-sha-256, username: me, password: "${file:/run/password}"}

sources:
  page_views:
    topic: page-views
    format: json
    key_format: int
    timestamp: seconds(timestamp)
    partitioned_by: key
    on_error: skip
    max_ahead: 2d
    fields:
      viewerId: int
      tags: [string]
      geo: {city: string, at: [{lat: float}]}
  clicks: {topic: clicks}

tables:
  profiles:
    topic: profile-edits
    key: int(split(key, ":")[3])
    value: value.profile
    format: json
    key_format: string
    timestamp: millis(ts)
    envelope: debezium
    partitioned_by: key
    fields: {profile: object}
    on_error: fail
  counts:
    from: profile_views v
    where: v.n > 0
    group_by: {viewer: v.viewerId, page: v.pageKey}
    select: [{n: count()}]

streams:
  profile_views:
    from: [page_views v, clicks v]
    where: v.pageKey == "profile-view"
    join:
      - left: profiles p
        on: v.viewerId == p.key
      - inner: profiles q
        on: v.viewedProfileId == q.key
    select:
      - v.* except [secret, "b"]
      - viewerProfile: '{jobTitle: p.positions[0].job_title}'
        n: 1
      - q.*
    on_error: skip

sinks:
  enriched:
    from: profile_views
    topic: enriched
    key: viewerId
    key_format: long
    format: json
    on_error: fail
    partitions: 12
  totals: {from: counts, topic: totals}
`

func mustParse(t *testing.T, text string, set ...string) *File {
	t.Helper()
	file, list := Parse("p.yaml", []byte(text), ParseOptions{Set: set})
	if len(list) > 0 {
		var out strings.Builder
		_ = file.Printer().Print(&out, list)
		t.Fatal(out.String())
	}
	return file
}

func mustResolve(t *testing.T, text string) *Pipeline {
	t.Helper()
	p, list := Resolve(mustParse(t, text))
	if list.HasErrors() {
		t.Fatal(list)
	}
	return p
}

func TestParseReadsEveryClause(t *testing.T) {
	f := mustParse(t, enrichment)
	s, profiles, counts, v, sink := f.Sources[0], f.Tables[0], f.Tables[1], f.Streams[0], f.Sinks[0]
	texts := map[string]Text{
		"profile-enrichment": f.Name, "at_least_once": f.Settings.Guarantee, "250ms": f.Settings.CommitInterval,
		"1h30m": f.Settings.MaxAhead, "dead_letter": f.Settings.OnError,
		"page_views": s.Name, "page-views": s.Topic, "int": s.KeyFormat, "seconds(timestamp)": s.Timestamp,
		"key": s.PartitionedBy, "2d": s.MaxAhead, `int(split(key, ":")[3])`: profiles.Key,
		"value.profile": profiles.Value, "string": profiles.KeyFormat, "millis(ts)": profiles.Timestamp,
		"debezium": profiles.Envelope, "v.n > 0": counts.Derived.Where, "viewer": counts.Derived.GroupBy[0].Name,
		"v.pageKey": counts.Derived.GroupBy[1].Expr, "count()": counts.Derived.Select[0].Expr,
		`v.pageKey == "profile-view"`: v.Where, "left": v.Joins[0].Kind, "v.viewerId == p.key": v.Joins[0].On,
		"{jobTitle: p.positions[0].job_title}": v.Select[1].Expr, "n": v.Select[2].Name, "1": v.Select[2].Expr,
		"b": v.Select[0].Except[1], "enriched": sink.Topic, "viewerId": sink.Key, "long": sink.KeyFormat, "12": sink.Partitions,
	}
	for want, got := range texts {
		if got.Value != want || !got.Set || got.Span.Start.Line == 0 || got.Node == nil {
			t.Errorf("want %q, got %+v", want, got)
		}
	}
	in := v.From[1]
	if in.Name != "clicks" || in.Alias != "v" || enrichment[in.AliasSpan.Start.Offset:in.AliasSpan.End.Offset] != "v" {
		t.Errorf("union: %+v", in)
	}
	if v.Select[0].Spread != "v" || v.Select[3].Spread != "q" || len(v.Select) != 4 {
		t.Errorf("select: %+v", v.Select)
	}
	tags, at := s.Fields[1], s.Fields[2].Sub[1]
	if tags.Type.Value != "list" || tags.Sub[0].Type.Value != "string" || tags.Sub[0].Name.Set {
		t.Errorf("fields: %+v", tags)
	}
	if at.Name.Value != "at" || at.Type.Value != "list" || at.Sub[0].Type.Value != "object" || at.Sub[0].Sub[0].Name.Value != "lat" {
		t.Errorf("fields: %+v", at)
	}
}

func TestOverridesAreCheckedLikeTheFile(t *testing.T) {
	f := mustParse(t, enrichment, "sources.page_views.topic=test-views", "kafka.brokers=a:1,b:2", "sinks.enriched.partitions=3")
	if f.Sources[0].Topic.Value != "test-views" || f.Sources[0].Topic.Span.File != syntax.OverrideFile {
		t.Errorf("topic %+v", f.Sources[0].Topic)
	}
	settings, list := f.Kafka.Resolve(lookup())
	if len(list) > 0 || !slices.Equal(settings.Brokers, []string{"a:1", "b:2"}) {
		t.Error(settings, list)
	}
	for setting, want := range map[string]string{
		"sources.page_views.topc=x":     `unknown field "topc" in source "page_views"`,
		"sources.page_views.topic=a/b":  `a topic's name cannot contain "/"`,
		"sinks.enriched.partitions=x":   `partitions must be a whole number from 1 to 100000, got "x"`,
		"streams.profile_view.where=1":  `there is no "profile_view" in streams`,
		"kafka.borkers=a:1":             `unknown field "borkers" in kafka`,
		"sources.page_views.fields=int": `fields: expected a mapping of field names to types, got the text "int"`,
	} {
		f, list := Parse("p.yaml", []byte(enrichment), ParseOptions{Set: []string{setting}})
		if len(list) != 1 || list[0].Message != want || list[0].Span.File != syntax.OverrideFile {
			t.Errorf("%s: %v", setting, list)
		}
		var out strings.Builder
		if err := f.Printer().Print(&out, list); err != nil || !strings.Contains(out.String(), " 1 | "+setting) {
			t.Errorf("%s is not shown:\n%s", setting, out.String())
		}
	}
	f = mustParse(t, "pipeline: p\n", "kafka.brokers=a:1", "kafka.sasl.mechanism=PLAIN", "kafka.sasl.username=u", "kafka.sasl.password=${env:P}")
	if f.Kafka.SASL == nil || f.Kafka.SASL.Password.Value != "${env:P}" {
		t.Errorf("kafka made by overrides: %+v", f.Kafka)
	}
}

func lookup() syntax.Lookup {
	return syntax.Lookup{
		Env: func(name string) (string, bool) { return "hunter2", name == "SECRET" },
		File: func(path string) ([]byte, error) {
			if path != "/run/password" {
				return nil, fmt.Errorf("no such file")
			}
			return []byte("s3cret\n"), nil
		},
	}
}

func TestKafkaSettings(t *testing.T) {
	got, list := mustParse(t, enrichment).Kafka.Resolve(lookup())
	if len(list) > 0 {
		t.Fatal(list)
	}
	want := KafkaSettings{
		Brokers: []string{"localhost:9092"}, Group: "g", ClientID: "c",
		TLS:  &TLSSettings{CA: "/ca.pem", ServerName: "kafka", InsecureSkipVerify: true},
		SASL: &SASLSettings{Mechanism: "SCRAM-SHA-256", Username: NewSecret("me"), Password: NewSecret("s3cret")},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Secret{})); diff != "" {
		t.Error(diff)
	}
}

func TestKafkaSettingsFaults(t *testing.T) {
	cases := []struct{ section, message string }{
		{"brokers: ['${env:NONE}']", "environment variable NONE is not set"},
		{"brokers: ['${env:SECRET}']", "this broker address, with ${...} replaced, has no port"},
		{"brokers: [a:1]\n  tls: {insecure_skip_verify: '${env:SECRET}'}", "expected true or false"},
		{"brokers: [a:1]\n  session_timeout: '${env:SECRET}'", "this duration, with ${...} replaced, is none"},
		{"brokers: [a:1]\n  sasl: {mechanism: '${env:SECRET}', username: u, password: p}", `"${env:SECRET}" is no SASL mechanism`},
		{"brokers: [a:1]\n  sasl: {mechanism: PLAIN, username: u, password: '${file:/none}'}", "read file /none: no such file"},
	}
	for _, c := range cases {
		f := mustParse(t, "pipeline: p\nkafka:\n  "+c.section+"\n")
		_, list := f.Kafka.Resolve(lookup())
		if len(list) != 1 || list[0].Message != c.message {
			t.Errorf("%s: %v", c.section, list)
		}
		if strings.Contains(fmt.Sprint(list), "hunter2") {
			t.Errorf("%s: a secret is shown: %v", c.section, list)
		}
	}
}

// TestKafkaTimeouts reads all of them, one from the environment, and compares
// the transaction's with the commit interval.
func TestKafkaTimeouts(t *testing.T) {
	env := syntax.Lookup{Env: func(string) (string, bool) { return "45s", true }}
	f := mustParse(t, "pipeline: p\nkafka:\n  brokers: [a:1]\n  session_timeout: 8s\n  rebalance_timeout: 1m30s\n"+
		"  transaction_timeout: '${env:T}'\n  request_timeout: 2s\n  retry_timeout: 1h\n")
	got, list := f.Kafka.Resolve(env)
	want := TimeoutSettings{Session: 8 * time.Second, Rebalance: 90 * time.Second, Transaction: 45 * time.Second, Request: 2 * time.Second, Retry: time.Hour}
	if len(list) > 0 || got.Timeouts != want {
		t.Errorf("got %+v, %v", got.Timeouts, list)
	}
	for interval, faults := range map[time.Duration]int{44 * time.Second: 0, 45 * time.Second: 1} {
		if list := f.Kafka.CheckInterval(got, PipelineSettings{ExactlyOnce: true, CommitInterval: interval}); len(list) != faults {
			t.Errorf("interval %s: %v", interval, list)
		}
		if list := f.Kafka.CheckInterval(got, PipelineSettings{CommitInterval: interval}); len(list) != 0 {
			t.Errorf("interval %s, without transactions: %v", interval, list)
		}
	}
}

// TestSecretsAreNeverPrinted: in no way of formatting.
func TestSecretsAreNeverPrinted(t *testing.T) {
	s := struct {
		Password Secret
		Pointer  *Secret
	}{Password: NewSecret("hunter2")}
	s.Pointer = &s.Password
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("connect", "password", s.Password, "all", s)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("connect", "password", s.Password, "all", s)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(text) + s.Password.String() + s.Password.GoString()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, s.Password) + fmt.Sprintf(verb, []Secret{s.Password})
	}
	if strings.Contains(all, "hunter2") || strings.Contains(all, fmt.Sprintf("%x", "hunter2")) {
		t.Error(all)
	}
	if s.Password.Reveal() != "hunter2" || !s.Password.Set() || NewSecret("").Set() {
		t.Error("the value is lost")
	}
}

func TestResolve(t *testing.T) {
	p := mustResolve(t, enrichment)
	var order []string
	for _, d := range p.Order {
		order = append(order, d.Name)
	}
	want := []string{"page_views", "clicks", "profiles", "profile_views", "counts", "enriched", "totals"}
	if !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	settings := PipelineSettings{CommitInterval: 250 * time.Millisecond, MaxAhead: 90 * time.Minute, IdleTimeout: 30 * time.Second, OnError: DeadLetter}
	if p.Settings != settings || p.Name != "profile-enrichment" {
		t.Errorf("settings %+v", p.Settings)
	}
	views, profiles, counts, v, sink := p.Sources[0], p.Tables[0], p.Tables[1], p.Streams[0], p.Sinks[0]
	if views.OnError != Skip || views.MaxAhead != 48*time.Hour || p.Sources[1].OnError != DeadLetter || p.Sources[1].MaxAhead != 90*time.Minute {
		t.Errorf("source %+v", views)
	}
	if v.From[0].Def != views || v.From[0].Alias != "v" || v.Joins[1].Def != profiles || !v.Joins[0].Left || v.Joins[1].Left || v.OnError != Skip {
		t.Errorf("stream %+v", v)
	}
	if counts.Kind != DerivedTableDef || !counts.IsTable() || counts.From[0].Def != v || counts.OnError != DeadLetter {
		t.Errorf("table %+v", counts)
	}
	if sink.From[0].Def != v || sink.OnError != Fail || !slices.Equal(v.UsedBy, []*Def{counts, sink}) {
		t.Errorf("sink %+v", sink)
	}
}

func TestDefaults(t *testing.T) {
	p := mustResolve(t, "pipeline: p\nsources: {s: {topic: t}}\nsinks: {o: {from: s, topic: u}}\n")
	want := PipelineSettings{ExactlyOnce: true, CommitInterval: 100 * time.Millisecond, MaxAhead: 24 * time.Hour, IdleTimeout: 30 * time.Second}
	if p.Settings != want || p.File.Kafka != nil {
		t.Errorf("%+v", p.Settings)
	}
	p = mustResolve(t, "pipeline: p\nguarantee: at_least_once\nsources: {s: {topic: t}}\nsinks: {o: {from: s, topic: u}}\n")
	if p.Settings.ExactlyOnce || p.Settings.CommitInterval != time.Second {
		t.Errorf("%+v", p.Settings)
	}
	for text, want := range map[string]time.Duration{"never": -1, "2m": 2 * time.Minute} {
		p = mustResolve(t, "pipeline: p\nidle_timeout: "+text+"\nsources: {s: {topic: t}}\nsinks: {o: {from: s, topic: u}}\n")
		if p.Settings.IdleTimeout != want {
			t.Errorf("idle_timeout %s: %s, want %s", text, p.Settings.IdleTimeout, want)
		}
	}
}

// TestOrderDoesNotDependOnTheFile: a definition stands behind what it reads,
// whichever comes first in the file.
func TestOrderDoesNotDependOnTheFile(t *testing.T) {
	p := mustResolve(t, `pipeline: p
sinks: {o: {from: c, topic: u}}
streams:
  c: {from: b}
  b: {from: a}
  a: {from: s}
sources: {s: {topic: t}}
`)
	at := map[string]int{}
	for i, d := range p.Order {
		at[d.Name] = i
	}
	if !(at["s"] < at["a"] && at["a"] < at["b"] && at["b"] < at["c"] && at["c"] < at["o"]) {
		t.Errorf("order %v", at)
	}
}

func TestDurations(t *testing.T) {
	good := map[string]time.Duration{
		"0": 0, "1ms": time.Millisecond, "30s": 30 * time.Second, "10m": 10 * time.Minute, "2h": 2 * time.Hour,
		"1d": 24 * time.Hour, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond, "0.1s": 100 * time.Millisecond, "90d": 90 * 24 * time.Hour,
	}
	for text, want := range good {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "s", "-1s", "1 s", "1S", "1w", "1.2.3s", ".s", "1s ", "1e3s", "10min", "١s"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	for _, d := range []time.Duration{0, 10 * time.Millisecond, time.Second, 30 * time.Second, time.Minute, 90 * time.Minute, 2 * time.Hour, 36500 * 24 * time.Hour} {
		if got, err := ParseDuration(formatDuration(d)); err != nil || got != d {
			t.Errorf("%v is written %q and read %v %v", d, formatDuration(d), got, err)
		}
	}
}

// TestManyFaultsSoon: a file with thousands of faults is answered at once.
func TestManyFaultsSoon(t *testing.T) {
	var unknown, chain, circle strings.Builder
	head := "pipeline: p\nsources: {s: {topic: t}}\nstreams:\n"
	unknown.WriteString(head)
	chain.WriteString(head)
	circle.WriteString(head)
	const n = 3000
	for i := range n {
		fmt.Fprintf(&unknown, "  a%d: {from: b%d}\n", i, i)
		fmt.Fprintf(&chain, "  a%d: {from: a%d}\n", i, i+1)
		fmt.Fprintf(&circle, "  a%d: {from: a%d}\n", i, (i+1)%n)
	}
	fmt.Fprintf(&chain, "  a%d: {from: s}\n", n)
	for name, text := range map[string]string{"unknown": unknown.String(), "chain": chain.String(), "circle": circle.String()} {
		start := time.Now()
		file, list := checkAll("p.yaml", []byte(text))
		var out strings.Builder
		if err := file.Printer().Print(&out, list); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 3*time.Second || len(list) == 0 || out.Len() > 1<<20 {
			t.Errorf("%s: %v for %d diagnostics, %d bytes", name, took, len(list), out.Len())
		}
	}
}

// TestParseAnyTree: no arrangement of the language's own words makes Parse or
// Resolve panic.
func TestParseAnyTree(t *testing.T) {
	values := []string{"", "x", "1", "[]", "{}", "[x]", "{a: b}", "null", "'x y z'", "\"${env:A}\"", "[[x]]", "{a: {b: c}}", "true", "'*'"}
	for _, v := range values {
		for _, text := range everyKeyWith(v) {
			file, list := Parse("p.yaml", []byte(text), ParseOptions{})
			_, more := Resolve(file)
			list.Append(more)
			var out strings.Builder
			if err := file.Printer().Print(&out, list); err != nil {
				t.Fatal(err)
			}
			for _, d := range list {
				if d.Code == "" || d.Message == "" || d.Span == (diag.Span{}) {
					t.Errorf("%q: %+v", text, d)
				}
			}
		}
	}
}

// everyKeyWith writes each key of the language with one value.
func everyKeyWith(value string) []string {
	var texts []string
	for _, key := range []string{"pipeline", "kafka", "sources", "tables", "streams", "sinks", "guarantee", "commit_interval", "max_ahead", "on_error"} {
		texts = append(texts, fmt.Sprintf("%s: %s\n", key, value))
	}
	for section, keys := range map[string][]string{
		"kafka":   {"brokers", "group", "tls", "sasl"},
		"sources": {"", "topic", "format", "fields", "timestamp", "max_ahead"},
		"tables":  {"", "topic", "from", "group_by", "envelope", "key", "join"},
		"streams": {"", "from", "where", "join", "select", "on_error"},
		"sinks":   {"", "from", "topic", "partitions"},
	} {
		for _, key := range keys {
			if section == "kafka" {
				texts = append(texts, fmt.Sprintf("pipeline: p\nkafka:\n  %s: %s\n", key, value))
			} else if key == "" {
				texts = append(texts, fmt.Sprintf("pipeline: p\n%s:\n  d: %s\n", section, value))
			} else {
				texts = append(texts, fmt.Sprintf("pipeline: p\n%s:\n  d:\n    %s: %s\n", section, key, value))
			}
		}
	}
	for _, clause := range []string{"left: %s", "on: %s", "inner: %s\n        on: x"} {
		texts = append(texts, fmt.Sprintf("pipeline: p\nstreams:\n  d:\n    from: d\n    join:\n      - "+clause+"\n", value))
	}
	return append(texts, value)
}

// TestMisspeltSecretsAreHidden: the line of an error is printed, and the error
// may be the very name by which a secret is known.
func TestMisspeltSecretsAreHidden(t *testing.T) {
	const head = "pipeline: p\nkafka:\n  brokers: [a:1]\n"
	const tail = "sources: {s: {topic: t}}\nsinks: {o: {from: s, topic: o}}\n"
	for _, c := range []struct {
		section   string
		overrides []string
	}{
		{"  sasl:\n    mechanism: PLAIN\n    passwrd: hunter2\n", nil},
		{"  sasl: {mechanism: KERB, saslPassword: hunter2}\n", nil},
		{"  Token: hunter2\n", nil},
		{"  sasl: {mechanism: PLAIN, username: u, password: x}\n", []string{"kafka.sasl.passwordd=hunter2"}},
		{"  sasl: {mechanism: PLAIN, username: u, password: x}\n", []string{"kafka.client-secret=hunter2"}},
	} {
		f, list := Parse("p.yaml", []byte(head+c.section+tail), ParseOptions{Set: c.overrides})
		var out strings.Builder
		if err := f.Printer().Print(&out, list); err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 || strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s%q: %d diagnostics:\n%s", c.section, c.overrides, len(list), out.String())
		}
	}
	f, list := Parse("p.yaml", []byte(head+tail), ParseOptions{Set: []string{"sources.passengers.topic=shown"}})
	var out strings.Builder
	if err := f.Printer().Print(&out, list); err != nil || !strings.Contains(out.String(), "shown") {
		t.Errorf("an override that is no secret is hidden: %v\n%s", err, out.String())
	}
}
