package operators

import (
	"bytes"
	"encoding/binary"
	"errors"

	"streamctl/internal/match"
	"streamctl/internal/value"
)

// What lies in the topic of documents is what is searched, and in the copy for the
// home partition the document behind it. A text is cut into words where the document
// is, once for all partitions of the queries:
//
//	version (1) | number of fields (uvarint) | each: name, its words (match.Cutter), with their lengths in front | doc
//
// Where the words would take much more than the text, it goes as it is, in JSON, as it did before there
// was the other form:
//
//	{"text":TEXT} or {"text":TEXT,"doc":DOC}
const (
	copyVersion = 1 // '{' is not one

	textMember = `{"text":`
	docMember  = `,"doc":`
)

// How much more than its text the words of a document may take: they are to cost
// less than to cut it again, and a text that is near to what a topic takes is not to become more.
const (
	wordsPerText = 3
	largeText    = 64 << 10 // whose words must not take more than itself
)

// textCutter cuts what is searched.
type textCutter struct {
	cutter *match.Cutter
	fields []byte
	one    []byte
	text   []byte
	names  int
}

// append appends what is searched, which is JSON, in the form of words; nil when
// they would take too much.
func (c *textCutter) append(dst, text []byte) []byte {
	c.fields, c.names = c.fields[:0], 0
	if err := c.eachText(text, c.add); err != nil {
		return nil // no object: not for the cutter to say
	}
	most := wordsPerText * len(text)
	if len(text) > largeText {
		most = len(text)
	}
	if len(c.fields) > most {
		return nil
	}
	return append(binary.AppendUvarint(append(dst, copyVersion), uint64(c.names)), c.fields...)
}

func (c *textCutter) add(name string, text []byte) {
	c.names++
	c.one = c.cutter.AppendCut(c.one[:0], text)
	c.fields = appendBytes(appendBytes(c.fields, []byte(name)), c.one)
}

// eachText visits the texts that are searched: of JSON that is a text itself, without
// a name, or of the members of an object that are texts.
func (c *textCutter) eachText(text []byte, visit func(name string, text []byte)) error {
	if text[0] == '"' {
		visit("", c.unquoted(text))
		return nil
	}
	return eachMember(text, func(name string, member value.Span) {
		at := value.LexSpace(text, value.LexName(text, int(member.Start)))
		if text[at] == '"' {
			visit(name, c.unquoted(text[at:member.End]))
		}
	})
}

// unquoted is the content of a JSON string; it is good until the next call.
func (c *textCutter) unquoted(quoted []byte) []byte {
	end, plain := value.LexString(quoted, 0)
	inside := quoted[1 : end-1]
	if plain {
		return inside
	}
	c.text = value.Unescape(c.text[:0], inside)
	return c.text
}

// copyReader reads what lies in the topic of documents.
type copyReader struct{ texts textCutter }

var errForeignCopy = errors.New("read document: it was not written by this version of the pipeline")

// take puts what is searched into the index and returns the document, nil
// where this copy has none.
func (r *copyReader) take(index *match.Index, copied []byte) (doc []byte, err error) {
	index.Begin()
	if bytes.HasPrefix(copied, []byte(textMember)) {
		return r.takeText(index, copied)
	}
	in := wire{rest: copied}
	if in.octet() != copyVersion {
		return nil, errForeignCopy
	}
	for n := in.number(); n > 0 && !in.short; n-- {
		name := string(in.bytes())
		if words := in.bytes(); !in.short {
			if err := index.AddCut(name, words); err != nil {
				return nil, errors.Join(errForeignCopy, err)
			}
		}
	}
	if in.short {
		return nil, errForeignCopy
	}
	return in.rest, nil
}

// takeText is take of a copy with the text itself.
func (r *copyReader) takeText(index *match.Index, copied []byte) (doc []byte, err error) {
	end := value.LexValue(copied, len(textMember), 1)
	if end < 0 {
		return nil, errForeignCopy
	}
	text := copied[len(textMember):end]
	rest, ok := bytes.CutPrefix(copied[end:], []byte(docMember))
	if ok && len(rest) > 1 {
		doc = rest[:len(rest)-1]
	}
	return doc, r.texts.eachText(text, index.Add)
}
