// Package corpus makes up documents, and stored queries for them, for tests and
// benchmarks of the search in streams. Its words are as frequent as those of a
// language (Zipf's law). It knows nothing of what is done with them.
package corpus

import (
	"fmt"
	"math/rand"
)

const vocabulary = 200_000

// Corpus makes texts, the same ones for the same seed.
type Corpus struct {
	rng     *rand.Rand
	zipf    *rand.Zipf
	queries int
}

// New makes a corpus.
func New(seed int64) *Corpus {
	rng := rand.New(rand.NewSource(seed))
	return &Corpus{rng: rng, zipf: rand.NewZipf(rng, 1.1, 20, vocabulary-1)}
}

func word(n uint64) string { return fmt.Sprintf("w%x", n*2654435761%vocabulary) }

// frequent is a word as texts have it, and rare any word of the language.
func (c *Corpus) frequent() string { return word(c.zipf.Uint64()) }
func (c *Corpus) rare() string     { return word(uint64(c.rng.Intn(vocabulary))) }

// Query makes the next query: in turn those of ten shapes, of two or three words.
func (c *Corpus) Query() string {
	c.queries++
	switch (c.queries - 1) % 10 {
	case 0, 1, 2:
		return fmt.Sprintf("%s AND %s", c.frequent(), c.rare())
	case 3, 4:
		return fmt.Sprintf("%s AND %s AND NOT %s", c.rare(), c.frequent(), c.frequent())
	case 5:
		return fmt.Sprintf("%q AND %s", c.frequent()+" "+c.rare(), c.frequent())
	case 6:
		return fmt.Sprintf("(%s OR %s) AND %s", c.rare(), c.rare(), c.frequent())
	case 7:
		return fmt.Sprintf("%s AND (%s OR %s)", c.frequent(), c.rare(), c.rare())
	case 8:
		return c.rare()
	}
	return fmt.Sprintf("%s* AND %s", c.rare(), c.frequent())
}

// AppendDocument appends a document of a little more than size bytes.
func (c *Corpus) AppendDocument(dst []byte, size int) []byte {
	for end := len(dst) + size; len(dst) < end; {
		dst = append(append(dst, c.frequent()...), ' ')
	}
	return dst
}
