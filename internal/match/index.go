package match

import (
	"math"
	"slices"
)

// Index holds queries by key. A document is put in by Begin and Add, and
// AppendMatches tells which queries it satisfies:
//
//	x.Begin()
//	x.Add("title", title)
//	x.Add("body", body)
//	keys = x.AppendMatches(keys[:0])
//
// Every query is filed under terms of which any document that satisfies it has
// at least one: of a conjunction the terms of its cheapest part, of a disjunction
// those of all parts. What has no such terms, such as a query that only says what
// must not occur, is filed under a term that every document has. A document is
// then tested against the queries filed under the terms that it has.
//
// Which part is cheapest follows from how often the terms occurred in the
// documents so far, and before there were any from how many queries name them.
// Since queries are mostly there before documents, some are filed anew with every
// document. Results do not depend on it.
type Index struct {
	slots []slot
	free  []uint32
	keys  map[string]uint32

	atoms     []atom   // 0 = the term that every document has
	stamps    []uint32 // by atom: the last document that has it
	freeAtoms []uint32
	words     []word // 0 = none
	freeWords []uint32
	known     []knownPrefixes // by word
	dict      dictionary
	prefixes  trie
	phrases   map[string]uint32 // atoms, by field and words
	fields    map[string]uint32 // numbers, 0 = any

	doc    document
	cutter *Cutter // of texts that come uncut; nil = there were none
	cursor int     // where reconsidering goes on
	key    []byte
	pick   []uint32
	stats  Stats
}

// Stats tell what an index holds and has done.
type Stats struct {
	Queries   int
	Terms     int    // words, prefixes and phrases, per field
	Everyone  int    // queries that every document is tested against
	Documents uint64 // since it was made
	Tested    uint64 // queries that documents were tested against
	Moved     uint64 // queries that were filed anew
}

// slot is a query: code holds where it is filed, and its program.
//
//	n | n times: atom, place in its list | program
type slot struct {
	key  string
	code []uint32
	seen uint32 // document it was tested against last; only where it is filed more than once
}

// atom is a term that queries name: a word, a prefix or a phrase, in a field or in any.
type atom struct {
	absent uint32 // of a phrase: the last document in which it was sought in vain
	hits   uint32 // documents that had it; halved now and then
	refs   uint32 // how often queries name it
	field  uint32
	id     uint32 // of a word its number, of a prefix its node
	prefix bool
	filed  []posting
	phrase *phrase // nil = a word or a prefix
}

// posting is a query that is filed under an atom. It needs not be looked at
// when the document lacks its guard: another atom without which it cannot hold.
type posting struct{ slot, guard uint32 }

// phrase is what an atom of several words is made of.
type phrase struct {
	words []uint32
	parts []uint32 // the atoms of the words
}

// word is a word that some atom names.
type word struct {
	text   string
	refs   uint32
	fields fieldAtoms // the atom for any field is in the dictionary
}

// fieldAtoms are the atoms of one word or prefix, by field, 0 = any.
type fieldAtoms []fieldAtom

type fieldAtom struct{ field, atom uint32 }

// in is the atom for a field, 0 when there is none.
func (f fieldAtoms) in(field uint32) uint32 {
	for _, fa := range f {
		if fa.field == field {
			return fa.atom
		}
	}
	return 0
}

// set makes atom the one of field; 0 takes it away.
func (f *fieldAtoms) set(field, atom uint32) {
	*f = slices.DeleteFunc(*f, func(fa fieldAtom) bool { return fa.field == field })
	if atom != 0 {
		*f = append(*f, fieldAtom{field, atom})
	}
}

// everyone is the atom that every document has.
const everyone = 0

// NewIndex makes an index without queries.
func NewIndex() *Index {
	x := &Index{
		keys: map[string]uint32{}, dict: newDictionary(), phrases: map[string]uint32{}, fields: map[string]uint32{},
		atoms: make([]atom, 1), stamps: make([]uint32, 1), words: make([]word, 1), known: make([]knownPrefixes, 1),
	}
	x.prefixes = trie{nodes: make([]trieNode, 1), version: 1}
	return x
}

