package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"streamctl/internal/codec"
	"streamctl/internal/engine"
	"streamctl/internal/lines"
	"streamctl/internal/record"
)

const (
	// newTopicPartitions is what a topic made on the embedded broker gets.
	newTopicPartitions = 4
	// flushBytes may be on their way before produce waits for acknowledgements.
	flushBytes = 8 << 20
	// maxLine bounds a line of input: more would not fit into a record either.
	maxLine = 64 << 20
)

type produceFlags struct {
	brokerFlags
	pipeline   string
	from       string
	partitions int32
	configs    []string
}

func (a *app) produceCommand() *cobra.Command {
	f := new(produceFlags)
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write records from lines of JSON to a topic",
		Long: `Write records to a topic, one per line of the input:

  {"key":"1234","value":{"viewerId":1234},"timestamp":1413215518000,"headers":{"trace":"a1"}}

A key that is a JSON string is its text, any other JSON its compact text; a
value is the compact text of the JSON that stands there. null, or a member left
out, is Kafka's null. value_text is a value of plain text, key_base64 and
value_base64 are bytes. The timestamp is milliseconds since 1970 or RFC 3339,
by default now. Records go where their key says, as the Java client would put
them, unless the line names a "partition".

A topic that is missing is made on the embedded broker, and elsewhere when
--partitions says how many partitions it gets.`,
		Args: exactArgs(1, "TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.produce(cmd.Context(), f, args[0]) },
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.pipeline, "pipeline", "p", "", "take the kafka: section of this pipeline file")
	cmd.Flags().StringVar(&f.from, "from", "-", "file of JSON lines, - for the standard input")
	f.addTopic(cmd)
	return cmd
}

// addTopic adds what says how a missing topic is made.
func (f *produceFlags) addTopic(cmd *cobra.Command) {
	cmd.Flags().Int32Var(&f.partitions, "partitions", 0, "partitions of the topic if it has to be made")
	cmd.Flags().StringArrayVar(&f.configs, "config", nil, "setting of the topic if it has to be made, as NAME=VALUE; may be repeated")
}

func (a *app) produce(ctx context.Context, f *produceFlags, topic string) error {
	in, err := a.openInput(f.from)
	if err != nil {
		return err
	}
	defer in.Close()
	return a.produceFrom(ctx, f, topic, lineReader(ctx, in, f.from))
}

// openInput opens a file, or the standard input for "-".
func (a *app) openInput(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	return f, nil
}

// lineReader gives the records of a text, one per call; io.EOF at its end. It
// reads ahead in a goroutine of its own, because reading the standard input
// does not end with ctx; the goroutine ends with the text or the process.
func lineReader(ctx context.Context, in io.Reader, name string) func() (lines.Parsed, error) {
	if name == "-" {
		name = "standard input"
	}
	type item struct {
		parsed lines.Parsed
		err    error
	}
	items := make(chan item, 256)
	go func() {
		scan := bufio.NewScanner(in)
		scan.Buffer(make([]byte, 0, 1<<16), maxLine)
		n := 0
		for scan.Scan() {
			n++
			text := scan.Bytes()
			if len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			p, err := lines.Parse(text)
			if err != nil {
				err = fmt.Errorf("%s, line %d: %w", name, n, err)
			}
			select {
			case items <- item{p, err}:
			case <-ctx.Done():
				return
			}
		}
		last := item{err: io.EOF}
		if err := scan.Err(); err != nil {
			last.err = fmt.Errorf("%s, line %d: %w", name, n+1, err)
		}
		select {
		case items <- last:
		case <-ctx.Done():
		}
	}()
	return func() (lines.Parsed, error) {
		select {
		case it := <-items:
			return it.parsed, it.err
		case <-ctx.Done():
			return lines.Parsed{}, ctx.Err()
		}
	}
}

