package match

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The dictionary holds what a map holds, also where most words begin their
// search at the same place, and where a key ends and a hash begins.
func TestDictionaryEqualsMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, model := newDictionary(), map[wordKey]uint32{}
		if rapid.Bool().Draw(t, "collide") {
			d.hash.seeds = [2]uint64{} // a product with 0 is 0: all words of less than 8 equal bytes, and many others
		}
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := d.keyOf(strings.Repeat(rapid.SampledFrom([]string{"\x00", "a", "b"}).Draw(t, "letter"), rapid.IntRange(1, 20).Draw(t, "length")))
			at := d.find(k)
			want, there := model[k]
			if (at >= 0) != there || there && d.entries[at].word != want {
				t.Fatalf("found %d, want %v %d", at, there, want)
			}
			if there {
				d.remove(at)
				delete(model, k)
			} else {
				d.put(k, uint32(i+1))
				model[k] = uint32(i + 1)
			}
			if d.used != len(model) {
				t.Fatalf("%d entries, want %d", d.used, len(model))
			}
		}
		for k, want := range model {
			if at := d.find(k); at < 0 || d.entries[at].word != want {
				t.Fatalf("%x is lost", k)
			}
		}
	})
}

// Words are told apart by their keys, whatever lies behind them.
func TestKeys(t *testing.T) {
	d := newDictionary()
	seen := map[wordKey]string{}
	for _, letters := range []string{"a", "ab", "\x00"} {
		for size := 1; size <= 40; size++ {
			word := strings.Repeat(letters, size)[:size]
			k := d.keyOf(word)
			if behind := d.hash.key([]byte(word+strings.Repeat("\xff", spare)), size); behind != k {
				t.Errorf("%q: key %x, with something behind it %x", word, k, behind)
			}
			if other, ok := seen[k]; ok && other != word {
				t.Errorf("%q and %q have one key", word, other)
			}
			if seen[k] = word; k.long() != (size > keyBytes) {
				t.Errorf("%q: long %v", word, k.long())
			}
		}
	}
}

// Long words are told apart by their text where their hashes are equal.
func TestLongWordsWithEqualHashes(t *testing.T) {
	x := NewIndex()
	texts := []string{"a word of more than 15 bytes", "another word of as many bytes", "and a third that nobody names"}
	k := x.dict.keyOf(texts[0])
	for i, text := range texts[:2] {
		x.words = append(x.words, word{text: text})
		x.dict.put(k, uint32(i+1))
	}
	for i, text := range texts {
		at := x.findLong(k, x.dict.find(k), []byte(text))
		if i < 2 && (at < 0 || x.dict.entries[at].word != uint32(i+1)) || i == 2 && at >= 0 {
			t.Errorf("%q found at %d", text, at)
		}
	}
}