// Len is the number of queries.
func (x *Index) Len() int { return len(x.keys) }

// Stats tells what the index holds and has done.
func (x *Index) Stats() Stats {
	s := x.stats
	s.Queries, s.Terms, s.Everyone = len(x.keys), len(x.atoms)-1-len(x.freeAtoms), len(x.atoms[everyone].filed)
	return s
}

// Put makes q the query of key, in place of the one that it had.
func (x *Index) Put(key string, q *Query) {
	x.Remove(key)
	var at uint32
	if n := len(x.free); n > 0 {
		at, x.free = x.free[n-1], x.free[:n-1]
	} else {
		at = uint32(len(x.slots))
		x.slots = append(x.slots, slot{})
	}
	program := x.compile(nil, q.root, false)
	x.keys[key] = at
	x.slots[at] = slot{key: key}
	x.place(at, program)
}

// Remove takes the query of key away and tells whether there was one.
func (x *Index) Remove(key string) bool {
	at, found := x.keys[key]
	if !found {
		return false
	}
	delete(x.keys, key)
	program := x.displace(at)
	for _, c := range program {
		if c&opMask <= opNot {
			x.releaseAtom(c &^ opMask)
		}
	}
	x.slots[at] = slot{}
	x.free = append(x.free, at)
	return true
}

// place files a query under the cheapest terms.
func (x *Index) place(at uint32, program []uint32) {
	cost := x.cost(program)
	x.pick = x.pick[:0]
	if math.IsInf(cost, 1) {
		x.pick = append(x.pick, everyone)
	} else {
		x.collect(program)
	}
	guard := x.guard(program)
	code := make([]uint32, 0, 1+2*len(x.pick)+len(program))
	code = append(code, uint32(len(x.pick)))
	for _, a := range x.pick {
		code = append(code, a, uint32(len(x.atoms[a].filed)))
		x.atoms[a].filed = append(x.atoms[a].filed, posting{at, guard})
	}
	x.slots[at].code = append(code, program...)
}

// guard is the cheapest term without which a program cannot hold, beside those
// that it is filed under; everyone when there is none.
func (x *Index) guard(program []uint32) uint32 {
	parts := program
	if program[0]&opMask == opAnd {
		parts = program[1:]
	}
	best, cost := uint32(everyone), math.Inf(1)
	consider := func(a uint32) {
		if slices.Contains(x.pick, a) {
			return
		}
		if f := x.frequency(&x.atoms[a]); f < cost {
			best, cost = a, f
		}
	}
	for i := 0; i < len(parts); i = skip(parts, i) {
		if parts[i]&opMask != opTerm {
			continue
		}
		if p := x.atoms[parts[i]].phrase; p == nil {
			consider(parts[i])
		} else {
			for _, part := range p.parts {
				consider(part)
			}
		}
	}
	return best
}

// displace takes a query from where it is filed and returns its program.
func (x *Index) displace(at uint32) []uint32 {
	code := x.slots[at].code
	n := int(code[0])
	for i := range n {
		a, place := code[1+2*i], code[2+2*i]
		filed := x.atoms[a].filed
		last := len(filed) - 1
		moved := filed[last]
		filed[place] = moved
		x.atoms[a].filed = filed[:last]
		other := x.slots[moved.slot].code
		for j := range int(other[0]) { // the one that took its place is elsewhere in the list now
			if other[1+2*j] == a {
				other[2+2*j] = place
			}
		}
	}
	return code[1+2*n:]
}

// Programs are trees, written before their parts: a term, or AND and OR with
// the length of what belongs to them. NOT has been pushed down to the terms.
const (
	opTerm = iota << 30
	opNot
	opAnd
	opOr
	opMask = 3 << 30
)

