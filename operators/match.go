package operators

import (
	"encoding/binary"
	"errors"
	"hash/fnv"

	"streamctl/expr"
	"streamctl/internal/match"
	"streamctl/internal/record"
	"streamctl/internal/value"
)

// Stored queries lie in the partitions of their table, and every document must
// meet all of them. That takes three steps, with a topic of the pipeline's own between
// each two:
//
//	Scatter    sends a document to every partition of the queries
//	Match      finds the queries there that it satisfies
//	Gather     waits for the parts of all partitions and makes one result of them
//
// The document itself travels once: the copy that goes to the home partition
// has it, the others only what is searched. What is kept between the first part and
// the last is Gather's table. All copies of the documents of one task go the same
// ways in the same order, and their parts meet in one partition; so results leave in the order
// in which documents came.
//
// A replicated table needs none of this: see Search.

// Scatter sends documents to all partitions of a topic.
type Scatter struct {
	Policy *Policy
	Output int
	Topic  string
	Text   *expr.Program // what is searched: a text, or an object of texts by field
	Doc    *Doc          // what goes on behind
	Input  string        // the topic that the documents' task reads: with the partition it tells tasks apart
	// Origins numbers the outer topics for the origin header.
	Origins map[string]int
}

// Make implements Spec.
func (s *Scatter) Make(t *Task, _ Operator) (Operator, error) {
	op := &scatter{spec: s, task: t, partitions: t.Partitions(s.Topic), cut: textCutter{cutter: match.NewCutter()}}
	op.sender = appendSender(nil, s.Input, t.Partition)
	return op, nil
}

type scatter struct {
	spec       *Scatter
	task       *Task
	partitions int32
	sender     []byte
	json       []byte // what is searched
	cut        textCutter
}