// produceFrom sends what next gives until io.EOF, and says how much it was.
func (a *app) produceFrom(ctx context.Context, f *produceFlags, topic string, next func() (lines.Parsed, error)) error {
	settings, err := a.kafkaOf(f.pipeline)
	if err != nil {
		return err
	}
	sent := 0
	err = a.withSession(ctx, &f.brokerFlags, settings, kafkaOptions{}, func(e *endpoint, s session) error {
		partitions, err := f.ensureTopic(ctx, s.Admin(), topic, e.embedded())
		if err != nil {
			return err
		}
		producer, err := s.NewProducer(ctx, "", false)
		if err != nil {
			return fmt.Errorf("open producer: %w", err)
		}
		out := &sender{producer: producer, topic: topic, partitions: partitions, now: func() int64 { return a.now().UnixMilli() }}
		sendErr := out.sendAll(ctx, next)
		sent = out.acknowledged
		return errors.Join(sendErr, producer.Close(context.WithoutCancel(ctx)))
	})
	if err != nil {
		if sent > 0 {
			return fmt.Errorf("%w (%d records before it are in %s)", err, sent, topic)
		}
		return err
	}
	if a.output == outputJSON {
		return a.printJSON(map[string]any{"topic": topic, "records": sent})
	}
	_, err = fmt.Fprintf(a.stdout, "%d records produced to %s\n", sent, topic)
	return err
}

// ensureTopic gives the number of partitions of a topic, and makes it when that is allowed.
func (f *produceFlags) ensureTopic(ctx context.Context, admin engine.Admin, topic string, embedded bool) (int32, error) {
	found, err := admin.Topics(ctx, []string{topic})
	if err != nil {
		return 0, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	if info, ok := found[topic]; ok {
		if f.partitions > 0 && info.Partitions != f.partitions {
			return 0, fmt.Errorf("topic %s exists with %d partitions, not %d", topic, info.Partitions, f.partitions)
		}
		return info.Partitions, nil
	}
	n := f.partitions
	if n == 0 && !embedded {
		return 0, fmt.Errorf("topic %s does not exist; give --partitions to make it", topic)
	}
	if n == 0 {
		n = newTopicPartitions
	}
	configs := make(map[string]string)
	for _, c := range f.configs {
		name, value, ok := strings.Cut(c, "=")
		if !ok || name == "" {
			return 0, usagef("--config %s: want NAME=VALUE", c)
		}
		configs[name] = value
	}
	if err := admin.CreateTopic(ctx, topic, n, configs); err != nil {
		return 0, fmt.Errorf("create topic %s: %w", topic, err)
	}
	return n, nil
}

// sender sends records to one topic through the engine's producer port, and
// bounds how much is on its way. While one unit is being acknowledged the next
// is filled.
type sender struct {
	producer   engine.Producer
	topic      string
	partitions int32
	now        func() int64 // ms

	filled       int // bytes in the unit at hand
	records      int // records in it
	acknowledged int
	inFlight     chan error // one answer per unit; nil before the first
	flying       int        // records in the unit on its way
	turn         int32      // partition of the next record without a key
}

func (s *sender) sendAll(ctx context.Context, next func() (lines.Parsed, error)) error {
	for {
		p, err := next()
		if errors.Is(err, io.EOF) {
			return s.finish(ctx)
		}
		if err == nil {
			err = s.send(p)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil { // what came before the fault still counts
			return errors.Join(err, s.finish(context.WithoutCancel(ctx)))
		}
		if s.filled >= flushBytes {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (s *sender) send(p lines.Parsed) error {
	partition := p.Partition
	switch {
	case partition >= s.partitions:
		return fmt.Errorf("topic %s has %d partitions, no partition %d", s.topic, s.partitions, partition)
	case partition >= 0:
	case p.Record.Key != nil:
		partition = codec.Partition(p.Record.Key, s.partitions)
	default:
		partition = s.turn
		s.turn = (s.turn + 1) % s.partitions
	}
	if p.Record.Time < 0 {
		p.Record.Time = s.now()
	}
	s.producer.Send(record.TopicPartition{Topic: s.topic, Partition: partition}, p.Record)
	s.filled += len(p.Record.Key) + len(p.Record.Value)
	s.records++
	return s.producer.Err()
}

// flush ends the unit at hand, and waits for the one before it.
func (s *sender) flush(ctx context.Context) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.inFlight = make(chan error, 1)
	answer := s.inFlight
	s.producer.Commit(engine.Commit{}, func(r engine.CommitResult) { answer <- r.Err })
	s.flying = s.records
	s.filled, s.records = 0, 0
	return nil
}

func (s *sender) wait(ctx context.Context) error {
	if s.inFlight == nil {
		return nil
	}
	select {
	case err := <-s.inFlight:
		s.inFlight = nil
		if err == nil {
			err = s.producer.Err()
		}
		if err != nil {
			return fmt.Errorf("send records to %s: %w", s.topic, err)
		}
		s.acknowledged += s.flying
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sender) finish(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	return s.wait(ctx)
}
