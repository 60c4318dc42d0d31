package syntax

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"streamctl/internal/diag"
)

// yaml.v3 says what it did not like in the words of its scanner, and where
// only by a line, which is often the line where the surrounding mapping began.
// This file finds the real place and says it plainly.

// searchLimit bounds the search for the place: it parses the file some twenty
// times.
const searchLimit = 64 << 10

// problem is how one message of yaml.v3 is told.
type problem struct {
	match   string // part of yaml.v3's message
	where   place
	message string
	help    string
}

// place says how the position of a problem is found.
type place uint8

const (
	byLine   place = iota // the line that yaml.v3 names
	bySearch              // the shortest beginning of the file that shows the problem
	byQuote               // the opening quote on the line that yaml.v3 names
)

// explain makes a diagnostic of an error of yaml.v3.
func (s *source) explain(err error) diag.Diagnostic {
	line, text := s.errorLine(err)
	if d, ok := s.tabIndent(text, line); ok {
		return d
	}
	if strings.Contains(text, "exceeded max depth") {
		return diag.Errorf(CodeLimit, s.lineSpan(line), "mappings and lists are nested more than %d deep", MaxDepth).
			WithHelp("no pipeline needs that; look for brackets that are opened by mistake")
	}
	if strings.HasPrefix(text, "unknown anchor") {
		return s.unknownAnchor(text)
	}
	if strings.Contains(text, "expected ',' or") {
		return s.openBracket(line, text)
	}
	for _, p := range problems() {
		if !strings.Contains(text, p.match) {
			continue
		}
		span := s.lineSpan(line)
		switch p.where {
		case bySearch:
			if at, ok := s.search(text, false); ok {
				return s.refine(p, at)
			}
		case byQuote:
			span = s.quoteSpan(line)
		}
		d := diag.Errorf(CodeSyntax, span, "%s", p.message)
		d.Help = p.help
		return d
	}
	return diag.Errorf(CodeSyntax, s.lineSpan(line), "YAML cannot be read: %s", text)
}

// Messages of yaml.v3 that need a look at the text.
const (
	mappingValue = "mapping values are not allowed"
	expectedDash = "did not find expected '-'"
	expectedKey  = "did not find expected key"
)

const quoteHelp = "put the whole value in single quotes: '...'"

// problems lists the messages of yaml.v3 that can be explained, the more
// particular first.
func problems() []problem {
	return []problem{
		{mappingValue, bySearch, `a second ": " in one value`, quoteHelp + "; if a new field was meant, it must begin in the column of its neighbours"},
		{"could not find expected ':'", byLine, `a field needs a ":" and a space behind its name`, "write `name: value`"},
		{expectedDash, bySearch, `expected a "-": the list above goes on in this column`, "begin the line with \"- \", or indent it like the fields that it belongs to"},
		{expectedKey, bySearch, "this field does not begin in the column of its neighbours", "indent it by as many spaces as the fields that it belongs to"},
		{"block sequence entries are not allowed", bySearch, `a list entry ("- ") cannot stand on the line of its field`, "begin the list on the next line, or write it as [a, b]"},
		{"mapping keys are not allowed", bySearch, `a value cannot begin with "? "`, quoteHelp},
		{"cannot start any token", bySearch, "a value cannot begin with this character", quoteHelp},
		{"expected node content", bySearch, "a value cannot begin with this character", quoteHelp},
		{"unknown escape character", bySearch, "unknown escape in a double-quoted text", `write \\ for a backslash, or use single quotes, in which a backslash is only a backslash`},
		{"hexdecimal number", bySearch, `\x, \u and \U need 2, 4 and 8 hexadecimal digits`, "write \\\\ for a backslash, or use single quotes"},
		{"Unicode character escape", bySearch, "this escape is no Unicode character", ""},
		{"unexpected end of stream", byQuote, "this quote is never closed", "close it; inside single quotes an apostrophe is written twice ('')"},
		{"unexpected document indicator", byQuote, "this quote is not closed before the next document begins", "close it"},
		{"equal to 0", bySearch, "the indentation of a block text cannot be 0", "leave the number out"},
		{"expected comment or line break", bySearch, "nothing can follow | or > on its line", "begin the text on the next line, indented"},
		{"tab character where an indentation", byLine, "a tab is used as indentation", "indent with spaces"},
		{"alphabetic or numeric character", bySearch, "a value cannot begin with a lone * or &", "put it in single quotes: '*'"},
		{"expected '>'", bySearch, "this tag is not closed", "a value that begins with ! must be put in single quotes"},
		{"expected whitespace or line break", bySearch, "this tag is not closed", "a value that begins with ! must be put in single quotes"},
		{"undefined tag handle", byLine, "this tag is not known", "a value that begins with ! must be put in single quotes"},
		{"incompatible YAML document", byLine, "only YAML 1.1 is read", "delete the %YAML line"},
		{"<document start>", bySearch, "this does not belong to the document above", "a file holds one mapping at the outermost level"},
	}
}

