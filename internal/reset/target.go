// Package reset plans and does the rewind of a pipeline: where its group's
// offsets go, and which of its state has to go with them so that a rerun gives
// what a first run would. It owns the forms of targets, the plan as data, and
// the order in which a plan is done. It speaks to brokers through the port
// Cluster and must not know a client.
package reset

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/record"
)

// TargetKind is a form of target.
type TargetKind uint8

const (
	Earliest  TargetKind = iota // the first record still there
	Latest                      // the end
	Offset                      // a number
	Timestamp                   // the first record at or after a time
	Shift                       // so many records on, or back, from where the group is
	File                        // as a file says, per partition
)

// Target is where offsets are to go.
type Target struct {
	Kind  TargetKind
	N     int64 // Offset: the offset; Shift: signed records; Timestamp: ms since the epoch
	Files map[record.TopicPartition]int64
}

// Targets names the forms, for messages.
const Targets = "earliest, latest, offset:N, timestamp:RFC3339-or-ms, duration:AGO, shift:+N or shift:-N, file:PATH"

// ParseTarget reads a target as it is written on the command line. now is what
// duration:1h counts back from.
func ParseTarget(text string, now time.Time) (Target, error) {
	form, arg, _ := strings.Cut(text, ":")
	switch form {
	case "earliest", "latest":
		if form != text {
			return Target{}, fmt.Errorf("target %q: %s takes no argument", text, form)
		}
		if form == "latest" {
			return Target{Kind: Latest}, nil
		}
		return Target{Kind: Earliest}, nil
	case "offset":
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n < 0 {
			return Target{}, fmt.Errorf("target %q: want offset:N with N from 0", text)
		}
		return Target{Kind: Offset, N: n}, nil
	case "shift":
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || (arg[0] != '+' && arg[0] != '-') {
			return Target{}, fmt.Errorf("target %q: want shift:+N or shift:-N", text)
		}
		return Target{Kind: Shift, N: n}, nil
	case "timestamp":
		ms, err := parseTime(arg)
		if err != nil {
			return Target{}, fmt.Errorf("target %q: %w", text, err)
		}
		return Target{Kind: Timestamp, N: ms}, nil
	case "duration":
		ago, err := parseAgo(arg)
		if err != nil || ago < 0 {
			return Target{}, fmt.Errorf("target %q: want a duration such as duration:1h30m or duration:2d, counted back from now", text)
		}
		return Target{Kind: Timestamp, N: now.Add(-ago).UnixMilli()}, nil
	case "file":
		files, err := readOffsets(arg)
		if err != nil {
			return Target{}, fmt.Errorf("target %q: %w", text, err)
		}
		return Target{Kind: File, Files: files}, nil
	}
	return Target{}, fmt.Errorf("target %q: want one of %s", text, Targets)
}

// parseAgo reads a duration as pipeline files write them: with days, which the
// standard library does not know.
func parseAgo(text string) (time.Duration, error) {
	days, rest, has := strings.Cut(text, "d")
	if !has {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 16) // the largest, 65535 days, fits a Duration
	if err != nil {
		return 0, err
	}
	ago := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return ago, nil
	}
	part, err := time.ParseDuration(rest)
	if err != nil || part < 0 {
		return 0, errors.Join(err, errors.New("what follows the days is no duration"))
	}
	return ago + part, nil
}

func parseTime(text string) (int64, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		if ms < 0 {
			return 0, errors.New("milliseconds before 1970")
		}
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, errors.New("want milliseconds since 1970 or RFC 3339 such as 2014-10-13T15:51:58Z")
	}
	return t.UnixMilli(), nil
}

// readOffsets reads a file of offsets: JSON, a list of
// {"topic":…,"partition":…,"offset":…}, or CSV, lines of topic,partition,offset.
func readOffsets(path string) (map[record.TopicPartition]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []offsetRow
	if strings.HasSuffix(path, ".json") {
		rows, err = readJSON(f)
	} else {
		rows, err = readCSV(f)
	}
	if err != nil {
		return nil, err
	}
	out := make(map[record.TopicPartition]int64, len(rows))
	for _, r := range rows {
		tp := record.TopicPartition{Topic: r.Topic, Partition: r.Partition}
		if r.Topic == "" || r.Partition < 0 || r.Offset < 0 {
			return nil, fmt.Errorf("topic %q, partition %d, offset %d: want a name and numbers from 0", r.Topic, r.Partition, r.Offset)
		}
		if _, twice := out[tp]; twice {
			return nil, fmt.Errorf("topic %q, partition %d is there twice", r.Topic, r.Partition)
		}
		out[tp] = r.Offset
	}
	if len(out) == 0 {
		return nil, errors.New("no offsets in the file")
	}
	return out, nil
}

type offsetRow struct {
	Topic     string
	Partition int32
	Offset    int64
}

func readJSON(r io.Reader) ([]offsetRow, error) {
	// Pointers: a member that was forgotten must not become partition 0, or offset 0.
	var given []struct {
		Topic     string `json:"topic"`
		Partition *int32 `json:"partition"`
		Offset    *int64 `json:"offset"`
	}
	const want = `want [{"topic":…,"partition":…,"offset":…}, …]`
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&given); err != nil {
		return nil, fmt.Errorf("%s: %w", want, err)
	}
	rows := make([]offsetRow, 0, len(given))
	for i, g := range given {
		if g.Partition == nil || g.Offset == nil {
			return nil, fmt.Errorf("%s: element %d lacks its partition or its offset", want, i+1)
		}
		rows = append(rows, offsetRow{g.Topic, *g.Partition, *g.Offset})
	}
	return rows, nil
}

func readCSV(r io.Reader) ([]offsetRow, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = 3
	in.TrimLeadingSpace = true
	in.Comment = '#'
	var rows []offsetRow
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("want lines of topic,partition,offset: %w", err)
		}
		line, _ := in.FieldPos(0)
		part, err1 := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 32)
		offset, err2 := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			if line == 1 && fields[0] == "topic" { // a heading
				continue
			}
			return nil, fmt.Errorf("line %d: want topic,partition,offset", line)
		}
		rows = append(rows, offsetRow{strings.TrimSpace(fields[0]), int32(part), offset})
	}
}

// Selection restricts a rewind to a topic, or to some of its partitions.
type Selection struct {
	Topic      string
	Partitions []int32 // nil = all
}

// ParseSelection reads "topic" or "topic:0,3".
func ParseSelection(text string) (Selection, error) {
	topic, list, some := strings.Cut(text, ":")
	if topic == "" {
		return Selection{}, fmt.Errorf("topic %q: want TOPIC or TOPIC:0,3", text)
	}
	s := Selection{Topic: topic}
	if !some {
		return s, nil
	}
	for _, field := range strings.Split(list, ",") {
		p, err := strconv.ParseInt(field, 10, 32)
		if err != nil || p < 0 {
			return Selection{}, fmt.Errorf("topic %q: %q is not a partition number", text, field)
		}
		s.Partitions = append(s.Partitions, int32(p))
	}
	return s, nil
}
