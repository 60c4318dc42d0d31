package match

import (
	"fmt"
	"math"
	"slices"
)

// document is the one that is being tested. Atoms and slots that carry its number
// belong to it.
type document struct {
	number  uint32
	counted uint32 // documents that hits of atoms are of
	own     []byte // its fields, cut, when they came as texts
	words   []span // the different words of the last field
	found   []int32
	touched []uint32 // atoms that it has and that queries are filed under

	ranges  []fieldRange // its fields; only when there are phrases
	numbers []uint32     // the different words of its fields, 0 = one that no query names
	chained bool         // tokens, before and last are made
	tokens  []uint32     // its words in order
	before  []int32      // by place: the place before with the same word, -1 = none
	last    []lastPlace  // by word
}

// fieldRange is where the words of a field lie.
type fieldRange struct {
	field    uint32
	places   []byte // the order of its words, see Cutter
	numbers  int32  // where its different words begin
	from, to int32  // in tokens
}

// lastPlace is where a word stands for the last time in a document.
type lastPlace struct {
	number uint32 // of the document
	at     int32
}

// How the index follows what documents are like.
const (
	forgetAfter  = 1 << 16 // documents after which older ones count half
	learnFirst   = 64      // documents before queries are filed anew
	reconsidered = 4       // queries per document
	gain         = 0.5     // of the cost at most, for a query to be filed anew
)

// Begin begins a document.
func (x *Index) Begin() {
	d := &x.doc
	if d.number == math.MaxUint32 {
		x.forgetStamps()
	}
	d.number++
	d.own, d.tokens, d.numbers, d.ranges, d.touched, d.chained = d.own[:0], d.tokens[:0], d.numbers[:0], d.ranges[:0], d.touched[:0], false
	x.stats.Documents++
	if d.counted++; d.counted >= forgetAfter {
		d.counted /= 2
		for i := range x.atoms {
			x.atoms[i].hits /= 2
		}
	}
	x.mark(everyone)
}

// forgetStamps begins the numbering of documents anew.
func (x *Index) forgetStamps() {
	x.doc.number = 0
	clear(x.stamps)
	clear(x.doc.last)
	for i := range x.atoms {
		x.atoms[i].absent = 0
	}
	for i := range x.slots {
		x.slots[i].seen = 0
	}
}

// Add adds a field with its text to the document; "" is text without a field.
func (x *Index) Add(field string, text []byte) {
	if x.cutter == nil {
		x.cutter = NewCutter()
	}
	from := len(x.doc.own)
	x.doc.own = x.cutter.AppendCut(x.doc.own, text)
	if err := x.AddCut(field, x.doc.own[from:]); err != nil {
		panic(fmt.Sprintf("match: its own %v", err))
	}
}

// AddCut is Add of a text that a Cutter has cut. It must stay as it is until the
// document has been tested.
//
// All words are looked up, then their terms are marked: in a loop that does but one
// thing the CPU fetches from memory for many words at a time.
func (x *Index) AddCut(field string, cut []byte) error {
	d, number := &x.doc, x.fields[field]
	words, places, err := readCut(d.words[:0], cut)
	if err != nil {
		return err
	}
	d.words = words
	x.lookUp(cut)
	if len(x.phrases) > 0 {
		x.addPlaces(number, places)
	}
	for i, at := range d.found {
		s := words[i]
		if at < 0 {
			if x.prefixes.live > 0 {
				x.prefixes.walk(cut[s.from:s.to], func(at uint32) { x.markAll(x.prefixes.nodes[at].atoms, number) })
			}
			continue
		}
		e := &x.dict.entries[at]
		if e.any != 0 {
			x.mark(e.any)
		}
		if e.plain != x.prefixes.version {
			x.takeMore(e, number, cut[s.from:s.to])
		}
	}
	return nil
}

// lookUp finds the entries of the different words of a text.
func (x *Index) lookUp(cut []byte) {
	found := x.doc.found[:0]
	for _, s := range x.doc.words {
		room, size := cut[s.from:], int(s.to-s.from)
		var last [spare]byte
		if len(room) < spare && size <= keyBytes {
			copy(last[:], room)
			room = last[:]
		}
		k := x.dict.hash.key(room, size)
		at := x.dict.find(k)
		if at >= 0 && k.long() {
			at = x.findLong(k, at, cut[s.from:s.to])
		}
		found = append(found, int32(at))
	}
	x.doc.found = found
}

// addPlaces notes the words of a field and their order.
func (x *Index) addPlaces(field uint32, places []byte) {
	d := &x.doc
	from := int32(len(d.numbers))
	for _, at := range d.found {
		id := uint32(0)
		if at >= 0 {
			id = x.dict.entries[at].word
		}
		d.numbers = append(d.numbers, id)
	}
	d.ranges = append(d.ranges, fieldRange{field: field, places: places, numbers: from})
}

// order makes the tokens of a document of what was noted of its fields.
func (d *document) order() {
	for i := range d.ranges {
		r := &d.ranges[i]
		r.from = int32(len(d.tokens))
		numbers := d.numbers[r.numbers:]
		if i+1 < len(d.ranges) {
			numbers = d.numbers[r.numbers:d.ranges[i+1].numbers]
		}
		for at, end := 0, 0; at < len(r.places); at = end {
			var n uint64
			if n, end = number(r.places, at); end == 0 {
				break
			}
			id := uint32(0)
			if n < uint64(len(numbers)) {
				id = numbers[n]
			}
			d.tokens = append(d.tokens, id)
		}
		r.to = int32(len(d.tokens))
		d.tokens = append(d.tokens, 0) // phrases do not cross fields
	}
}

