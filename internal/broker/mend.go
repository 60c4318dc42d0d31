package broker

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// mend puts in order what the server left in dir, before the server reads it:
//
//   - a batch that was cut off, or has no index entry, is cut off or indexed;
//   - a commit that was under way is carried to its end when it had begun
//     (journal.go), so that a transaction is in all of its partitions and the
//     group's offsets, or in none;
//   - a transaction that was open gets an abort marker on disk. The server
//     takes it for aborted, but only in memory: at its next start it would take
//     the marker of the same producer's next transaction for this one's, and
//     bring the aborted records back;
//   - a partition whose records were all deleted gets one marker below its old
//     end, without which the server would number its records from 0 again;
//   - members and transactions of the last run are forgotten: the broker is
//     reached at another port now, none of them can come back.
//
// A partition that was closed in an orderly way is not read at all.
func mend(dir string, log *slog.Logger) error {
	topics, err := readTopics(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // never started
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, "session_state.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := removeStrays(dir, topics); err != nil {
		return err
	}
	in, err := readIntent(dir)
	if err != nil {
		return err
	}
	floors, err := readFloors(dir)
	if err != nil {
		return err
	}
	parts := make(map[partKey]*partition)
	kept := make(map[partKey]int64)
	for _, t := range topics {
		for p := range t.Partitions {
			key := partKey{t.Name, p}
			part, err := openPartition(partitionDir(dir, t.Name, p), floors[key])
			if err != nil {
				return err
			}
			parts[key] = part
			if floors[key] > 0 {
				kept[key] = floors[key]
			}
		}
	}
	if err := endTransactions(dir, parts, in, log); err != nil {
		return err
	}
	return writeFloors(dir, kept)
}

// topicInfo is what the server's list of topics says of one.
type topicInfo struct {
	Name       string `json:"name"`
	Partitions int32  `json:"partitions"`
}