// refine tells what only the text at the place of a problem can tell: whether
// a field is badly indented or a value holds too much.
func (s *source) refine(p problem, at int) diag.Diagnostic {
	if d, ok := s.unquoted(p, at); ok {
		return d
	}
	span := s.tokenSpan(at)
	line := span.Start.Line
	start, _ := s.lineRange(line)
	first := start + s.indent(line)
	if p.match == expectedKey || p.match == expectedDash || p.match == mappingValue {
		for l := line; l >= max(line-1, 1); l-- {
			if d, ok := s.behindQuote(l); ok {
				return d
			}
		}
	}
	d := diag.Errorf(CodeSyntax, span, "%s", p.message).WithHelp("%s", p.help)
	switch {
	case p.match == expectedKey && at > first:
		d.Message = "this stands behind the end of the value"
		d.Help = "a value that begins with a quote or a bracket ends with it; " + quoteHelp
	case p.match == expectedKey && s.text[at] == '-':
		d.Message = "this list entry does not begin in the column of its neighbours"
	case p.match == expectedDash:
		d.Span = s.tokenSpan(first)
	case p.match == mappingValue && !bytes.Contains(s.text[first:at], []byte(": ")):
		d = s.misplacedField(first, at, line)
	case strings.Contains(p.match, "escape") || strings.Contains(p.match, "hex"):
		if slash := bytes.LastIndexByte(s.text[start:at+1], '\\'); slash >= 0 {
			d.Span = s.span(start+slash, at+1)
		}
	}
	return d
}

// misplacedField explains `name:` in a place where the line above left no room
// for a field.
func (s *source) misplacedField(first, at, line int) diag.Diagnostic {
	d := diag.Errorf(CodeSyntax, s.span(first, at), "this field is indented deeper than the one above, which already has a value").
		WithHelp("begin it in the column of its neighbours; a value that goes on over several lines and holds \": \" needs quotes or |")
	for l := line - 1; l >= 1; l-- {
		above := s.lineSpan(l)
		text := string(s.text[above.Start.Offset:above.End.Offset])
		if text == "" || text[0] == '#' {
			continue
		}
		if s.indent(l) >= s.indent(line) && !strings.Contains(text, ":") {
			return diag.Errorf(CodeSyntax, above, "a field needs a \":\" and a space behind its name").WithHelp("write `name: value`")
		}
		break
	}
	return d
}

// behindQuote finds text behind the closing quote of a value on a line.
func (s *source) behindQuote(line int) (diag.Diagnostic, bool) {
	start, end := s.lineRange(line)
	text := s.text[start:end]
	m := quotedValue().FindSubmatchIndex(text)
	if m == nil {
		return diag.Diagnostic{}, false
	}
	rest := m[1]
	for rest < len(text) && isBlank(text[rest]) {
		rest++
	}
	if rest == len(text) || text[rest] == '#' && rest > m[1] || strings.IndexByte(",]}:", text[rest]) >= 0 {
		return diag.Diagnostic{}, false
	}
	d := diag.Errorf(CodeSyntax, s.span(start+rest, end), "this stands behind the closing quote").
		WithNote(s.span(start+m[1]-1, start+m[1]), "the quoted value ends here")
	d.Help = "a value that begins with a quote ends with it; " + quoteHelp
	if rest == m[1] && text[rest-1] == '\'' {
		d.Help = "inside single quotes an apostrophe is written twice ('')"
	}
	return d, true
}

// quotedValue matches the beginning of a line up to the end of its first
// quoted value. It is compiled for each error: there is at most one per file.
func quotedValue() *regexp.Regexp {
	return regexp.MustCompile(`^[^'"#]*[:\-,\[{]\s+(?:'(?:[^']|'')*'|"(?:[^"\\]|\\.)*")`)
}

