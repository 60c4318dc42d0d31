package state

import (
	"encoding/binary"
	"fmt"

	"streamctl/internal/record"
)

// The key space of the store. Numbers are big endian, so that keys sort by
// store, partition, key:
//
//	store id (4) | partition (4) | user key      a row
//	0 (4) | 'v'                                  format version of the store
//	0 (4) | 'n' | name                           id (4) of a sub-topology ("sub") or a table ("sub/table")
//	0 (4) | 't' | sub id (4) | partition (4) | kind | rest
//	    kind 'm', rest name                      a mark
//	    kind 'p', rest topic | partition (4)     a position, 8 bytes
//	    kind 's'                                 stream time in ms, 8 bytes
//	    kind 'w'                                 wall-clock time of the last epoch in ms, 8 bytes
//	    kind 'l'                                 a bulk load is being handed to the store
//
// Id 0 is never given to a name: what is not a row is never among rows.
const (
	prefixLen = 8

	metaVersion = 'v'
	metaName    = 'n'
	metaTask    = 't'

	kindMark       = 'm'
	kindPosition   = 'p'
	kindStreamTime = 's'
	kindSavedAt    = 'w'
	kindLoading    = 'l'
)

const taskPrefixLen = 4 + 1 + 4 + 4

// tablePrefix begins the keys of one table's rows in one partition.
func tablePrefix(id uint32, partition int32) (p [prefixLen]byte) {
	binary.BigEndian.PutUint32(p[:], id)
	binary.BigEndian.PutUint32(p[4:], uint32(partition))
	return p
}

// metaKey is a key of the store's own: kind and rest.
func metaKey(kind byte, rest string) []byte {
	return append([]byte{0, 0, 0, 0, kind}, rest...)
}

// taskPrefix begins everything that is stored of a task beside its rows.
func taskPrefix(sub uint32, partition int32) []byte {
	b := binary.BigEndian.AppendUint32(metaKey(metaTask, ""), sub)
	return binary.BigEndian.AppendUint32(b, uint32(partition))
}

// positionKey appends to a task prefix what makes it the key of tp's position.
func positionKey(dst []byte, tp record.TopicPartition) []byte {
	dst = append(dst, kindPosition)
	dst = append(dst, tp.Topic...)
	return binary.BigEndian.AppendUint32(dst, uint32(tp.Partition))
}

// parsePosition reads rest of a position key.
func parsePosition(rest []byte) (record.TopicPartition, error) {
	if len(rest) < 5 {
		return record.TopicPartition{}, fmt.Errorf("read position key %q: %w", rest, ErrCorrupt)
	}
	n := len(rest) - 4
	return record.TopicPartition{
		Topic:     string(rest[:n]),
		Partition: int32(binary.BigEndian.Uint32(rest[n:])),
	}, nil
}

// keyAfter is the first key behind all that begin with prefix, nil when there is none.
func keyAfter(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// checkName refuses names that could not be file or topic names: they appear
// in both, and must not lead out of a directory.
func checkName(what, name string) error {
	if name == "" || len(name) > 200 || name[0] == '.' {
		return fmt.Errorf("check %s name %q: must have 1 to 200 characters and not begin with a dot", what, name)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("check %s name %q: only letters, digits, '-', '_' and '.' are allowed", what, name)
		}
	}
	return nil
}
