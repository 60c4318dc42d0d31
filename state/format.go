package state

import (
	"encoding/binary"
	"fmt"
)

// A row in the store and in a changelog is
//
//	head (1) | [stamp length (uvarint) | stamp] | row
//
// The low four bits of the head are the format version (1), the high four are
// flags. Flag 0x10 says that a stamp follows: under at-least-once it tells
// which input positions the row has seen. Rows read back with an unknown version
// or flag are refused, never guessed; a later version is told from damage.
const (
	rowVersion   = 0x01
	versionMask  = 0x0f
	flagStamp    = 0x10
	knownFlags   = flagStamp
	storeVersion = 1
)

// appendHead begins a stored row.
func appendHead(dst, stamp []byte) []byte {
	if len(stamp) == 0 {
		return append(dst, rowVersion)
	}
	dst = append(dst, rowVersion|flagStamp)
	dst = binary.AppendUvarint(dst, uint64(len(stamp)))
	return append(dst, stamp...)
}

// DecodeChangelog returns the row in a changelog record's value, as it was put
// into the table. The row aliases value. A nil value (a tombstone) gives a nil
// row; a row of no bytes is not nil. The error is ErrCorrupt.
func DecodeChangelog(value []byte) (row []byte, err error) {
	row, _, err = DecodeStamped(value)
	return row, err
}

// DecodeStamped is DecodeChangelog that also returns the row's stamp, nil when
// it has none.
func DecodeStamped(value []byte) (row, stamp []byte, err error) {
	if value == nil {
		return nil, nil, nil
	}
	if len(value) == 0 {
		return nil, nil, fmt.Errorf("decode row: no version byte: %w", ErrCorrupt)
	}
	head := value[0]
	if head&versionMask > rowVersion {
		return nil, nil, fmt.Errorf("decode row: format %d, this program knows %d: %w", head&versionMask, rowVersion, ErrVersion)
	}
	if head&versionMask != rowVersion || head&^versionMask&^knownFlags != 0 {
		return nil, nil, fmt.Errorf("decode row: unknown format %#02x: %w", head, ErrCorrupt)
	}
	row = value[1:]
	if head&flagStamp != 0 {
		n, w := binary.Uvarint(row)
		if w <= 0 || n > uint64(len(row)-w) {
			return nil, nil, fmt.Errorf("decode row: stamp too long: %w", ErrCorrupt)
		}
		stamp, row = row[w:w+int(n)], row[w+int(n):]
	}
	return row, stamp, nil
}