// errorLine gives the line that an error of yaml.v3 is about and its bare
// message. yaml.v3 forgets the line when it is the first, and takes another
// instead; it counts differently in its two halves. Parsing again behind an
// empty line brings the true number out.
func (s *source) errorLine(err error) (int, string) {
	text := bareMessage(err)
	if len(s.text) <= searchLimit {
		if again := parseError(append([]byte("\n"), bytes.TrimPrefix(s.text, []byte(bom))...)); again != nil && bareMessage(again) == text {
			err = again
		}
	}
	line, _ := cutLine(err)
	if line == 0 {
		return 1, text
	}
	if isScannerMessage(text) && len(s.text) <= searchLimit {
		line--
	}
	return min(max(line, 1), len(s.lines)), text
}

// isScannerMessage tells which half of yaml.v3 a message is from: the scanner
// counts lines from 1, the parser from 0.
func isScannerMessage(text string) bool {
	for _, parser := range []string{"expected key", "expected '-'", "expected ',' or", "node content",
		"document start", "stream-start", "tag handle", "duplicate %", "incompatible"} {
		if strings.Contains(text, parser) {
			return false
		}
	}
	return true
}

func bareMessage(err error) string {
	_, text := cutLine(err)
	return text
}

// cutLine splits "yaml: line 3: message"; the line is 0 when there is none.
func cutLine(err error) (int, string) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	rest, ok := strings.CutPrefix(text, "line ")
	if !ok {
		return 0, text
	}
	number, message, ok := strings.Cut(rest, ": ")
	line, err := strconv.Atoi(number)
	if !ok || err != nil {
		return 0, text
	}
	return line, message
}

// parseError gives yaml.v3's complaint about text, or nil.
func parseError(text []byte) error {
	_, err := newSource("", text).read()
	return err
}

