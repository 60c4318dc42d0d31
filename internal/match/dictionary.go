package match

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
)

// wordKey is what a word is found by. A word of up to 15 bytes is its own key: its
// bytes, and in the highest one its length. So most words are compared in registers,
// and no text has to be fetched from elsewhere. Of a longer word it is a hash, and the
// text must be compared.
type wordKey struct{ lo, hi uint64 }

const (
	keyBytes = 15                 // that a key can hold
	longWord = uint64(0xff) << 56 // the highest byte in the key of a longer word
)

func (k wordKey) long() bool { return k.hi >= longWord }

// dictionary finds words: a hash table with open addressing and linear probing
// (Knuth, The Art of Computer Programming, 6.4, algorithms L and R). What is needed of nearly
// every word of a document lies in its entry, two of which share a line of the CPU's caches.
//
// Since the words of queries come from outside, their hashes are seeded: nobody can
// choose words that collide.
type dictionary struct {
	entries []entry // a power of two of them
	used    int
	hash    hasher
}

// hasher makes keys and hashes of words.
type hasher struct {
	seeds [2]uint64
	long  maphash.Seed
}

func newHasher() hasher {
	return hasher{[2]uint64{rand.Uint64(), rand.Uint64()}, maphash.MakeSeed()}
}

// entry is a word that some atom names.
type entry struct {
	key  wordKey
	word uint32 // its number, 0 = the entry is free
	any  uint32 // the atom of the word in any field, 0 = none
	// plain is the version of the prefixes of which is known that the word begins with
	// none of them, and is named in no field: any is all there is to mark. 0 = never.
	plain uint32
}

const (
	firstEntries = 16
	fullest      = 0.7 // part of the entries that may be in use
)

func newDictionary() dictionary {
	return dictionary{entries: make([]entry, firstEntries), hash: newHasher()}
}

// key is the key of a word that lies in room, which goes on for keyBytes+1 bytes at
// least, whatever they are.
func (h *hasher) key(room []byte, size int) wordKey {
	if size > keyBytes {
		return wordKey{maphash.Bytes(h.long, room[:size]), longWord | uint64(size)}
	}
	k := wordKey{binary.LittleEndian.Uint64(room), binary.LittleEndian.Uint64(room[8:16])}
	if size < 8 {
		k.lo, k.hi = k.lo&(1<<(8*size)-1), 0
	} else {
		k.hi &= 1<<(8*(size-8)) - 1
	}
	k.hi |= uint64(size) << 56
	return k
}

// keyOf is the key of a word.
func (d *dictionary) keyOf(text string) wordKey {
	room := make([]byte, len(text)+keyBytes+1)
	return d.hash.key(room, copy(room, text))
}

// home is where the search for a key begins, in its lowest bits. Both halves of a product take part, as in wyhash (Wang Yi).
func (h *hasher) home(k wordKey) int {
	hi, lo := bits.Mul64(k.lo^h.seeds[0], k.hi^h.seeds[1])
	return int(hi ^ lo)
}

// home is the place at which the search for a key begins.
func (d *dictionary) home(k wordKey) int { return d.hash.home(k) & (len(d.entries) - 1) }

// find is where a key is, -1 = nowhere. Of a long word it is the first place where
// it can be; seek finds the others from there.
func (d *dictionary) find(k wordKey) int { return d.seek(k, d.home(k)) }

// seek goes on with the search at a place.
func (d *dictionary) seek(k wordKey, at int) int {
	for {
		e := &d.entries[at]
		if e.word == 0 {
			return -1
		}
		if e.key == k {
			return at
		}
		at = d.next(at)
	}
}

func (d *dictionary) next(at int) int { return (at + 1) & (len(d.entries) - 1) }

// put makes an entry for a key; the caller knows that the word has none.
func (d *dictionary) put(k wordKey, word uint32) *entry {
	if d.used++; float64(d.used) > fullest*float64(len(d.entries)) {
		old := d.entries
		d.entries = make([]entry, 2*len(old))
		for i := range old {
			if old[i].word != 0 {
				d.entries[d.vacant(old[i].key)] = old[i]
			}
		}
	}
	at := d.vacant(k)
	d.entries[at] = entry{key: k, word: word}
	return &d.entries[at]
}

func (d *dictionary) vacant(k wordKey) int {
	at := d.home(k)
	for d.entries[at].word != 0 {
		at = d.next(at)
	}
	return at
}

// remove takes the entry at a place away. What lies behind it up to the next
// free one is moved up where its search would otherwise end at the hole.
func (d *dictionary) remove(hole int) {
	d.used--
	mask := len(d.entries) - 1
	for at := d.next(hole); d.entries[at].word != 0; at = d.next(at) {
		home := d.home(d.entries[at].key)
		if (at-home)&mask >= (at-hole)&mask {
			d.entries[hole] = d.entries[at]
			hole = at
		}
	}
	d.entries[hole] = entry{}
}

// placeOf is where the entry of a word is, -1 = it has none.
func (x *Index) placeOf(text string) int {
	k := x.dict.keyOf(text)
	at := x.dict.find(k)
	if k.long() {
		at = x.findLong(k, at, []byte(text))
	}
	return at
}

// entryOf is the entry of a word, nil = it has none. It is good until a word comes or goes.
func (x *Index) entryOf(text string) *entry {
	if at := x.placeOf(text); at >= 0 {
		return &x.dict.entries[at]
	}
	return nil
}

// findLong goes on from a place where a long word can be to where it is, -1 = nowhere.
func (x *Index) findLong(k wordKey, at int, text []byte) int {
	for at >= 0 && x.words[x.dict.entries[at].word].text != string(text) {
		at = x.dict.seek(k, x.dict.next(at))
	}
	return at
}
