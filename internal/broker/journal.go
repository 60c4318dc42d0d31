package broker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	intentFile = "intent"
	floorsFile = "floors"
)

// journal writes down, before the server does them, the two things that the
// server does in several steps and that a kill would leave half done:
//
//   - the commit of a transaction: a marker in each partition, then each
//     committed offset. The server handles one request at a time, so at most
//     one commit can be torn: the intent file is one slot, valid from the
//     EndTxn request until the next request of any kind. It is left as it is
//     when the broker stops: doing a finished commit again changes nothing.
//   - the deletion of all records of a partition: the server keeps the end
//     offset of an empty partition nowhere, so it would begin at 0 again. The
//     floors file remembers it.
//
// The server calls it for each request, before it looks at it, in a goroutine
// of its own but never two at once.
type journal struct {
	cluster *kfake.Cluster
	intents *os.File
	floors  *os.File
	pending bool
	staged  map[producer]*intent
}

type producer struct {
	id    int64
	epoch int16
}

// intent is a transaction that is about to be committed.
type intent struct {
	PID     int64          `json:"pid"`
	Epoch   int16          `json:"epoch"`
	Parts   []intentPart   `json:"parts,omitempty"`
	Offsets []intentOffset `json:"offsets,omitempty"`
}

// intentPart is a partition of the transaction. The marker is the first thing
// the commit appends to it, at End.
type intentPart struct {
	Topic string `json:"t"`
	Part  int32  `json:"p"`
	End   int64  `json:"end"`
}

type intentOffset struct {
	Group    string  `json:"g"`
	Topic    string  `json:"t"`
	Part     int32   `json:"p"`
	Offset   int64   `json:"o"`
	Epoch    int32   `json:"e"`
	Metadata *string `json:"m,omitempty"`
}

// floor says that the log of a partition ended at Offset when it was emptied.
// With Part -1 it says that the topic was deleted: earlier floors are void.
type floor struct {
	Topic  string `json:"t"`
	Part   int32  `json:"p"`
	Offset int64  `json:"o"`
}

func openJournal(dir string) (*journal, error) {
	intents, err := os.OpenFile(filepath.Join(dir, intentFile), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	floors, err := os.OpenFile(filepath.Join(dir, floorsFile), os.O_CREATE|os.O_RDWR|os.O_APPEND, fileMode)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), intents.Close())
	}
	return &journal{intents: intents, floors: floors, staged: make(map[producer]*intent)}, nil
}

// watch has the journal see every request to cluster before it is handled.
func (j *journal) watch(cluster *kfake.Cluster) {
	j.cluster = cluster
	cluster.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if err := j.see(req); err != nil {
			return nil, err, true // the connection ends, nothing was done
		}
		return nil, nil, false
	})
}

func (j *journal) see(req kmsg.Request) error {
	if err := j.settle(); err != nil {
		return err
	}
	switch r := req.(type) {
	case *kmsg.AddPartitionsToTxnRequest:
		j.stageParts(r)
	case *kmsg.TxnOffsetCommitRequest:
		j.stageOffsets(r)
	case *kmsg.EndTxnRequest:
		return j.endTxn(r)
	case *kmsg.DeleteRecordsRequest:
		return j.deleteRecords(r)
	case *kmsg.DeleteTopicsRequest:
		return j.deleteTopics(r)
	}
	return nil
}

// settle empties the slot: the commit before this request has been done or refused.
func (j *journal) settle() error {
	if !j.pending {
		return nil
	}
	if _, err := j.intents.WriteAt(make([]byte, 4), 0); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.pending = false
	return nil
}

func (j *journal) stage(id int64, epoch int16) *intent {
	key := producer{id, epoch}
	in := j.staged[key]
	if in == nil {
		// A producer that comes back has a higher epoch: its older ones are done with.
		for k := range j.staged {
			if k.id == id && k.epoch < epoch {
				delete(j.staged, k)
			}
		}
		in = &intent{PID: id, Epoch: epoch}
		j.staged[key] = in
	}
	return in
}

func (j *journal) stageParts(r *kmsg.AddPartitionsToTxnRequest) {
	in := j.stage(r.ProducerID, r.ProducerEpoch)
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			in.Parts = append(in.Parts, intentPart{Topic: t.Topic, Part: p})
		}
	}
}

func (j *journal) stageOffsets(r *kmsg.TxnOffsetCommitRequest) {
	in := j.stage(r.ProducerID, r.ProducerEpoch)
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			in.Offsets = append(in.Offsets, intentOffset{
				Group: r.Group, Topic: t.Topic, Part: p.Partition,
				Offset: p.Offset, Epoch: p.LeaderEpoch, Metadata: p.Metadata,
			})
		}
	}
}