// takeMore marks what a word of the dictionary makes true beside the atom of any field.
func (x *Index) takeMore(e *entry, field uint32, text []byte) {
	inFields := x.words[e.word].fields
	x.markAll(inFields, field)
	if x.prefixes.live == 0 {
		if len(inFields) == 0 {
			e.plain = x.prefixes.version
		}
		return
	}
	known := x.prefixesOf(e.word, text)
	for _, at := range known {
		x.markAll(x.prefixes.nodes[at].atoms, field)
	}
	if len(inFields) == 0 && len(known) == 0 {
		e.plain = x.prefixes.version
	}
}

// knownPrefixes are the prefixes that a word of the dictionary begins with.
type knownPrefixes struct {
	version uint32 // of the prefixes that they were found among
	nodes   []uint32
}

// prefixesOf finds the prefixes of a word of the dictionary; they are kept for
// as long as no prefix comes or goes.
func (x *Index) prefixesOf(id uint32, text []byte) []uint32 {
	k := &x.known[id]
	if k.version != x.prefixes.version {
		k.version, k.nodes = x.prefixes.version, k.nodes[:0]
		x.prefixes.walk(text, func(at uint32) { k.nodes = append(k.nodes, at) })
	}
	return k.nodes
}

// markAll marks the atoms that a word or a prefix in a field makes true.
func (x *Index) markAll(atoms fieldAtoms, field uint32) {
	for _, fa := range atoms {
		if fa.field == field || fa.field == 0 {
			x.mark(fa.atom)
		}
	}
}

// mark notes that the document has a term.
func (x *Index) mark(a uint32) {
	if x.stamps[a] == x.doc.number {
		return
	}
	x.stamps[a] = x.doc.number
	t := &x.atoms[a]
	t.hits++
	if len(t.filed) > 0 {
		x.doc.touched = append(x.doc.touched, a)
	}
}

// has says whether the document has a term.
func (x *Index) has(a uint32) bool {
	if x.stamps[a] == x.doc.number {
		return true
	}
	t := &x.atoms[a]
	if t.phrase == nil || t.absent == x.doc.number {
		return false
	}
	for _, part := range t.phrase.parts {
		if x.stamps[part] != x.doc.number {
			t.absent = x.doc.number
			return false
		}
	}
	if x.occurs(t) {
		x.stamps[a] = x.doc.number
		return true
	}
	t.absent = x.doc.number
	return false
}

// occurs looks for a phrase, all of whose words the document has, at every
// place of its word that is the rarest in general.
func (x *Index) occurs(t *atom) bool {
	d, words, parts := &x.doc, t.phrase.words, t.phrase.parts
	rare := 0
	for i, part := range parts {
		if x.atoms[part].hits < x.atoms[parts[rare]].hits {
			rare = i
		}
	}
	for at := x.lastPlaceOf(words[rare]); at >= 0; at = d.before[at] {
		from := at - int32(rare)
		if from < 0 || int(from)+len(words) > len(d.tokens) {
			continue
		}
		if same(d.tokens[from:], words) && x.inField(t.field, from) {
			return true
		}
	}
	return false
}

// lastPlaceOf is where a word stands for the last time, -1 = nowhere. The places
// of a document are chained when its first phrase is sought: many documents have none to seek.
func (x *Index) lastPlaceOf(word uint32) int32 {
	d := &x.doc
	if !d.chained {
		d.chained, d.before = true, d.before[:0]
		d.order()
		if len(d.last) < len(x.words) {
			d.last = slices.Grow(d.last, len(x.words)-len(d.last))[:len(x.words)]
		}
		for at, id := range d.tokens {
			before := int32(-1)
			if id != 0 {
				l := &d.last[id]
				if l.number == d.number {
					before = l.at
				}
				*l = lastPlace{d.number, int32(at)}
			}
			d.before = append(d.before, before)
		}
	}
	if int(word) >= len(d.last) || d.last[word].number != d.number {
		return -1
	}
	return d.last[word].at
}

// same says whether tokens begin with words.
func same(tokens, words []uint32) bool {
	for i, w := range words {
		if tokens[i] != w {
			return false
		}
	}
	return true
}

// inField says whether a place belongs to a field, 0 = any.
func (x *Index) inField(field uint32, place int32) bool {
	if field == 0 {
		return true
	}
	for _, r := range x.doc.ranges {
		if r.field == field && place >= r.from && place < r.to {
			return true
		}
	}
	return false
}

// AppendMatches appends the keys of the queries that the document satisfies, in
// no order, each once.
func (x *Index) AppendMatches(dst []string) []string {
	d := &x.doc
	for _, a := range d.touched {
		filed := x.atoms[a].filed
		x.stats.Tested += uint64(len(filed))
		for _, p := range filed {
			if x.stamps[p.guard] != d.number {
				continue
			}
			s := &x.slots[p.slot]
			n := s.code[0]
			if n > 1 {
				if s.seen == d.number {
					continue
				}
				s.seen = d.number
			}
			if x.holds(s.code[1+2*n:]) {
				dst = append(dst, s.key)
			}
		}
	}
	x.reconsider()
	return dst
}

// reconsider files some queries anew where documents turned out to be other
// than expected.
func (x *Index) reconsider() {
	if x.doc.counted < learnFirst {
		return
	}
	for range min(reconsidered, len(x.slots)) {
		x.cursor++
		if x.cursor >= len(x.slots) {
			x.cursor = 0
		}
		at := uint32(x.cursor)
		code := x.slots[at].code
		if len(code) == 0 || code[1] == everyone {
			continue
		}
		now := 0.0
		for i := range int(code[0]) {
			now += x.frequency(&x.atoms[code[1+2*i]])
		}
		if x.cost(code[1+2*code[0]:]) < gain*now {
			x.place(at, x.displace(at))
			x.stats.Moved++
		}
	}
}