// search finds where the shortest beginning of the file ends that already shows the problem: the
// problem begins with the last character of it. Open brackets of that
// beginning are closed first when closing is set, because a cut list is an
// error of its own.
func (s *source) search(text string, closing bool) (int, bool) {
	if len(s.text) > searchLimit {
		return 0, false
	}
	shows := func(size int) bool {
		prefix := bytes.Clone(s.text[:size])
		if closing {
			prefix = append(prefix, closers(prefix)...)
		}
		err := parseError(prefix)
		return err != nil && bareMessage(err) == text
	}
	if !shows(len(s.text)) {
		return 0, false
	}
	low, high := 0, len(s.text) // shows(high), not shows(low)
	for high-low > 1 {
		mid := (low + high) / 2
		for mid > low && !utf8.RuneStart(s.text[min(mid, len(s.text)-1)]) {
			mid--
		}
		if mid == low {
			break
		}
		if shows(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return low, true
}

// tokenSpan covers the word that begins at a place, at most to the end of the line.
func (s *source) tokenSpan(at int) diag.Span {
	for at > 0 && at < len(s.text) && isSpace(s.text[at]) && !isBreak(s.text[at-1]) {
		at-- // the problem showed only behind the word
	}
	end := at
	for end < len(s.text) && !isSpace(s.text[end]) {
		end++
	}
	return s.span(at, max(end, min(at+1, len(s.text))))
}

// quoteSpan is the quote that opens the unclosed text beginning on a line.
func (s *source) quoteSpan(line int) diag.Span {
	start, end := s.lineRange(line)
	last := -1
	for i := start; i < end; i++ {
		c := s.text[i]
		if c != '"' && c != '\'' || i > start && strings.IndexByte(" \t:,[{-", s.text[i-1]) < 0 {
			continue
		}
		last = i
		if closed := bytes.IndexByte(s.text[i+1:end], c); closed >= 0 {
			i += closed + 1
		}
	}
	if last < 0 {
		return s.lineSpan(line)
	}
	return s.span(last, last+1)
}

// tabIndent finds a tab in the indentation near the line of an error: YAML
// forbids it, and what yaml.v3 says about it is hard to understand.
func (s *source) tabIndent(text string, line int) (diag.Diagnostic, bool) {
	if !strings.Contains(text, "token") && !strings.Contains(text, "tab character") && !strings.Contains(text, "expected key") && !strings.Contains(text, "expected ':'") && !strings.Contains(text, "expected '-'") {
		return diag.Diagnostic{}, false
	}
	for l := max(line-1, 1); l <= len(s.lines); l++ {
		start, end := s.lineRange(l)
		indent := start
		for indent < end && isBlank(s.text[indent]) {
			indent++
		}
		tab := bytes.IndexByte(s.text[start:indent], '\t')
		if tab < 0 || indent == end {
			continue
		}
		return diag.Errorf(CodeTab, s.span(start+tab, indent), "a tab is used as indentation").
			WithHelp("YAML allows only spaces there; replace the tab by spaces"), true
	}
	return diag.Diagnostic{}, false
}

// unknownAnchor explains *name without &name: mostly a value with a star in it.
func (s *source) unknownAnchor(text string) diag.Diagnostic {
	name := strings.TrimSuffix(strings.TrimPrefix(text, "unknown anchor '"), "' referenced")
	span := diag.Span{File: s.name}
	if at := bytes.Index(s.text, []byte("*"+name)); at >= 0 {
		span = s.span(at, at+1+len(name))
	}
	return diag.Errorf(CodeSyntax, span, "alias *%s names no anchor", name).
		WithHelp("a text that begins with * must be put in single quotes")
}

// openBracket explains a list or mapping in brackets that is not closed, or in
// which something unexpected stands.
func (s *source) openBracket(line int, text string) diag.Diagnostic {
	kind, closer := "list", "]"
	if strings.Contains(text, "'}'") {
		kind, closer = "mapping", "}"
	}
	open := s.lineSpan(line)
	at, found := s.search(text, true)
	beginning := s.text
	if found {
		beginning = s.text[:at]
	}
	if stack := openBrackets(beginning); len(stack) > 0 {
		last := stack[len(stack)-1]
		open = s.span(last, last+1)
	}
	if d, ok := s.hashIn(open.Start.Offset); ok {
		return d
	}
	if !found {
		return diag.Errorf(CodeSyntax, open, "this %s is never closed", kind).
			WithHelp("add the missing %q", closer)
	}
	span := s.tokenSpan(at)
	if span.Start.Line > open.Start.Line && s.indent(span.Start.Line) <= s.indent(open.Start.Line) {
		return diag.Errorf(CodeSyntax, open, "this %s is not closed before the next field begins", kind).
			WithHelp("add the missing %q", closer)
	}
	span = s.span(at, at+1)
	help := strings.TrimSuffix(bracketHelp, ": ")
	if start, end, _ := s.valueAround(at); start < at && at < end {
		help = bracketHelp + quoted(s.text[start:end])
	}
	return diag.Errorf(CodeSyntax, span, "expected \",\" or %q here", closer).
		WithNote(open, "the %s begins here", kind).
		WithHelp("%s", help)
}

func (s *source) indent(line int) int {
	start, end := s.lineRange(line)
	n := 0
	for start+n < end && s.text[start+n] == ' ' {
		n++
	}
	return n
}

// openBrackets lists the places of the brackets that are open at the end of
// text. Quotes count where a value can begin, comments are left out.
func openBrackets(text []byte) []int {
	var stack []int
	for i := 0; i < len(text); i++ {
		valueStart := i == 0 || strings.IndexByte(" \t\r\n:,[{-", text[i-1]) >= 0
		switch c := text[i]; {
		case c == '#' && (i == 0 || isSpace(text[i-1])):
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case (c == '"' || c == '\'') && valueStart:
			i = quoteEnd(text, i)
		case (c == '[' || c == '{') && (valueStart || len(stack) > 0):
			stack = append(stack, i)
		case (c == ']' || c == '}') && len(stack) > 0:
			stack = stack[:len(stack)-1]
		}
	}
	return stack
}

// quoteEnd is the place of the quote that closes the one at i, or the last byte.
func quoteEnd(text []byte, i int) int {
	for j := i + 1; j < len(text); j++ {
		if text[j] == '\\' && text[i] == '"' {
			j++
			continue
		}
		if text[j] == text[i] {
			return j
		}
	}
	return len(text) - 1
}

// closers are the brackets that close what is open at the end of text, after a
// line break so that a comment does not swallow them.
func closers(text []byte) []byte {
	stack := openBrackets(text)
	if len(stack) == 0 {
		return nil
	}
	out := []byte("\n ")
	for i := len(stack) - 1; i >= 0; i-- {
		out = append(out, text[stack[i]]+2) // ']' and '}' stand two behind '[' and '{'
	}
	return out
}