// compile writes the program of n, or of its negation, and names its atoms.
func (x *Index) compile(code []uint32, n *node, negated bool) []uint32 {
	switch n.kind {
	case notNode:
		return x.compile(code, n.kids[0], !negated)
	case andNode, orNode:
		at, op := len(code), uint32(opAnd)
		if (n.kind == orNode) != negated {
			op = opOr
		}
		code = append(code, 0)
		for _, kid := range n.kids {
			code = x.compile(code, kid, negated)
		}
		code[at] = op | uint32(len(code)-at-1)
		return code
	}
	a := x.atom(n)
	if negated {
		return append(code, opNot|a)
	}
	return append(code, opTerm|a)
}

// skip is where the code goes on behind the part at i.
func skip(code []uint32, i int) int {
	if c := code[i]; c&opMask >= opAnd {
		return i + 1 + int(c&^opMask)
	}
	return i + 1
}

// holds evaluates the program on the document.
func (x *Index) holds(code []uint32) bool {
	c := code[0]
	switch c & opMask {
	case opTerm:
		return x.has(c)
	case opNot:
		return !x.has(c &^ opMask)
	case opAnd:
		for i := 1; i < len(code); {
			end := skip(code, i)
			if !x.holds(code[i:end]) {
				return false
			}
			i = end
		}
		return true
	}
	for i := 1; i < len(code); {
		end := skip(code, i)
		if x.holds(code[i:end]) {
			return true
		}
		i = end
	}
	return false
}

// cost estimates how many documents in one have some of the terms that the
// program would be filed under; infinite when there are no such terms.
func (x *Index) cost(code []uint32) float64 {
	c := code[0]
	switch c & opMask {
	case opTerm:
		_, cost := x.cheapest(c)
		return cost
	case opNot:
		return math.Inf(1)
	case opAnd:
		_, cost := x.cheapestPart(code)
		return cost
	}
	sum := 0.0
	for i := 1; i < len(code); i = skip(code, i) {
		sum += x.cost(code[i:skip(code, i)])
	}
	return sum
}

// cheapestPart is the part of a conjunction that it is filed by.
func (x *Index) cheapestPart(code []uint32) (part []uint32, cost float64) {
	cost = math.Inf(1)
	for i := 1; i < len(code); i = skip(code, i) {
		kid := code[i:skip(code, i)]
		if c := x.cost(kid); c < cost {
			part, cost = kid, c
		}
	}
	return part, cost
}

// collect puts the cheapest terms of a program, which has some, into pick.
func (x *Index) collect(code []uint32) {
	c := code[0]
	switch c & opMask {
	case opTerm:
		a, _ := x.cheapest(c)
		for _, other := range x.pick {
			if other == a {
				return
			}
		}
		x.pick = append(x.pick, a)
	case opAnd:
		part, _ := x.cheapestPart(code)
		x.collect(part)
	case opOr:
		for i := 1; i < len(code); i = skip(code, i) {
			x.collect(code[i:skip(code, i)])
		}
	}
}

// cheapest is the atom itself, or the rarest word of a phrase, and its cost.
func (x *Index) cheapest(a uint32) (uint32, float64) {
	t := &x.atoms[a]
	if t.phrase == nil {
		return a, x.frequency(t)
	}
	best, cost := t.phrase.parts[0], math.Inf(1)
	for _, part := range t.phrase.parts {
		if f := x.frequency(&x.atoms[part]); f < cost {
			best, cost = part, f
		}
	}
	return best, cost
}

// belief is how many documents what queries name is worth: with as many
// documents seen, both count the same.
const belief = 16

// frequency estimates how many documents in one have a term.
func (x *Index) frequency(t *atom) float64 {
	guess := float64(t.refs) / float64(len(x.keys)+1)
	if t.prefix {
		guess *= 8 // many words begin so
	}
	return (float64(t.hits) + belief*guess) / (float64(x.doc.counted) + belief)
}
