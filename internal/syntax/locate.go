package syntax

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// locate finds for each byte of a scalar's decoded Value the range of the file
// that it was written as: byte i was written as text[from[i]:to[i]].
//
// yaml.v3 has done the decoding and threw the places away. Walking the source
// again with the decoded value at hand needs none of YAML's context (flow or
// block, indentation of the parent, chomping): at each step the next byte of
// the value says how the source must be read. Where the two do not meet, ok is
// false and the caller falls back to the whole scalar.
func (s *source) locate(n *Node) (from, to []int32, ok bool) {
	w := walker{text: s.text, pos: n.at, value: n.Value,
		from: make([]int32, 0, len(n.Value)), to: make([]int32, 0, len(n.Value))}
	ok = w.walk(n.Style)
	return w.from, w.to, ok && len(w.from) == len(n.Value)
}

// scalarEnd is the offset behind a scalar's last byte (behind the closing
// quote); for what cannot be walked, it is the end of the line it begins on.
func (s *source) scalarEnd(n *Node) int {
	w := walker{text: s.text, pos: n.at, value: n.Value}
	if w.walk(n.Style) {
		return w.pos
	}
	line := s.pos(n.at).Line
	_, end := s.lineRange(line)
	return end
}

// walker reads the source of one scalar along its decoded value. When from is
// nil only the end is wanted.
type walker struct {
	text  []byte
	pos   int // next byte of the source
	value string
	done  int // bytes of value found
	from  []int32
	to    []int32
}

// took notes that the next n bytes of the value were written as text[start:end].
func (w *walker) took(n, start, end int) {
	if w.from != nil {
		for range n {
			w.from = append(w.from, int32(start))
			w.to = append(w.to, int32(end))
		}
	}
	w.done += n
}

func (w *walker) walk(style Style) bool {
	switch style {
	case SingleQuoted:
		return w.quoted('\'')
	case DoubleQuoted:
		return w.quoted('"')
	case Literal, Folded:
		return w.block(style)
	}
	return w.plain()
}

// plain walks an unquoted scalar: bytes stand for themselves, a run of white
// space with line breaks in it is folded.
func (w *walker) plain() bool {
	for w.done < len(w.value) {
		if w.pos >= len(w.text) {
			return false
		}
		if w.breakAhead() {
			if !w.fold() {
				return false
			}
			continue
		}
		if w.text[w.pos] != w.value[w.done] {
			return false
		}
		w.took(1, w.pos, w.pos+1)
		w.pos++
	}
	return true
}

// breakAhead reports whether only blanks stand between here and a line break.
func (w *walker) breakAhead() bool {
	i := w.pos
	for i < len(w.text) && isBlank(w.text[i]) {
		i++
	}
	return i < len(w.text) && isBreak(w.text[i])
}

// fold passes blanks and line breaks: one break was decoded as a space, n+1
// breaks as n newlines.
func (w *walker) fold() bool {
	start, breaks := w.pos, 0
	for w.pos < len(w.text) && (isBlank(w.text[w.pos]) || isBreak(w.text[w.pos])) {
		if w.text[w.pos] == '\n' {
			breaks++
		}
		w.pos++
	}
	want := " "
	if breaks > 1 {
		want = strings.Repeat("\n", breaks-1)
	}
	if !strings.HasPrefix(w.value[w.done:], want) {
		return false
	}
	w.took(len(want), start, w.pos)
	return true
}

// quoted walks a single- or double-quoted scalar up to and over its closing quote.
func (w *walker) quoted(quote byte) bool {
	if w.pos >= len(w.text) || w.text[w.pos] != quote {
		return false
	}
	w.pos++
	for w.pos < len(w.text) {
		switch c := w.text[w.pos]; {
		case c == quote && quote == '\'' && w.pos+1 < len(w.text) && w.text[w.pos+1] == quote:
			w.took(1, w.pos, w.pos+2)
			w.pos += 2
		case c == quote:
			w.pos++
			return w.done == len(w.value)
		case c == '\\' && quote == '"':
			if !w.escape() {
				return false
			}
		case w.breakAhead():
			if !w.fold() {
				return false
			}
		default:
			if w.done >= len(w.value) || w.value[w.done] != c {
				return false
			}
			w.took(1, w.pos, w.pos+1)
			w.pos++
		}
	}
	return false
}

// escape walks one backslash sequence of a double-quoted scalar.
func (w *walker) escape() bool {
	start := w.pos
	if start+1 >= len(w.text) {
		return false
	}
	c := w.text[start+1]
	if isBreak(c) { // an escaped line break joins the lines without a space
		w.pos++
		// Blank lines that follow still count as newlines.
		breaks := 0
		for w.pos < len(w.text) && (isBlank(w.text[w.pos]) || isBreak(w.text[w.pos])) {
			if w.text[w.pos] == '\n' {
				breaks++
			}
			w.pos++
		}
		newlines := min(breaks-1, len(w.value)-w.done)
		w.took(newlines, start, w.pos)
		return true
	}
	size := 2
	switch c {
	case 'x':
		size = 4
	case 'u':
		size = 6
	case 'U':
		size = 10
	}
	end := start + size
	if end > len(w.text) || w.done >= len(w.value) {
		return false
	}
	_, n := utf8.DecodeRuneInString(w.value[w.done:])
	w.took(n, start, end)
	w.pos = end
	return true
}

