package syntax

import (
	"sort"
	"unicode/utf8"

	"streamctl/internal/diag"
)

// source is the text of a file with the beginnings of its lines.
type source struct {
	name  string
	text  []byte
	lines []int // offset of the first byte of each line
}

func newSource(name string, text []byte) *source {
	s := &source{name: name, text: text, lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// pos gives the place of a byte offset.
func (s *source) pos(offset int) diag.Pos {
	offset = min(max(offset, 0), len(s.text))
	line := sort.SearchInts(s.lines, offset+1) // the first line that begins behind offset
	begin := s.lines[line-1]
	if line == 1 && hasBOM(s.text) {
		begin = min(len(bom), offset)
	}
	return diag.Pos{Offset: offset, Line: line, Col: utf8.RuneCount(s.text[begin:offset]) + 1}
}

// span gives the place of a byte range.
func (s *source) span(start, end int) diag.Span {
	return diag.Span{File: s.name, Start: s.pos(start), End: s.pos(max(start, end))}
}

// offset is the reverse of pos for the line and column (both from 1, columns
// in runes) that yaml.v3 gives.
func (s *source) offset(line, col int) int {
	if line < 1 {
		return 0
	}
	if line > len(s.lines) {
		return len(s.text)
	}
	at := s.lines[line-1]
	if line == 1 && hasBOM(s.text) {
		at = len(bom)
	}
	for ; col > 1 && at < len(s.text) && s.text[at] != '\n'; col-- {
		_, size := utf8.DecodeRune(s.text[at:])
		at += size
	}
	return at
}

// lineSpan covers the visible text of a line (from 1), without indentation and
// trailing space.
func (s *source) lineSpan(line int) diag.Span {
	line = min(max(line, 1), len(s.lines))
	start, end := s.lineRange(line)
	for start < end && (s.text[start] == ' ' || s.text[start] == '\t') {
		start++
	}
	for end > start && (s.text[end-1] == ' ' || s.text[end-1] == '\t') {
		end--
	}
	return s.span(start, end)
}

// lineRange is the byte range of a line (from 1) without its line break.
func (s *source) lineRange(line int) (start, end int) {
	start = s.lines[line-1]
	if line == 1 && hasBOM(s.text) {
		start = len(bom)
	}
	end = len(s.text)
	if line < len(s.lines) {
		end = s.lines[line] - 1
	}
	if end > start && s.text[end-1] == '\r' {
		end--
	}
	return start, end
}

const bom = "\xef\xbb\xbf"

func hasBOM(text []byte) bool {
	return len(text) >= len(bom) && string(text[:len(bom)]) == bom
}
