package diag

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Printer writes diagnostics for people: message, place, the line of the file
// with carets under it, notes with places of their own, and advice. The zero
// Printer prints without source lines and without colour.
type Printer struct {
	// Sources gives the text of files by the name in Span.File; a file that is
	// missing is named without showing its line.
	Sources map[string][]byte
	// Hidden are places whose text must not be shown (secrets): each byte of
	// them is printed as a star.
	Hidden []Span
	Color  bool
	// Most is how many diagnostics are printed, 0 = 100; the rest is counted.
	Most int
	// Width is the greatest width of a source line in columns, 0 = 100. A longer line
	// is cut to the part around the caret.
	Width int
}

const (
	defaultMost  = 100
	defaultWidth = 100
	leastWidth   = 40
	tabWidth     = 4
)

// Escape sequences of colours.
const (
	styleReset   = "\x1b[0m"
	styleError   = "\x1b[1;31m"
	styleWarning = "\x1b[1;33m"
	styleFrame   = "\x1b[1;34m"
	styleBold    = "\x1b[1m"
	styleHelp    = "\x1b[1;36m"
)

// Print writes every diagnostic of the list, in the order of the list, with an
// empty line between two. The list should be sorted.
func (p *Printer) Print(w io.Writer, list List) error {
	var out strings.Builder
	most := p.Most
	if most == 0 {
		most = defaultMost
	}
	for i, d := range list {
		if i == most {
			fmt.Fprintf(&out, "\n... and %s\n", list[i:].Summary())
			break
		}
		if i > 0 {
			out.WriteByte('\n')
		}
		p.one(&out, d)
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("print diagnostics: %w", err)
	}
	return nil
}

// Summary counts the list: "2 errors, 1 warning"; "" for an empty one.
func (l List) Summary() string {
	errors := 0
	for _, d := range l {
		if d.Severity == Error {
			errors++
		}
	}
	var parts []string
	add := func(n int, noun string) {
		if n == 1 {
			parts = append(parts, "1 "+noun)
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%d %ss", n, noun))
		}
	}
	add(errors, "error")
	add(len(l)-errors, "warning")
	return strings.Join(parts, ", ")
}

// String is "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

func (p *Printer) one(out *strings.Builder, d Diagnostic) {
	style := styleError
	if d.Severity == Warning {
		style = styleWarning
	}
	out.WriteString(p.paint(style, d.Severity.String()+"["+string(d.Code)+"]"))
	out.WriteString(p.paint(styleBold, ": "+d.Message))
	out.WriteByte('\n')
	gutter := p.gutter(d)
	p.place(out, d.Span, gutter, "-->", '^', style)
	for _, n := range d.Notes {
		if n.Span == (Span{}) {
			p.advice(out, gutter, "note", n.Text)
			continue
		}
		p.advice(out, gutter, "note", n.Text)
		p.place(out, n.Span, gutter, "-->", '-', styleFrame)
	}
	if d.Help != "" {
		p.advice(out, gutter, "help", d.Help)
	}
}

// gutter is the width of the greatest line number shown.
func (p *Printer) gutter(d Diagnostic) int {
	line := d.Span.Start.Line
	for _, n := range d.Notes {
		line = max(line, n.Span.Start.Line)
	}
	return len(strconv.Itoa(max(line, 1)))
}

func (p *Printer) advice(out *strings.Builder, gutter int, kind, text string) {
	pad := strings.Repeat(" ", gutter+1)
	for i, line := range strings.Split(text, "\n") {
		if i == 0 {
			fmt.Fprintf(out, "%s %s %s\n", pad, p.paint(styleFrame, "="), p.paint(styleHelp, kind+":")+" "+line)
			continue
		}
		fmt.Fprintf(out, "%s         %s\n", pad, line)
	}
}

// place writes where a span is and the line it begins on, with a mark under it.
func (p *Printer) place(out *strings.Builder, s Span, gutter int, arrow string, mark byte, style string) {
	if s.File == "" && s.Start.Line == 0 {
		return
	}
	pad := strings.Repeat(" ", gutter)
	at := s.File
	if s.Start.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", s.File, s.Start.Line, s.Start.Col)
	}
	fmt.Fprintf(out, "%s %s %s\n", pad, p.paint(styleFrame, arrow), at)
	text, begin, ok := p.line(s)
	if !ok {
		return
	}
	shown := p.excerpt(text, s.Start.Offset-begin, s.End.Offset-begin)
	bar := p.paint(styleFrame, "|")
	fmt.Fprintf(out, "%s  %s\n", pad, bar)
	number := fmt.Sprintf("%*d", gutter, s.Start.Line)
	fmt.Fprintf(out, " %s %s %s\n", p.paint(styleFrame, number), bar, shown.text)
	marks := strings.Repeat(string(mark), max(shown.width, 1))
	fmt.Fprintf(out, "%s  %s %s%s\n", pad, bar, strings.Repeat(" ", shown.column), p.paint(style, marks))
}

