package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"streamctl/internal/engine"
	"streamctl/internal/lines"
	"streamctl/internal/record"
)

type consumeFlags struct {
	brokerFlags
	pipeline      string
	fromBeginning bool
	untilEnd      bool
	isolation     string
}

func (a *app) consumeCommand() *cobra.Command {
	f := new(consumeFlags)
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Print the records of a topic as lines of JSON",
		Long: `Print the records of all partitions of a topic, one JSON object per line, in the
form that produce takes, with partition and offset. Without --from-beginning
only what arrives from now on. With --until-end it prints what is there now, in
the order of the records' times (within a partition in their order), and ends.

A value that is JSON is printed as value, other text as value_text, bytes as
value_base64. --output text prints partition, offset, time, key and value in
columns instead.`,
		Args: exactArgs(1, "TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Lines of JSON are what this command is for.
			text := a.output == outputText && cmd.Flags().Changed("output")
			return a.consume(cmd.Context(), f, args[0], text)
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.pipeline, "pipeline", "p", "", "take the kafka: section of this pipeline file")
	cmd.Flags().BoolVar(&f.fromBeginning, "from-beginning", false, "print what is there already, too")
	cmd.Flags().BoolVar(&f.untilEnd, "until-end", false, "stop at what is the end now (with it, --from-beginning is meant)")
	cmd.Flags().StringVar(&f.isolation, "isolation", "read_committed", "read_committed, or read_uncommitted to see open and aborted transactions")
	return cmd
}

func (a *app) consume(ctx context.Context, f *consumeFlags, topic string, text bool) error {
	var iso engine.Isolation
	switch f.isolation {
	case "read_committed":
		iso = engine.ReadCommitted
	case "read_uncommitted":
		iso = engine.ReadUncommitted
	default:
		return usagef("--isolation %s: want read_committed or read_uncommitted", f.isolation)
	}
	settings, err := a.kafkaOf(f.pipeline)
	if err != nil {
		return err
	}
	return a.withSession(ctx, &f.brokerFlags, settings, kafkaOptions{}, func(_ *endpoint, s session) error {
		c, err := f.open(ctx, s, topic, iso)
		if err != nil {
			return err
		}
		defer c.source.Close()
		out := bufio.NewWriter(a.stdout)
		c.print = func(tp record.TopicPartition, rec *record.Record) error { return writeRecord(out, tp, rec, text) }
		c.flush = out.Flush
		err = c.run(ctx, f.untilEnd)
		if errors.Is(err, context.Canceled) {
			err = nil // being told to stop is how it ends
		}
		return errors.Join(err, out.Flush())
	})
}

// consumer reads all partitions of a topic.
type consumer struct {
	source engine.Source
	print  func(record.TopicPartition, *record.Record) error
	flush  func() error
	parts  []*partition
	byTP   map[record.TopicPartition]*partition
}

// partition is one partition on its way to its end.
type partition struct {
	tp    record.TopicPartition
	end   int64 // stop here; -1 = never
	next  int64
	heads []record.Record // fetched, not printed
	from  []*engine.Fetched
}

func (p *partition) done() bool { return p.end >= 0 && p.next >= p.end && len(p.heads) == 0 }

// open starts to read every partition from where the flags say.
func (f *consumeFlags) open(ctx context.Context, s session, topic string, iso engine.Isolation) (*consumer, error) {
	found, err := s.Admin().Topics(ctx, []string{topic})
	if err != nil {
		return nil, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	info, ok := found[topic]
	if !ok {
		return nil, fmt.Errorf("topic %s does not exist", topic)
	}
	c := &consumer{byTP: make(map[record.TopicPartition]*partition)}
	var tps []record.TopicPartition
	for n := range info.Partitions {
		tps = append(tps, record.TopicPartition{Topic: topic, Partition: n})
	}
	// What a transaction has written counts as there from the moment it was
	// written: one that has just committed may still lack its markers. Reading up
	// to here waits until every transaction before it is decided.
	ends, err := s.Admin().Ends(ctx, tps, engine.ReadUncommitted)
	if err != nil {
		return nil, fmt.Errorf("read ends of %s: %w", topic, err)
	}
	from := ends
	if f.fromBeginning || f.untilEnd {
		if from, err = s.Admin().Starts(ctx, tps); err != nil {
			return nil, fmt.Errorf("read starts of %s: %w", topic, err)
		}
	}
	if c.source, err = s.NewSource(); err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	for _, tp := range tps {
		p := &partition{tp: tp, end: -1, next: from[tp]}
		if f.untilEnd {
			p.end = ends[tp]
		}
		c.parts = append(c.parts, p)
		c.byTP[tp] = p
		if !p.done() {
			c.source.Start(tp, p.next, iso)
		}
	}
	return c, nil
}

// run prints until all partitions have reached their ends, or ctx ends.
func (c *consumer) run(ctx context.Context, untilEnd bool) error {
	stop := context.AfterFunc(ctx, c.source.Wake)
	defer stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, f := range c.source.Poll(time.Second) {
			if f.Err != nil {
				return fmt.Errorf("read %s/%d: %w", f.TP.Topic, f.TP.Partition, f.Err)
			}
			c.take(f)
		}
		if err := c.printReady(untilEnd); err != nil {
			return err
		}
		if err := c.flush(); err != nil {
			return fmt.Errorf("print records: %w", err)
		}
		if untilEnd && c.allDone() {
			return nil
		}
	}
}

func (c *consumer) allDone() bool {
	for _, p := range c.parts {
		if !p.done() {
			return false
		}
	}
	return true
}

// take adds what was fetched to its partition.
func (c *consumer) take(f *engine.Fetched) {
	p := c.byTP[f.TP]
	reached := p.end >= 0 && p.next >= p.end
	for i := range f.Records {
		if p.end < 0 || f.Records[i].Offset < p.end {
			p.heads = append(p.heads, f.Records[i])
		}
	}
	p.next = max(p.next, f.Next)
	if len(p.heads) == 0 {
		c.source.Release(f)
	} else {
		p.from = append(p.from, f)
	}
	if !reached && p.end >= 0 && p.next >= p.end {
		c.source.Stop(p.tp)
	}
}

// printReady prints what can be printed now: everything, or, where the
// partitions are merged by time, as long as each has a record to compare.
func (c *consumer) printReady(merge bool) error {
	for {
		var least *partition
		for _, p := range c.parts {
			if len(p.heads) == 0 {
				if merge && !p.done() {
					return nil
				}
				continue
			}
			if least == nil || p.heads[0].Time < least.heads[0].Time {
				least = p
			}
		}
		if least == nil {
			return nil
		}
		if err := c.print(least.tp, &least.heads[0]); err != nil {
			return fmt.Errorf("print records: %w", err)
		}
		least.heads = least.heads[1:]
		if len(least.heads) == 0 {
			for _, f := range least.from {
				c.source.Release(f)
			}
			least.from = nil
		}
	}
}

// writeRecord prints one record.
func writeRecord(w io.Writer, tp record.TopicPartition, rec *record.Record, text bool) error {
	var line []byte
	if text {
		line = fmt.Appendf(nil, "%d:%d\t%s\t%s\t%s", tp.Partition, rec.Offset,
			time.UnixMilli(rec.Time).UTC().Format("2006-01-02T15:04:05.000Z"), orNull(rec.Key), orNull(rec.Value))
	} else {
		line = lines.Append(nil, tp, rec)
	}
	_, err := w.Write(append(line, '\n'))
	return err
}

func orNull(b []byte) []byte {
	if b == nil {
		return []byte("null")
	}
	return b
}
