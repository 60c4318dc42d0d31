package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"streamctl/internal/testkit"
	"streamctl/internal/testkit/corpus"
)

// What is searched, and the goal.
const (
	storedQueries = 100_000
	documentBytes = 1000
	// goalDocuments is how many documents per second of one core's time the search is to take.
	goalDocuments = 20_000
)

// matchPipeline searches a stream of documents by stored queries; %[4]s is the
// topic of the documents, %[5]s that of the queries, %[6]s what else is said of their table.
const matchPipeline = `pipeline: %[1]s
%[2]s
sources:
  documents: {topic: %[4]s, fields: {text: string}}
tables:
  alerts: {topic: %[5]s%[6]s}
streams:
  searched:
    from: documents d
    match: {queries: alerts q, text: d.text}
    select: [{matches: matched_keys}]
sinks:
  out:
    from: searched
    topic: %[3]s
`

// matches measures stored queries: in one partition, in as many as the other topics
// have, so that every document goes to each of them, and in every task.
func (b *bench) matches(ctx context.Context, c *testkit.Cluster, on string) error {
	for _, way := range []struct {
		partitions  int
		table, name string
	}{
		{1, "", "in one partition"},
		{b.opts.partitions, "", fmt.Sprintf("in %d partitions", b.opts.partitions)},
		{b.opts.partitions, ", replicate: true", "in every task"},
	} {
		err := b.best(func() (result, error) {
			r, err := b.matchOnce(ctx, c, way.partitions, way.table)
			r.name = fmt.Sprintf("documents of 1 KB against %d stored queries %s, exactly once, %s", storedQueries, way.name, on)
			return r, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// matchOnce measures one run with many documents less one with few of them, which reads
// the same queries and makes the same index of them.
func (b *bench) matchOnce(ctx context.Context, c *testkit.Cluster, partitions int, table string) (result, error) {
	const few = 64
	texts := corpus.New(1)
	names := [2]string{fmt.Sprintf("bench-documents-%d", b.serial), fmt.Sprintf("bench-queries-%d", b.serial)}
	err := errors.Join(c.CreateTopic(ctx, names[0], b.opts.partitions, "delete"), c.CreateTopic(ctx, names[1], partitions, "compact"))
	if err != nil {
		return result{}, err
	}
	b.progress("producing %d queries and %d documents", storedQueries, b.opts.documents)
	err = produceTexts(ctx, c, names[1], "query", storedQueries, func([]byte) []byte { return []byte(texts.Query()) })
	if err != nil {
		return result{}, err
	}
	document := func(dst []byte) []byte { return texts.AppendDocument(dst, documentBytes) }
	if err := produceTexts(ctx, c, names[0], "text", few, document); err != nil {
		return result{}, err
	}
	j, err := b.write(strings.NewReplacer("%[4]s", names[0], "%[5]s", names[1], "%[6]s", table).Replace(matchPipeline), guarantees[0].settings)
	if err != nil {
		return result{}, err
	}
	if _, _, err := b.runJob(ctx, c, j); err != nil { // the first load
		return result{}, err
	}
	if err := produceTexts(ctx, c, names[0], "text", few, document); err != nil {
		return result{}, err
	}
	idle, _, err := b.runJob(ctx, c, j)
	if err != nil {
		return result{}, err
	}
	if err := produceTexts(ctx, c, names[0], "text", few+b.opts.documents, document); err != nil {
		return result{}, err
	}
	full, _, err := b.runJob(ctx, c, j)
	if err != nil {
		return result{}, err
	}
	out, hits, err := count(ctx, c, j.out, `query-`)
	if want := int64(3*few + b.opts.documents); err == nil && (out != want || hits < want/2) {
		err = fmt.Errorf("%d documents came out, %d of them matched; want %d, and most matched", out, hits, want)
	}
	if err != nil {
		return result{}, err
	}
	full.wall, full.cpu = max(full.wall-idle.wall, time.Millisecond), full.cpu-idle.cpu
	if full.stats != nil && idle.stats != nil {
		full.stats.Mallocs -= idle.stats.Mallocs
	}
	return result{records: int64(b.opts.documents), usage: full, note: fmt.Sprintf(
		"%.0f documents/s per core, goal %d; less a start with %d documents (%v)",
		float64(b.opts.documents)/full.cpu.Seconds(), goalDocuments, few, idle.wall.Round(time.Millisecond))}, nil
}

// produceTexts sends texts, each as a member of an object.
func produceTexts(ctx context.Context, c *testkit.Cluster, topic, member string, n int, next func(dst []byte) []byte) error {
	i := -1
	_, err := c.Produce(ctx, topic, func() (testkit.Message, bool) {
		if i++; i >= n {
			return testkit.Message{}, false
		}
		return testkit.Message{Key: fmt.Appendf(nil, "query-%d", i), Value: fmt.Appendf(nil, `{%q:%q}`, member, next(nil))}, true
	})
	return err
}
