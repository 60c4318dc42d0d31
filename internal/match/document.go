package match

import "math"

// document is the one that is being tested. Words, atoms and slots that carry
// its number belong to it.
type document struct {
	number  uint32
	counted uint32 // documents that hits of atoms are of
	tokens  []uint32
	before  []int32 // by place: the place before with the same word, -1 = none
	ranges  []fieldRange
	touched []uint32 // atoms that it has and that queries are filed under
	fields  int      // that have been added
}

// fieldRange is where the words of a field lie.
type fieldRange struct {
	field    uint32
	from, to int32
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
	d.tokens, d.before, d.ranges, d.touched = d.tokens[:0], d.before[:0], d.ranges[:0], d.touched[:0]
	d.fields = 0
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
	for i := range x.atoms {
		x.atoms[i].stamp, x.atoms[i].absent = 0, 0
	}
	for i := range x.words {
		x.words[i].stamp = 0
	}
	for i := range x.slots {
		x.slots[i].seen = 0
	}
}

// Add adds a field with its text to the document; "" is text without a field.
func (x *Index) Add(field string, text []byte) {
	d := &x.doc
	number := x.fields[field]
	d.fields++
	from := int32(len(d.tokens))
	x.cut.each(text, func(w []byte) { x.take(number, w) })
	if len(x.phrases) == 0 {
		return
	}
	d.ranges = append(d.ranges, fieldRange{number, from, int32(len(d.tokens))})
	d.tokens, d.before = append(d.tokens, 0), append(d.before, -1) // phrases do not cross fields
}

// take takes one word of a field into the document.
func (x *Index) take(field uint32, text []byte) {
	d := &x.doc
	id := x.dict[string(text)]
	places := len(x.phrases) > 0
	if id == 0 {
		if places {
			d.tokens, d.before = append(d.tokens, 0), append(d.before, -1)
		}
		if x.prefixes.live > 0 {
			x.prefixes.walk(text, func(at uint32) { x.markAll(&x.prefixes.nodes[at].atoms, field) })
		}
		return
	}
	w := &x.words[id]
	first := w.stamp != d.number
	if first {
		w.stamp, w.last = d.number, -1
	}
	if places {
		place := int32(len(d.tokens))
		d.tokens, d.before = append(d.tokens, id), append(d.before, w.last)
		w.last = place
	}
	if !first && d.fields == 1 {
		return // all of it is marked
	}
	x.markAll(&w.atoms, field)
	if x.prefixes.live > 0 {
		for _, at := range x.prefixesOf(id, text) {
			x.markAll(&x.prefixes.nodes[at].atoms, field)
		}
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

// markAll marks the atoms that a word in a field makes true.
func (x *Index) markAll(f *fieldAtoms, field uint32) {
	if f.any != 0 {
		x.mark(f.any)
	}
	if field == 0 {
		return
	}
	for _, fa := range f.fields {
		if fa.field == field {
			x.mark(fa.atom)
		}
	}
}

// mark notes that the document has a term.
func (x *Index) mark(a uint32) {
	t := &x.atoms[a]
	if t.stamp == x.doc.number {
		return
	}
	t.stamp = x.doc.number
	t.hits++
	if len(t.filed) > 0 {
		x.doc.touched = append(x.doc.touched, a)
	}
}

// has says whether the document has a term.
func (x *Index) has(a uint32) bool {
	t := &x.atoms[a]
	if t.stamp == x.doc.number {
		return true
	}
	if t.phrase == nil || t.absent == x.doc.number {
		return false
	}
	for _, part := range t.phrase.parts {
		if x.atoms[part].stamp != x.doc.number {
			t.absent = x.doc.number
			return false
		}
	}
	if x.occurs(t) {
		t.stamp = x.doc.number
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
	for at := x.words[words[rare]].last; at >= 0; at = d.before[at] {
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
		for _, at := range filed {
			s := &x.slots[at]
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
