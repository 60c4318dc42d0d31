package operators

import "encoding/binary"

// Rows of most tables are their JSON as it stands. Where the event time of a row
// matters (the time of what a join of tables gives is the greatest of those
// involved) the table is timed: its rows are
//
//	1 | event time, ms (varint) | JSON
//
// No JSON begins with that byte, so that either form can be read.
const timedRow = 0x01

// appendTimed writes a row with its time; nil stays nil, which deletes.
func appendTimed(dst []byte, time int64, doc []byte) []byte {
	if doc == nil {
		return nil
	}
	return append(binary.AppendVarint(append(dst, timedRow), time), doc...)
}

// splitTimed takes a row apart; timed is false for one without a time.
func splitTimed(row []byte) (doc []byte, time int64, timed bool) {
	if len(row) == 0 || row[0] != timedRow {
		return row, 0, false
	}
	time, n := binary.Varint(row[1:])
	if n <= 0 {
		return row, 0, false
	}
	return row[1+n:], time, true
}

// rowDoc is the JSON of a row of either form.
func rowDoc(row []byte) []byte {
	doc, _, _ := splitTimed(row)
	return doc
}
