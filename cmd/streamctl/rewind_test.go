package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rewindPipeline has everything that a rewind must empty: a table keyed anew, a
// repartition topic, a changelog of rows. %[1]s makes its names its own.
const rewindPipeline = `pipeline: %[1]srewind
sources:
  views: {topic: %[1]sviews, timestamp: seconds(timestamp), fields: {viewer: int, timestamp: int}}
tables:
  profiles: {topic: %[1]sprofiles, key: 'int(split(key, ":")[1])'}
  counts:
    from: titled t
    group_by: t.viewer
    select:
      - viewer: t.viewer
      - views: count()
      - last: max(t.timestamp)
      - title: max(len(t.title ?? ""))
streams:
  titled:
    from: views v
    join:
      - left: profiles p
        on: v.viewer == p.key
    select:
      - v.*
      - title: p.title
sinks:
  titles: {from: titled, topic: '%[1]stitles'}
  counts_out: {from: counts, topic: '%[1]scounts'}
`

// buffer collects what a command prints while others read it.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func newBuffer() *buffer { return &buffer{grew: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.grew <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// await waits until the text contains something.
func (b *buffer) await(t *testing.T, ctx context.Context, what string) {
	t.Helper()
	for !strings.Contains(b.String(), what) {
		select {
		case <-b.grew:
		case <-ctx.Done():
			t.Fatalf("never said %q:\n%s", what, b.String())
		}
	}
}

// exit runs one command line in this process and gives its exit code and what it printed.
func exit(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &errs, os.Getenv)
	code = a.execute(ctx, args)
	return code, out.String(), errs.String()
}

// rewindFixture writes the pipeline and its data, and makes all topics.
func rewindFixture(t *testing.T, on target) (file, prefix string) {
	t.Helper()
	dir := t.TempDir()
	prefix = fmt.Sprintf("r%d-", time.Now().UnixNano())
	file = filepath.Join(dir, "pipeline.yaml")
	var views, profiles bytes.Buffer
	for i := range 40 {
		fmt.Fprintf(&profiles, `{"key":"member:%d","timestamp":%d,"value":{"title":"title %d"}}`+"\n", i, 1413210000000+i, i)
	}
	for i := range 400 {
		viewer := i * 7 % 45 // some have no profile
		fmt.Fprintf(&views, `{"key":"view-%d","timestamp":%d,"value":{"viewer":%d,"timestamp":%d,"n":%d}}`+"\n", viewer, 1413215518000+i*1000, viewer, 1413215518+i, i)
	}
	for name, text := range map[string]string{
		"pipeline.yaml": fmt.Sprintf(rewindPipeline, prefix), "views.jsonl": views.String(), "profiles.jsonl": profiles.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for topic, from := range map[string]string{
		"views": filepath.Join(dir, "views.jsonl"), "profiles": filepath.Join(dir, "profiles.jsonl"), "titles": os.DevNull, "counts": os.DevNull,
	} {
		streamctl(t, slices.Concat([]string{"produce", prefix + topic, "--from", from, "--partitions", "4", "--config", "retention.ms=-1"}, on.broker)...)
	}
	return file, prefix
}

// outputs reads both sinks, per key.
func outputs(t *testing.T, prefix string, on target) map[string]map[string][]string {
	t.Helper()
	out := make(map[string]map[string][]string)
	for _, topic := range []string{"titles", "counts"} {
		out[topic] = perKey(t, streamctl(t, slices.Concat([]string{"consume", prefix + topic, "--until-end"}, on.broker)...))
	}
	return out
}

func TestARerunAfterARewindEqualsTheFirstRun(t *testing.T) {
	for name, make := range targets(t) {
		t.Run(name, func(t *testing.T) {
			on := make(t)
			file, prefix := rewindFixture(t, on)
			run := slices.Concat([]string{"run", file, "--until-end"}, on.broker)
			streamctl(t, run...)
			first := outputs(t, prefix, on)
			if len(first["titles"]) != 45 || len(first["counts"]) != 45 {
				t.Fatalf("first run: %d and %d keys, want 45 each", len(first["titles"]), len(first["counts"]))
			}

			plan := streamctl(t, slices.Concat([]string{"reset-offsets", file, "--to", "earliest", "--yes", "--output", "json"}, on.broker)...)
			var told struct {
				Deleted []string `json:"delete_topics"`
				Purged  []string `json:"purge_topics"`
				Done    bool     `json:"done"`
			}
			if err := json.Unmarshal([]byte(plan), &told); err != nil {
				t.Fatal(err)
			}
			if !told.Done || len(told.Deleted) != 2 || len(told.Purged) == 0 {
				t.Errorf("the rewind says %+v; want two changelogs deleted and repartition topics emptied", told)
			}
			for _, topic := range told.Purged {
				if left := streamctl(t, slices.Concat([]string{"consume", topic, "--until-end"}, on.broker)...); left != "" {
					t.Errorf("%s still holds records:\n%s", topic, left)
				}
			}
			streamctl(t, run...)
			second := outputs(t, prefix, on)
			for topic, keys := range first {
				for key, want := range keys {
					got := second[topic][key]
					if len(got) < len(want) {
						t.Fatalf("%s, key %s: %d records after the rerun, %d before", topic, key, len(got), len(want))
					}
					if diff := cmp.Diff(want, got[len(want):]); diff != "" {
						t.Errorf("%s, key %s: rerun (-first +rerun):\n%s", topic, key, diff)
					}
				}
			}
		})
	}
}

func TestARunningPipelineIsNotRewound(t *testing.T) {
	for name, make := range targets(t) {
		t.Run(name, func(t *testing.T) {
			on := make(t)
			file, _ := rewindFixture(t, on)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			running, stop := context.WithCancel(ctx)
			said := newBuffer()
			ended := newEnd()
			go func() {
				a := newApp(strings.NewReader(""), said, said, os.Getenv)
				ended <- a.execute(running, slices.Concat([]string{"run", file}, on.broker))
			}()
			said.await(t, ctx, `"msg":"ready"`)
			reset := slices.Concat([]string{"reset-offsets", file, "--to", "earliest", "--yes"}, on.broker)
			if code, out, errs := exit(ctx, reset...); code != exitRefused || !strings.Contains(errs, "the pipeline is running") {
				t.Errorf("reset-offsets while it runs: code %d\n%s%s", code, out, errs)
			}
			// A second process of the same directory is refused as well.
			if code, _, errs := exit(ctx, slices.Concat([]string{"run", file, "--until-end"}, on.broker)...); code != exitRefused || !strings.Contains(errs, "in use") {
				t.Errorf("second run on the same directory: code %d\n%s", code, errs)
			}
			stop()
			if code := <-ended; code != exitOK {
				t.Fatalf("told to stop, it ended with code %d:\n%s", code, said)
			}
			// Once it has gone it can be rewound at once.
			if code, out, errs := exit(ctx, reset...); code != exitOK {
				t.Errorf("reset-offsets after it stopped: code %d\n%s%s", code, out, errs)
			}
		})
	}
}

func newEnd() chan int { return make(chan int, 1) }