// block walks a literal (|) or folded (>) scalar the way YAML's reference
// scanner decodes it. The position is left behind the last line with content.
func (w *walker) block(style Style) bool {
	header := bytes.IndexByte(w.text[w.pos:], '\n')
	if header < 0 {
		w.pos = len(w.text)
		return w.value == ""
	}
	end := w.pos + header
	if end > w.pos && w.text[end-1] == '\r' {
		end--
	}
	w.pos += header + 1
	indent := w.blockIndent()
	breaks := w.blockBreaks(indent)
	var lead []lineBreak // the break behind the line before, at most one
	leadingBlank := false
	for w.atContent(indent) && w.done < len(w.value) {
		trailingBlank := isBlank(w.text[w.pos])
		fold := style == Folded && !leadingBlank && !trailingBlank && len(lead) > 0
		if fold && len(breaks) == 0 {
			w.took(1, lead[0].start, lead[0].end)
		}
		if !fold {
			w.tookBreaks(lead)
		}
		w.tookBreaks(breaks)
		leadingBlank = trailingBlank
		if !w.blockLine() {
			return false
		}
		end = w.pos
		lead = w.lineBreaks(1)
		breaks = w.blockBreaks(indent)
	}
	// What is left are the line breaks that chomping kept.
	left := len(w.value) - w.done
	if strings.Trim(w.value[w.done:], "\n") != "" {
		return false
	}
	tail := append(lead, breaks...)
	w.tookBreaks(tail[:min(left, len(tail))])
	w.took(len(w.value)-w.done, end, end) // the break that a file without a last one lacks
	w.pos = end
	return true
}

// lineBreak is the place of one line break with the blanks of its empty line.
type lineBreak struct{ start, end int }

func (w *walker) tookBreaks(breaks []lineBreak) {
	for _, b := range breaks {
		w.took(1, b.start, b.end)
	}
}

// atContent reports whether the position is in a line of the scalar: as deep as
// its indentation, and not at the end of the file.
func (w *walker) atContent(indent int) bool {
	if w.pos >= len(w.text) || isBreak(w.text[w.pos]) {
		return false
	}
	begin := bytes.LastIndexByte(w.text[:w.pos], '\n') + 1
	return w.pos-begin == indent
}

// blockLine walks the text of one line.
func (w *walker) blockLine() bool {
	for w.pos < len(w.text) && !isBreak(w.text[w.pos]) {
		if w.done >= len(w.value) || w.value[w.done] != w.text[w.pos] {
			return false
		}
		w.took(1, w.pos, w.pos+1)
		w.pos++
	}
	return true
}

// lineBreaks passes at most limit line breaks that stand here.
func (w *walker) lineBreaks(limit int) []lineBreak {
	var breaks []lineBreak
	for len(breaks) < limit && w.pos < len(w.text) && isBreak(w.text[w.pos]) {
		start := w.pos
		if w.text[w.pos] == '\r' {
			w.pos++
		}
		if w.pos < len(w.text) && w.text[w.pos] == '\n' {
			w.pos++
		}
		breaks = append(breaks, lineBreak{start, w.pos})
	}
	return breaks
}

// blockBreaks passes empty lines and the indentation of the next line.
func (w *walker) blockBreaks(indent int) []lineBreak {
	var breaks []lineBreak
	for {
		for n := 0; n < indent && w.pos < len(w.text) && w.text[w.pos] == ' '; n++ {
			w.pos++
		}
		one := w.lineBreaks(1)
		if len(one) == 0 {
			return breaks
		}
		breaks = append(breaks, one...)
	}
}

// blockIndent finds how many leading spaces belong to the indentation: those
// of the first line with content, less those that the value begins with.
func (w *walker) blockIndent() int {
	if strings.Trim(w.value, "\n") == "" {
		return len(w.text) // empty lines only: all their spaces are indentation
	}
	for at := w.pos; at < len(w.text); {
		i := at
		for i < len(w.text) && w.text[i] == ' ' {
			i++
		}
		if i < len(w.text) && !isBreak(w.text[i]) {
			lead := strings.TrimLeft(w.value, "\n")
			own := len(lead) - len(strings.TrimLeft(lead, " "))
			return max(i-at-own, 0)
		}
		next := bytes.IndexByte(w.text[i:], '\n')
		if next < 0 {
			return 0
		}
		at = i + next + 1
	}
	return 0
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
func isBreak(c byte) bool { return c == '\n' || c == '\r' }
