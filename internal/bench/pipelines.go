package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The pipelines under measurement; %[1]s is the pipeline's name, %[2]s the
// guarantee with its commit interval, %[3]s the topic of the output.

// joinPipeline is the job the project started with: profiles keyed by a URN
// must be re-keyed to meet the views.
const joinPipeline = `pipeline: %[1]s
%[2]s
sources:
  page_views:
    topic: ` + viewsTopic + `
    timestamp: seconds(timestamp)
    partitioned_by: viewerId
    fields: {viewerId: int, timestamp: int}
tables:
  profiles:
    topic: ` + profilesTopic + `
    key: int(split(key, ":")[3])
    value: value.profile
streams:
  profile_views:
    from: page_views v
    join:
      - left: profiles p
        on: v.viewerId == p.key
    select:
      - v.*
      - viewerProfile: '{jobTitle: p.positions[0].job_title, company: p.positions[0].company}'
sinks:
  enriched:
    from: profile_views
    topic: %[3]s
    key: viewerId
`

// countPipeline counts the views of every viewer and sends each new count.
const countPipeline = `pipeline: %[1]s
%[2]s
sources:
  page_views:
    topic: ` + viewsTopic + `
    timestamp: seconds(timestamp)
    partitioned_by: viewerId
    fields: {viewerId: int, timestamp: int}
tables:
  views_by_viewer:
    from: page_views v
    group_by: v.viewerId
    select:
      - viewerId: v.viewerId
      - views: count()
sinks:
  counts:
    from: views_by_viewer
    topic: %[3]s
    key: viewerId
`

// coalescedPipeline is countPipeline with the last count of each viewer sent every second.
func coalescedPipeline() string {
	return strings.Replace(countPipeline, "sinks:", "    emit: {every: 1s}\nsinks:", 1)
}

// windowPipeline counts the views of every viewer by minutes and sends each new count.
func windowPipeline() string {
	windowed := strings.Replace(countPipeline, "    select:\n", "    window: {tumbling: 1m, grace: 1m}\n    select:\n", 1)
	return strings.Replace(windowed, "    key: viewerId\n", "    key_format: json\n", 1)
}

// tablePipeline keeps a topic of rows as a table and joins nothing that comes:
// what it does is to load the table.
const tablePipeline = `pipeline: %[1]s
%[2]s
sources:
  nothing:
    topic: ` + emptyTopic + `
    partitioned_by: viewerId
    fields: {viewerId: int}
tables:
  rows:
    topic: ` + rowsTopic + `
    key_format: json
streams:
  joined:
    from: nothing v
    join:
      - left: rows r
        on: v.viewerId == r.key
sinks:
  out:
    from: joined
    topic: %[3]s
    key: viewerId
`

// changelogPipeline makes a table of as many rows that has a changelog.
const changelogPipeline = `pipeline: %[1]s
%[2]s
sources:
  rows:
    topic: ` + rowsTopic + `
    key_format: json
    partitioned_by: key
tables:
  counts:
    from: rows r
    group_by: r.key
    select:
      - n: count()
sinks:
  out:
    from: counts
    topic: %[3]s
`

// guarantee is a delivery guarantee as it is measured.
type guarantee struct{ label, settings string }

var guarantees = []guarantee{
	{"exactly once", "guarantee: exactly_once\ncommit_interval: 100ms"},
	{"at least once", "guarantee: at_least_once\ncommit_interval: 1s"},
}

// job is one pipeline ready to be run.
type job struct {
	file    string
	dataDir string
	out     string // topic
}

// write makes a job of a pipeline with names that no other job has.
func (b *bench) write(pipeline, settings string) (job, error) {
	b.serial++
	name := fmt.Sprintf("bench-%d", b.serial)
	j := job{
		file:    filepath.Join(b.dir, name+".yaml"),
		dataDir: filepath.Join(b.dir, name),
		out:     name + "-out",
	}
	text := fmt.Sprintf(pipeline, name, settings, j.out)
	if err := os.WriteFile(j.file, []byte(text), 0o600); err != nil {
		return job{}, fmt.Errorf("write pipeline: %w", err)
	}
	return j, nil
}