// line gives the source line on which a span begins and the offset of its first byte.
func (p *Printer) line(s Span) (text string, begin int, ok bool) {
	src, found := p.Sources[s.File]
	if !found || s.Start.Line == 0 || s.Start.Offset > len(src) {
		return "", 0, false
	}
	begin = bytes.LastIndexByte(src[:s.Start.Offset], '\n') + 1
	end := len(src)
	if i := bytes.IndexByte(src[s.Start.Offset:], '\n'); i >= 0 {
		end = s.Start.Offset + i
	}
	line := p.hide(s.File, src[begin:end], begin)
	if begin == 0 && strings.HasPrefix(line, "\ufeff") {
		begin = len("\ufeff")
		line = line[begin:]
	}
	return strings.TrimRight(line, "\r"), begin, true
}

// hide puts stars over the hidden places of a line that begins at offset begin.
func (p *Printer) hide(file string, line []byte, begin int) string {
	out := []byte(string(line))
	for _, h := range p.Hidden {
		if h.File != file {
			continue
		}
		for i := max(h.Start.Offset-begin, 0); i < min(h.End.Offset-begin, len(out)); i++ {
			out[i] = '*'
		}
	}
	return string(out)
}

// excerpt is the part of a line that is shown, with the place of the mark in columns.
type excerpt struct {
	text          string
	column, width int
}

// excerpt lays out a line in columns: tabs become spaces, wide runes count
// twice, control characters are shown as a replacement; a long line is cut
// around the bytes [from, to).
func (p *Printer) excerpt(line string, from, to int) excerpt {
	from = min(max(from, 0), len(line))
	to = min(max(to, from), len(line))
	cells, start, end := layout(line, from, to)
	limit := p.Width
	if limit == 0 {
		limit = defaultWidth
	}
	limit = max(limit, leastWidth)
	total := columns(cells)
	if total <= limit {
		return excerpt{text: join(cells), column: columns(cells[:start]), width: columns(cells[start:end])}
	}
	// Keep the mark about a third into the window, so that what follows is seen.
	first, ahead := start, 0
	for first > 0 && ahead+cells[first-1].width <= limit/3 {
		first--
		ahead += cells[first].width
	}
	last, size := first, 0
	for last < len(cells) && size+cells[last].width <= limit-2 {
		size += cells[last].width
		last++
	}
	for last == len(cells) && first > 0 && size+cells[first-1].width <= limit-2 {
		first--
		size += cells[first].width
		ahead += cells[first].width
	}
	out := excerpt{text: join(cells[first:last]), column: ahead, width: columns(cells[start:min(end, last)])}
	if first > 0 {
		out.text = "…" + out.text
		out.column++
	}
	if last < len(cells) {
		out.text += "…"
	}
	return out
}

// cell is one rune as it is shown.
type cell struct {
	text  string
	width int
}

// layout gives the cells of a line and which of them hold the bytes [from, to).
func layout(line string, from, to int) (cells []cell, start, end int) {
	column := 0
	start, end = -1, -1
	for i, r := range line {
		if start < 0 && i >= from {
			start = len(cells)
		}
		if end < 0 && i >= to {
			end = len(cells)
		}
		c := cell{text: string(r), width: runeWidth(r)}
		switch {
		case r == '\t':
			c.width = tabWidth - column%tabWidth
			c.text = strings.Repeat(" ", c.width)
		case r < ' ' || r == 0x7f || r == utf8.RuneError || isDirectional(r):
			c = cell{text: "�", width: 1}
		}
		cells = append(cells, c)
		column += c.width
	}
	if start < 0 {
		start = len(cells)
	}
	if end < 0 {
		end = len(cells)
	}
	return cells, start, end
}

func columns(cells []cell) int {
	n := 0
	for _, c := range cells {
		n += c.width
	}
	return n
}

func join(cells []cell) string {
	var b strings.Builder
	for _, c := range cells {
		b.WriteString(c.text)
	}
	return b.String()
}

// isDirectional lists the runes that turn the direction of a line around: shown
// as they are, they would move the text away from its carets.
func isDirectional(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// runeWidth is how many columns of a terminal a rune takes: 0 for combining
// marks and joiners, 2 for East Asian wide and full-width forms and emoji, else
// 1 (Unicode Standard Annex 11, in ranges).
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case r <= 0x36f, r >= 0x200b && r <= 0x200f, r >= 0x20d0 && r <= 0x20f0,
		r >= 0xfe00 && r <= 0xfe0f, r >= 0xfe20 && r <= 0xfe2f, r >= 0xe0100 && r <= 0xe01ef:
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0xa4cf,
		r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6,
		r >= 0x1f300 && r <= 0x1f64f, r >= 0x1f680 && r <= 0x1f6ff, r >= 0x1f900 && r <= 0x1f9ff,
		r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

func (p *Printer) paint(style, text string) string {
	if !p.Color {
		return text
	}
	return style + text + styleReset
}
