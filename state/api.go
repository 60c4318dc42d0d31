// Package state keeps what the tables of a pipeline hold: rows, and with them
// the input positions, stream time and marks they belong to. One Pebble store
// per process holds all of it; in front of it lies a bounded cache of decoded
// rows with the writes that are not committed yet.
//
// The package owns the key layout, the row format of store and changelog, the
// cache, the atomic unit that a commit writes, and bulk restore. It must not
// know what a row means, how it is decoded, or how Kafka is spoken to: callers
// hand it bytes (or an Encoder) and read its positions.
//
// Kafka is the truth. A unit of changes is written here only after Kafka has
// committed it, together with the positions it belongs to, so the store is
// never newer than Kafka; after a crash it is at worst some units older, and
// restoring from the stored positions brings it back.
package state

// TableSpec describes one table of a task.
type TableSpec struct {
	// Name is what the user wrote; it identifies the state across versions.
	Name string
	// Changelog is the topic that changed rows are sent to at commit, "" when
	// the table is fed by a topic that is its changelog.
	Changelog string
}

// Encoder is a decoded row that knows its bytes. A row whose Decoded is an
// Encoder may be changed in place and is encoded only once per commit.
type Encoder interface {
	// AppendRow appends the row's bytes to dst and returns the longer slice. It
	// must not keep dst.
	AppendRow(dst []byte) []byte
}

// Row is one row of a table, owned by the table's task. A *Row stays valid
// until the task's next Seal, Apply, or a later Put or Delete of its key; it
// must not be kept longer, nor be used by another goroutine.
type Row struct {
	// Value is the row's bytes, nil while Decoded alone holds the row (after
	// PutDecoded or MarkDirty). It is never written again: Decoded may point
	// into it.
	Value []byte
	// Decoded is the caller's own form of the row, kept as long as the row is
	// cached. It is nil after a load or Put; the caller sets it, preferably by
	// SetDecoded so that its memory counts.
	Decoded any

	key   string
	epoch uint64 // the last epoch of the task in which it was changed, 0 = as in the store
	slot  int32  // place in the table's ring, -1 once evicted
	size  int32  // what it is accounted for, bytes
	extra int32  // of these: Decoded
	used  bool   // since the clock's hand passed
	gone  bool   // there is no such row: deleted, or looked up in vain
}

// Key returns the row's key. The string is immutable and may be kept.
func (r *Row) Key() string { return r.key }