// Process sends e.
func (s *scatter) Process(e *Event) error {
	if e.Null {
		s.task.Counters.Drop(s.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	if err := s.send(e); err != nil {
		return s.task.refuseEvent(s.spec.Policy, e, ReasonExpression, err)
	}
	return nil
}

func (s *scatter) send(e *Event) error {
	text, err := searchedText(s.spec.Text, &e.Frame)
	if err != nil {
		return err
	}
	a := &s.task.arena
	topic := s.spec.Origins[e.Origin.Topic]
	id := a.end(appendDocumentID(append(a.begin(32), s.sender...), topic, e.Origin))
	s.json = value.AppendJSON(s.json[:0], text)
	cut := a.end(s.cut.append(a.begin(arenaReserve), s.json))
	part, whole := s.form(cut, false), s.form(cut, true)
	whole, null, err := s.spec.Doc.append(whole, e, &e.Frame)
	if err != nil {
		return err
	}
	if null {
		return errors.New("scatter document: it has no value") // Null says so before
	}
	if cut == nil {
		whole = append(whole, '}')
	}
	whole = a.end(whole)
	headers := s.task.originHeaders(e, s.spec.Origins)
	home := s.task.Partition % s.partitions
	for p := range s.partitions {
		rec := record.Record{Key: id, Value: part, Time: e.Time, Offset: -1}
		if p == home {
			rec.Value, rec.Headers = whole, headers
		}
		s.task.Emitter.Emit(s.spec.Output, p, rec)
	}
	return nil
}

// form begins a copy with what is searched; one with a document is not at its end.
func (s *scatter) form(cut []byte, doc bool) []byte {
	a := &s.task.arena
	switch {
	case cut != nil && !doc:
		return cut
	case cut != nil:
		return append(a.begin(len(cut)+arenaReserve), cut...)
	}
	text := append(append(a.begin(len(s.json)+arenaReserve), textMember...), s.json...)
	if doc {
		return append(text, docMember...)
	}
	return a.end(append(text, '}'))
}

// isObject tells objects from all else.
func isObject(v value.Value) bool {
	return v.Kind == value.Map || v.Kind == value.Raw && !v.IsList()
}

// The parts of a document know each other by its id: who has sent it, and its
// origin. A record that gives several documents gives them one id; their parts
// then come in the same order from everywhere.
func appendDocumentID(sender []byte, topic int, at record.Position) []byte {
	id := binary.AppendUvarint(sender, uint64(topic))
	id = binary.AppendUvarint(id, uint64(at.Partition))
	return binary.AppendUvarint(id, uint64(at.Offset))
}

// senderHash is how many bytes stand for the topic of a sender's documents.
const senderHash = 4

// appendSender writes what tells one task that sends documents from another: a
// hash of the topic that it reads, and its partition.
func appendSender(dst []byte, topic string, partition int32) []byte {
	h := fnv.New32a()
	_, _ = h.Write([]byte(topic)) // a hash takes everything
	return binary.AppendUvarint(h.Sum(dst), uint64(partition))
}

// senderOf takes the sender off an id; it has no bytes when the id is none.
func senderOf(id []byte) (sender []byte, partition uint64) {
	if len(id) < senderHash {
		return nil, 0
	}
	partition, n := binary.Uvarint(id[senderHash:])
	if n <= 0 {
		return nil, 0
	}
	return id[:senderHash+n], partition
}

// originOf takes the offset off an id: what is left tells the sender with the
// partition that its document is from. It has no bytes when the id is none.
func originOf(id []byte) (origin []byte, offset uint64) {
	sender, _ := senderOf(id)
	if sender == nil {
		return nil, 0
	}
	at := len(sender)
	var n int
	for range 3 { // topic, partition, offset
		if offset, n = binary.Uvarint(id[at:]); n <= 0 {
			return nil, 0
		}
		origin, at = id[:at], at+n
	}
	return origin, offset
}

// Match is the head that reads the copies of documents and finds the queries
// of its partition.
type Match struct {
	Policy    *Policy
	Index     *QueryIndex
	Documents string // the topic that it reads
	Output    int    // where the parts go
	Topic     string // likewise
}

// Open implements Head.
func (s *Match) Open(t *Task) (Input, error) {
	q, err := t.queries(s.Index)
	if err != nil {
		return nil, err
	}
	return &matcher{spec: s, task: t, queries: q, of: t.Partitions(s.Documents), targets: t.Partitions(s.Topic)}, nil
}

type matcher struct {
	spec        *Match
	task        *Task
	queries     *queryIndex
	of, targets int32
	rec         *record.Record
	at          record.Position
	event       Event // its frame is empty: for the arena's sake
	keys        []string
	reader      copyReader
}

// Decode implements Input.
func (m *matcher) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	m.rec, m.at = rec, record.Position{TopicPartition: tp, Offset: rec.Offset}
	return rec.Time, false, nil
}

// Process implements Input.
func (m *matcher) Process() error {
	m.task.begin(&m.event)
	if err := m.find(); err != nil {
		return m.task.refuse(m.spec.Policy, m.rec, m.rec.Key, m.at, ReasonInvalidValue, err)
	}
	return nil
}

// find sends the part of this partition.
func (m *matcher) find() error {
	if err := m.queries.ready(); err != nil {
		return err
	}
	sender, task := senderOf(m.rec.Key)
	doc, err := m.reader.take(m.queries.index, m.rec.Value)
	if sender == nil && err == nil {
		err = errForeignCopy
	}
	if err != nil {
		return err
	}
	m.keys = m.queries.index.AppendMatches(m.keys[:0])
	a := &m.task.arena
	part := a.end(appendPart(a.begin(arenaReserve+len(doc)), m.task.Partition, m.of, m.keys, doc))
	m.task.Emitter.Emit(m.spec.Output, int32(task%uint64(m.targets)), record.Record{
		Key: m.rec.Key, Value: part, Time: m.rec.Time, Offset: -1, Headers: m.rec.Headers,
	})
	return nil
}

// matchPart is what one partition has found.
type matchPart struct {
	partition, of int
	keys          []byte // each with its length in front
	doc           []byte // of the home partition, else empty
}

const partVersion = 1

// appendPart writes a part:
//
//	version (1) | partition | of how many | length of keys (uvarints) | keys, each with its length | doc
func appendPart(dst []byte, partition, of int32, keys []string, doc []byte) []byte {
	dst = append(dst, partVersion)
	dst = binary.AppendUvarint(dst, uint64(partition))
	dst = binary.AppendUvarint(dst, uint64(of))
	size := 0
	for _, k := range keys {
		size += len(k) + uvarintLen(len(k))
	}
	dst = binary.AppendUvarint(dst, uint64(size))
	for _, k := range keys {
		dst = append(binary.AppendUvarint(dst, uint64(len(k))), k...)
	}
	return append(dst, doc...)
}

func uvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// parsePart reads what appendPart wrote.
func parsePart(b []byte) (p matchPart, err error) {
	r := wire{rest: b}
	version := r.octet()
	partition, of := r.number(), r.number()
	p = matchPart{int(partition), int(of), r.bytes(), r.rest}
	if version != partVersion || partition >= of || r.short {
		return matchPart{}, errors.New("read part of a document: not written by this version")
	}
	return p, nil
}
