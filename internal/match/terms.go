package match

// atom names the term of n: one more reference to it.
func (x *Index) atom(n *node) uint32 {
	field := uint32(0)
	if n.field != "" {
		field = x.fields[n.field]
		if field == 0 {
			field = uint32(len(x.fields) + 1)
			x.fields[n.field] = field
		}
	}
	switch n.kind {
	case wordNode:
		return x.wordAtom(field, n.words[0])
	case prefixNode:
		return x.prefixAtom(field, n.words[0])
	}
	return x.phraseAtom(field, n.words)
}

// newAtom makes an atom that is referred to once.
func (x *Index) newAtom(t atom) uint32 {
	t.refs = 1
	if n := len(x.freeAtoms); n > 0 {
		a := x.freeAtoms[n-1]
		x.freeAtoms = x.freeAtoms[:n-1]
		t.filed = x.atoms[a].filed[:0]
		x.atoms[a], x.stamps[a] = t, 0
		return a
	}
	x.atoms, x.stamps = append(x.atoms, t), append(x.stamps, 0)
	return uint32(len(x.atoms) - 1)
}

// wordEntry is the entry of a word: one more reference to it.
func (x *Index) wordEntry(text string) *entry {
	if e := x.entryOf(text); e != nil {
		x.words[e.word].refs++
		return e
	}
	var id uint32
	if n := len(x.freeWords); n > 0 {
		id, x.freeWords = x.freeWords[n-1], x.freeWords[:n-1]
	} else {
		id = uint32(len(x.words))
		x.words, x.known = append(x.words, word{}), append(x.known, knownPrefixes{})
	}
	x.words[id] = word{text: text, refs: 1}
	return x.dict.put(x.dict.keyOf(text), id)
}

func (x *Index) releaseWord(id uint32, at int) {
	w := &x.words[id]
	if w.refs--; w.refs > 0 {
		return
	}
	x.dict.remove(at)
	*w, x.known[id] = word{}, knownPrefixes{}
	x.freeWords = append(x.freeWords, id)
}

func (x *Index) wordAtom(field uint32, text string) uint32 {
	if e := x.entryOf(text); e != nil {
		if a := x.atomOf(e, field); a != 0 {
			x.atoms[a].refs++
			return a
		}
	}
	e := x.wordEntry(text)
	a := x.newAtom(atom{field: field, id: e.word})
	x.setAtom(e, field, a)
	return a
}

// atomOf is the atom of a word for a field, 0 when there is none.
func (x *Index) atomOf(e *entry, field uint32) uint32 {
	if field == 0 {
		return e.any
	}
	return x.words[e.word].fields.in(field)
}

// setAtom makes atom the one of a word for a field; 0 takes it away.
func (x *Index) setAtom(e *entry, field, atom uint32) {
	if field == 0 {
		e.any = atom
		return
	}
	x.words[e.word].fields.set(field, atom)
	e.plain = 0
}

func (x *Index) prefixAtom(field uint32, text string) uint32 {
	at := x.prefixes.insert(text)
	if a := x.prefixes.nodes[at].atoms.in(field); a != 0 {
		x.atoms[a].refs++
		return a
	}
	a := x.newAtom(atom{prefix: true, field: field, id: at})
	x.prefixes.nodes[at].atoms.set(field, a)
	x.prefixes.live++
	x.prefixes.version++
	return a
}

func (x *Index) phraseAtom(field uint32, words []string) uint32 {
	key := x.phraseKey(field, words)
	if a, ok := x.phrases[string(key)]; ok {
		x.atoms[a].refs++
		return a
	}
	p := &phrase{words: make([]uint32, len(words)), parts: make([]uint32, len(words))}
	for i, w := range words {
		p.parts[i] = x.wordAtom(field, w)
		p.words[i] = x.atoms[p.parts[i]].id
	}
	a := x.newAtom(atom{field: field, phrase: p})
	x.phrases[string(x.phraseKey(field, words))] = a
	return a
}

// phraseKey identifies a phrase; words hold no zero bytes. It is good until the next call.
func (x *Index) phraseKey(field uint32, words []string) []byte {
	x.key = append(x.key[:0], byte(field), byte(field>>8), byte(field>>16), byte(field>>24))
	for _, w := range words {
		x.key = append(append(x.key, w...), 0)
	}
	return x.key
}

// releaseAtom takes one reference back; the last one takes the atom away.
func (x *Index) releaseAtom(a uint32) {
	t := &x.atoms[a]
	if t.refs--; t.refs > 0 {
		return
	}
	switch {
	case t.phrase != nil:
		words := make([]string, len(t.phrase.words))
		for i, id := range t.phrase.words {
			words[i] = x.words[id].text
		}
		delete(x.phrases, string(x.phraseKey(t.field, words)))
		for _, part := range t.phrase.parts {
			x.releaseAtom(part)
		}
	case t.prefix:
		x.prefixes.nodes[t.id].atoms.set(t.field, 0)
		x.prefixes.live--
		x.prefixes.version++
		x.prefixes.prune(t.id)
	default:
		at := x.placeOf(x.words[t.id].text)
		x.setAtom(&x.dict.entries[at], t.field, 0)
		x.releaseWord(t.id, at)
	}
	x.atoms[a] = atom{filed: x.atoms[a].filed[:0]}
	x.freeAtoms = append(x.freeAtoms, a)
}

// trie finds the prefixes that a word begins with, byte by byte. Node 0 is the root.
type trie struct {
	nodes []trieNode
	free  []uint32
	live  int // atoms of prefixes
	// version changes with every prefix that comes or goes; it is never 0.
	version uint32
}

type trieNode struct {
	edges  []trieEdge
	parent uint32
	atoms  fieldAtoms
}

type trieEdge struct {
	b    byte
	node uint32
}

// step is the node behind at by b, 0 when there is none.
func (t *trie) step(at uint32, b byte) uint32 {
	for _, e := range t.nodes[at].edges {
		if e.b == b {
			return e.node
		}
	}
	return 0
}

// walk visits the nodes of the prefixes that a word begins with.
func (t *trie) walk(word []byte, visit func(at uint32)) {
	at := uint32(0)
	for _, b := range word {
		if at = t.step(at, b); at == 0 {
			return
		}
		if len(t.nodes[at].atoms) > 0 {
			visit(at)
		}
	}
}

// insert returns the node of a prefix.
func (t *trie) insert(prefix string) uint32 {
	at := uint32(0)
	for i := range len(prefix) {
		next := t.step(at, prefix[i])
		if next == 0 {
			if n := len(t.free); n > 0 {
				next, t.free = t.free[n-1], t.free[:n-1]
				t.nodes[next] = trieNode{parent: at}
			} else {
				next = uint32(len(t.nodes))
				t.nodes = append(t.nodes, trieNode{parent: at})
			}
			t.nodes[at].edges = append(t.nodes[at].edges, trieEdge{prefix[i], next})
		}
		at = next
	}
	return at
}

// prune takes away nodes that lead nowhere, from at to the root.
func (t *trie) prune(at uint32) {
	for at != 0 {
		n := &t.nodes[at]
		if len(n.edges) > 0 || len(n.atoms) > 0 {
			return
		}
		up := n.parent
		edges := t.nodes[up].edges
		for i, e := range edges {
			if e.node == at {
				last := len(edges) - 1
				edges[i] = edges[last]
				t.nodes[up].edges = edges[:last]
				break
			}
		}
		*n = trieNode{}
		t.free = append(t.free, at)
		at = up
	}
}