func readTopics(dir string) ([]topicInfo, error) {
	data, err := os.ReadFile(filepath.Join(dir, "topics.json"))
	if err != nil {
		return nil, err
	}
	var list struct {
		Version int         `json:"version"`
		Topics  []topicInfo `json:"topics"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	if list.Version != indexVersion {
		return nil, fmt.Errorf("read topics: format version %d, want %d", list.Version, indexVersion)
	}
	return list.Topics, nil
}

// partitionDir is where the server keeps a partition. Kafka's topic names need no escaping.
func partitionDir(dir, topic string, part int32) string {
	return filepath.Join(dir, "partitions", topic+"-"+strconv.Itoa(int(part)))
}

// removeStrays removes the directories of topics whose deletion was not
// finished: a new topic of that name would find the old one's records.
func removeStrays(dir string, topics []topicInfo) error {
	known := make(map[string]bool)
	for _, t := range topics {
		for p := range t.Partitions {
			known[partitionDir(dir, t.Name, p)] = true
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, "partitions", e.Name())
		if known[path] {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// endTransactions ends every transaction that the kill left open: commits the
// one of in when its commit had begun, aborts the others.
func endTransactions(dir string, parts map[partKey]*partition, in *intent, log *slog.Logger) error {
	if in != nil {
		if err := redo(dir, parts, in, log); err != nil {
			return err
		}
	}
	for key, part := range parts {
		for pid, epoch := range part.open {
			log.Debug("embedded broker: abort a transaction left open", "topic", key.topic, "partition", key.part, "producer", pid)
			if err := part.appendMarker(pid, epoch, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// redo carries the commit of in to its end if the server had begun it: if one
// of its partitions has grown since, or one of its offsets is there.
func redo(dir string, parts map[partKey]*partition, in *intent, log *slog.Logger) error {
	begun := false
	var missing []*partition
	for _, p := range in.Parts {
		part := parts[partKey{p.Topic, p.Part}]
		switch {
		case part == nil: // deleted since: an orderly request, so the commit was done
			begun = true
		case part.end > p.End:
			begun = true
		default:
			missing = append(missing, part)
		}
	}
	path := filepath.Join(dir, "groups.log")
	if !begun && len(in.Parts) == 0 {
		var err error
		if begun, err = anyOffsetThere(path, in.Offsets); err != nil {
			return err
		}
	}
	if begun {
		for _, part := range missing {
			log.Info("embedded broker: finish a commit that a kill interrupted", "partition", filepath.Base(part.dir), "producer", in.PID)
			if err := part.appendMarker(in.PID, in.Epoch, true); err != nil {
				return err
			}
		}
		if err := appendOffsets(path, in.Offsets); err != nil {
			return err
		}
	}
	// Decided for good: the abort markers to come must not look like a beginning.
	return clearIntent(dir)
}

// groupEntry is a committed offset in the server's log of groups.
type groupEntry struct {
	Type     string  `json:"type"`
	Group    string  `json:"g"`
	Topic    string  `json:"t,omitempty"`
	Part     int32   `json:"p,omitempty"`
	Offset   int64   `json:"o,omitempty"`
	Epoch    int32   `json:"e,omitempty"`
	Metadata *string `json:"m,omitempty"`
	Time     *int64  `json:"lc,omitempty"`
}

// logHead is the framing of the server's logs, little endian: length of what
// follows the length and checksum (4), Castagnoli checksum of that (4), version (2).
const logHead = 10

func anyOffsetThere(path string, offsets []intentOffset) (bool, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	last := make(map[string]int64)
	for len(raw) >= logHead {
		n := int(binary.LittleEndian.Uint32(raw)) + 8
		if n < logHead || n > len(raw) {
			break
		}
		var e groupEntry
		if err := json.Unmarshal(raw[logHead:n], &e); err == nil && e.Type == "commit" {
			last[fmt.Sprintf("%s\x00%s\x00%d", e.Group, e.Topic, e.Part)] = e.Offset
		}
		raw = raw[n:]
	}
	for _, o := range offsets {
		if at, ok := last[fmt.Sprintf("%s\x00%s\x00%d", o.Group, o.Topic, o.Part)]; ok && at == o.Offset {
			return true, nil
		}
	}
	return false, nil
}

func appendOffsets(path string, offsets []intentOffset) error {
	if err := cutLog(path); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	var out []byte
	for _, o := range offsets {
		body, err := json.Marshal(groupEntry{
			Type: "commit", Group: o.Group, Topic: o.Topic, Part: o.Part,
			Offset: o.Offset, Epoch: o.Epoch, Metadata: o.Metadata, Time: &now,
		})
		if err != nil {
			return err
		}
		versioned := append(binary.LittleEndian.AppendUint16(nil, indexVersion), body...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(versioned)))
		out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(versioned, crc32.MakeTable(crc32.Castagnoli)))
		out = append(out, versioned...)
	}
	return appendFile(path, out)
}

// cutLog takes a half-written entry off the end of one of the server's logs,
// behind which nothing would be read.
func cutLog(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pos := 0
	for pos+logHead <= len(raw) {
		n := int(binary.LittleEndian.Uint32(raw[pos:])) + 8
		if n < logHead || pos+n > len(raw) {
			break
		}
		pos += n
	}
	if pos == len(raw) {
		return nil
	}
	return os.Truncate(path, int64(pos))
}

// clusterID reads the identity of the broker in dir, or makes one.
func clusterID(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if errors.Is(err, os.ErrNotExist) {
		id := make([]byte, 11)
		if _, err := rand.Read(id); err != nil {
			return "", fmt.Errorf("make cluster id: %w", err)
		}
		return hex.EncodeToString(id), nil
	}
	if err != nil {
		return "", fmt.Errorf("read cluster id: %w", err)
	}
	var meta struct {
		ID string `json:"cluster_id"`
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return "", fmt.Errorf("read cluster id: %w", err)
	}
	return meta.ID, nil
}