func (j *journal) endTxn(r *kmsg.EndTxnRequest) error {
	key := producer{r.ProducerID, r.ProducerEpoch}
	in := j.staged[key]
	delete(j.staged, key)
	if in == nil || !r.Commit {
		return nil
	}
	kept := in.Parts[:0]
	for _, p := range in.Parts {
		if info := j.cluster.PartitionInfo(p.Topic, p.Part); info != nil {
			p.End = info.HighWatermark
			kept = append(kept, p)
		}
	}
	in.Parts = kept
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	slot := binary.LittleEndian.AppendUint32(make([]byte, 0, 8+len(body)), uint32(len(body)))
	slot = binary.LittleEndian.AppendUint32(slot, crc32.ChecksumIEEE(body))
	if _, err := j.intents.WriteAt(append(slot, body...), 0); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.pending = true
	return nil
}

func (j *journal) deleteRecords(r *kmsg.DeleteRecordsRequest) error {
	var emptied []floor
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			info := j.cluster.PartitionInfo(t.Topic, p.Partition)
			if info != nil && (p.Offset == -1 || p.Offset == info.HighWatermark) {
				emptied = append(emptied, floor{t.Topic, p.Partition, info.HighWatermark})
			}
		}
	}
	return j.appendFloors(emptied)
}

func (j *journal) deleteTopics(r *kmsg.DeleteTopicsRequest) error {
	var gone []floor
	for _, name := range r.TopicNames {
		gone = append(gone, floor{Topic: name, Part: -1})
	}
	for _, t := range r.Topics {
		if t.Topic != nil {
			gone = append(gone, floor{Topic: *t.Topic, Part: -1})
		} else if info := j.cluster.TopicIDInfo(t.TopicID); info != nil {
			gone = append(gone, floor{Topic: info.Topic, Part: -1})
		}
	}
	return j.appendFloors(gone)
}

func (j *journal) appendFloors(floors []floor) error {
	if len(floors) == 0 {
		return nil
	}
	lines, err := floorLines(floors)
	if err != nil {
		return err
	}
	if _, err := j.floors.Write(lines); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func floorLines(floors []floor) ([]byte, error) {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, f := range floors {
		if err := enc.Encode(f); err != nil {
			return nil, fmt.Errorf("write journal: %w", err)
		}
	}
	return lines.Bytes(), nil
}

func (j *journal) close() error {
	return errors.Join(j.intents.Close(), j.floors.Close())
}

// readIntent gives the commit that was under way when the broker died, nil when there was none.
func readIntent(dir string) (*intent, error) {
	slot, err := os.ReadFile(filepath.Join(dir, intentFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if len(slot) < 8 {
		return nil, nil
	}
	n := int(binary.LittleEndian.Uint32(slot))
	if n == 0 || n > len(slot)-8 {
		return nil, nil
	}
	body := slot[8 : 8+n]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(slot[4:]) {
		return nil, nil // the kill came while the intent was written: the commit had not begun
	}
	in := new(intent)
	if err := json.Unmarshal(body, in); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return in, nil
}

// clearIntent empties the slot.
func clearIntent(dir string) error {
	if err := os.Truncate(filepath.Join(dir, intentFile), 0); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

type partKey struct {
	topic string
	part  int32
}

// readFloors gives the greatest floor per partition. A line that the kill cut off is left out.
func readFloors(dir string) (map[partKey]int64, error) {
	floors := make(map[partKey]int64)
	f, err := os.Open(filepath.Join(dir, floorsFile))
	if errors.Is(err, os.ErrNotExist) {
		return floors, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return floors, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		var fl floor
		if err := json.Unmarshal(line, &fl); err != nil {
			return nil, fmt.Errorf("read journal: floors: %w", err)
		}
		if fl.Part == -1 {
			maps.DeleteFunc(floors, func(k partKey, _ int64) bool { return k.topic == fl.Topic })
			continue
		}
		key := partKey{fl.Topic, fl.Part}
		floors[key] = max(floors[key], fl.Offset)
	}
}

// writeFloors replaces the floors file by one line per partition.
func writeFloors(dir string, floors map[partKey]int64) error {
	list := make([]floor, 0, len(floors))
	for key, offset := range floors {
		list = append(list, floor{key.topic, key.part, offset})
	}
	lines, err := floorLines(list)
	if err != nil {
		return err
	}
	return writeFileAtomic(filepath.Join(dir, floorsFile), lines)
}
