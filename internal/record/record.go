// Package record holds the shapes that cross every layer: records as Kafka
// stores them, where they came from, and batches of them. It knows nothing of
// formats, expressions or clients.
package record

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Header is one record header. Keys may repeat; order is kept.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record as it lies in a topic. A nil Key or Value is Kafka's
// null; an empty non-nil slice is an empty value. Whoever holds a Record may
// keep its slices: they are never written again.
type Record struct {
	Key     []byte
	Value   []byte
	Time    int64 // Kafka timestamp, milliseconds since the epoch, -1 when unset
	Offset  int64
	Headers []Header
}

// Position is the origin of a record.
type Position struct {
	TopicPartition
	Offset int64
}
