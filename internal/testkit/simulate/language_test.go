package simulate

import (
	"fmt"
	"strings"
	"testing"
)

// The workloads of this file are about operators that keep more than a running sum:
// windows, joins of streams and of tables, dedup, top, stored queries. What must
// come out is computed from what lies in the topics in the end, by rules that do not depend on the
// order in which tasks got to it; the views of a partition come in the order of their times.

// languageSeeds is how many seeds of each of them a plain run of the tests does.
const languageSeeds = 40

const viewsSource = `pipeline: p
commit_interval: 20ms
idle_timeout: never
sources:
  page_views:
    topic: p-views
    timestamp: seconds(timestamp)
    partitioned_by: viewerId
    fields: {viewerId: int, viewedProfileId: int, timestamp: int, seq: int, trackingKey: string}
`

const profilesTable = `  profiles:
    topic: p-profiles
    key: int(split(key, ":")[3])
    value: value.profile
`

const activityTable = `  activity:
    from: page_views v
    group_by: v.viewerId
    select: [{viewerId: v.viewerId}, {views: count()}]
`

const sinkOut = `sinks:
  out: {from: result, topic: p-out, key: %s}
`

func languageWorkloads(t testing.TB) []*workload {
	t.Helper()
	sink := func(key string) string { return fmt.Sprintf(sinkOut, key) }
	kept := `  kept:
    from: profiles p
    where: p.location != "Berlin, Germany"
    select: [{company: 'p.positions[0].company'}]
`
	foreign := viewsSource + "tables:\n" + profilesTable + activityTable + `  result:
    from: profiles p
    join:
      - left: activity a
        on: len(p.location) % 9 + 1 == a.key
    select: [{company: 'p.positions[0].company'}, {views: a.views}]
` + "sinks:\n  out: {from: result, topic: p-out}\n"
	matching := strings.Replace(viewsSource, "    partitioned_by: viewerId\n", "", 1) + "tables:\n" + profilesTable + `streams:
  result:
    from: page_views v
    match: {queries: profiles q, text: v.trackingKey, field: 'location == "Berlin, Germany" ? "search OR know" : "google OR homepage"'}
    select: [{seq: v.seq}, {found: matched_keys}]
` + sink("seq")
	var list []*workload
	for _, w := range []struct {
		workload
		text string
	}{
		{workload{name: "dedup", check: checkDedup}, viewsSource + `streams:
  result:
    from: page_views v
    dedup: {by: v.viewerId, within: 2s}
    select: [{viewerId: v.viewerId}, {seq: v.seq}]
` + sink("viewerId")},
		{workload{name: "windows-final", check: checkTumbling}, viewsSource + `tables:
  result:
    from: page_views v
    group_by: v.viewerId
    window: {tumbling: 3s, grace: 1s}
    emit: final
    select: [{viewerId: v.viewerId}, {start: window.start}, {views: count()}, {total: sum(v.viewedProfileId)}]
` + sink("viewerId")},
		{workload{name: "sessions-final", check: checkSessions}, viewsSource + `tables:
  result:
    from: page_views v
    group_by: v.viewerId
    window: {session: 1s, grace: 1s}
    emit: final
    select: [{viewerId: v.viewerId}, {start: window.start}, {views: count()}, {total: sum(v.viewedProfileId)}]
` + sink("viewerId")},
		{workload{name: "join-streams", check: checkStreams}, viewsSource + `streams:
  result:
    from: page_views a
    join:
      - inner: page_views b
        on: a.viewerId == b.viewerId
        within: 1s
    where: a.seq < b.seq
    select: [{viewerId: a.viewerId}, {left: a.seq}, {right: b.seq}]
` + sink("viewerId")},
		{workload{name: "join-streams-outer", check: checkStreamsOuter}, viewsSource + `streams:
  even: {from: page_views v, where: v.seq % 2 == 0, select: [v.*]}
  odd: {from: page_views v, where: v.seq % 2 == 1, select: [v.*]}
  result:
    from: even a
    join:
      - outer: odd b
        on: a.viewerId == b.viewerId
        within: 1s
        grace: 1s
    select: [{viewerId: 'a.viewerId ?? b.viewerId'}, {left: a.seq}, {right: b.seq}]
` + sink("viewerId")},
		{workload{name: "join-streams-bounded", moved: true, bounded: true, check: checkStreamsMoved}, strings.Replace(viewsSource, "    partitioned_by: viewerId\n", "", 1) + `streams:
  once: {from: page_views v, dedup: {by: v.seq, within: 1s}}
  result:
    from: page_views a
    join:
      - inner: once b
        on: a.viewerId == b.viewerId
        within: 1s
    where: a.seq < b.seq
    select: [{viewerId: a.viewerId}, {left: a.seq}, {right: b.seq}]
` + sink("viewerId")},
		{workload{name: "join-tables", edits: true, check: checkTables}, viewsSource + "tables:\n" + profilesTable + activityTable + kept + `  result:
    from: activity a
    join:
      - outer: kept k
        on: a.key == k.key
    select: [{views: a.views}, {company: k.company}]
` + "sinks:\n  out: {from: result, topic: p-out}\n"},
		{workload{name: "join-foreign", edits: true, check: checkForeign}, foreign},
		{workload{name: "join-foreign-bounded", edits: true, bounded: true, check: checkForeign}, foreign},
		{workload{name: "top", check: checkTop}, viewsSource + "tables:\n" + activityTable + `  result:
    from: activity a
    top: {n: 3, by: a.views}
` + "sinks:\n  out: {from: result, topic: p-out}\n"},
		{workload{name: "match", edits: true, moved: true, check: checkMatch}, matching},
		{workload{name: "search", edits: true, moved: true, check: checkMatch}, strings.Replace(matching, "    value:", "    replicate: true\n    value:", 1)},
		{workload{name: "replicate", edits: true, moved: true, check: checkReplicated}, strings.Replace(viewsSource, "    partitioned_by: viewerId\n", "", 1) + "tables:\n" +
			strings.Replace(profilesTable, "    value:", "    replicate: true\n    value:", 1) + `streams:
  result:
    from: page_views v
    join:
      - left: profiles p
        on: v.viewerId == p.key
    select: [{seq: v.seq}, {company: 'p.positions[0].company'}]
` + sink("seq")},
	} {
		w.exactly, w.seeds = true, languageSeeds
		list = append(list, newWorkload(t, w.workload, w.text))
		w.exactly, w.name = false, w.name+"-at-least-once"
		list = append(list, newWorkload(t, w.workload, w.text))
	}
	return list
}
