package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"streamctl/internal/diag"
)

// Codes of this package's diagnostics.
const (
	CodeSyntax        diag.Code = "yaml-syntax"
	CodeEncoding      diag.Code = "yaml-encoding"
	CodeTab           diag.Code = "yaml-tab"
	CodeLimit         diag.Code = "yaml-limit"
	CodeDocuments     diag.Code = "yaml-documents"
	CodeDuplicateKey  diag.Code = "duplicate-key"
	CodeNotSupported  diag.Code = "not-supported"
	CodeInterpolation diag.Code = "interpolation"
	CodeOverride      diag.Code = "override"
)

// What a file may be at most. A pipeline that a human wrote is far below;
// beyond, a file is a mistake or an attack.
const (
	MaxSize    = 1 << 20 // bytes
	MaxDepth   = 64      // nested mappings and lists
	MaxAliases = 100     // uses of *name
	MaxNodes   = 50_000  // values, each counted as often as aliases repeat it
)

// Characters that begin or end values in YAML, counted before yaml.v3 spends
// memory on them: a file with more of them than the limit is no pipeline.
const (
	structural      = ",:-?[{\n"
	structuralLimit = 2 * MaxNodes
)

// File is a parsed YAML file.
type File struct {
	Name string
	Text []byte // as read, byte order mark included
	Root *Node  // nil for an empty file and after errors that leave no tree
	// Overrides is the text of the pseudo file OverrideFile, nil without overrides.
	Overrides []byte
}

// Sources gives the text of every file that spans of this File point to.
func (f *File) Sources() map[string][]byte {
	m := map[string][]byte{f.Name: f.Text}
	if f.Overrides != nil {
		m[OverrideFile] = f.Overrides
	}
	return m
}

// Parse reads one YAML document. The tree is complete when the list holds no
// error; after an error of structure (a duplicate key, a tag) it holds what
// could be read, so that later stages can report more at once. Time and memory
// are bounded whatever the input: about 1 s and 100 MB for the worst 1 MiB,
// nothing worth naming beyond that size.
func Parse(name string, text []byte) (*File, diag.List) {
	file := &File{Name: name, Text: text}
	if len(text) > MaxSize {
		file.Text = text[:0]
		return file, diag.List{diag.Errorf(CodeLimit, diag.Span{File: name},
			"the file has %d bytes, more than the limit of %d", len(text), MaxSize).
			WithHelp("a pipeline file holds definitions, not data; split it into several pipelines")}
	}
	src := newSource(name, text)
	var list diag.List
	if src.checkText(&list) {
		return file, list
	}
	doc, err := src.read()
	if err != nil {
		list.Add(src.explain(err))
		return file, list
	}
	if doc.second != nil {
		list.Add(*doc.second)
		return file, list
	}
	if doc.first == nil || len(doc.first.Content) == 0 {
		return file, list
	}
	c := converter{src: src, list: &list, anchored: map[*yaml.Node]*anchored{}}
	file.Root = c.convert(doc.first.Content[0], 1)
	list.Sort()
	if c.stopped {
		file.Root = nil
	}
	return file, list
}

// checkText finds what no YAML file may contain: bytes that are no UTF-8,
// control characters, exotic line separators (YAML counts them as lines,
// editors do not). It reports whether it found something.
func (s *source) checkText(list *diag.List) bool {
	if bytes.HasPrefix(s.text, []byte("\xff\xfe")) || bytes.HasPrefix(s.text, []byte("\xfe\xff")) {
		list.Errorf(CodeEncoding, diag.Span{File: s.name}, "the file is encoded as UTF-16").
			Help = "save it as UTF-8"
		return true
	}
	count := 0
	for i := 0; i < len(s.text); {
		c := s.text[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\n' && c != '\t' && !(c == '\r' && i+1 < len(s.text) && s.text[i+1] == '\n') || c == 0x7f {
				list.Errorf(CodeEncoding, s.span(i, i+1), "control character U+%04X is not allowed in YAML", c).
					Help = "delete it; inside a double-quoted text it can be written as an escape"
				return true
			}
			if strings.IndexByte(structural, c) >= 0 {
				count++
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(s.text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			list.Errorf(CodeEncoding, s.span(i, i+1), "byte 0x%02X is not valid UTF-8", c).
				Help = "save the file as UTF-8"
			return true
		case r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xFEFF && i > 0 || r > 0x7f && r < 0xa0 || r == 0xFFFE || r == 0xFFFF:
			list.Errorf(CodeEncoding, s.span(i, i+size), "character U+%04X is not allowed here", r).
				Help = fmt.Sprintf("delete it; inside a double-quoted text write \"\\u%04x\"", r)
			return true
		}
		i += size
	}
	if count > structuralLimit {
		list.Errorf(CodeLimit, diag.Span{File: s.name}, "the file has far too many values to be a pipeline").
			Help = "a pipeline file holds definitions, not data"
		return true
	}
	return false
}

// documents is what yaml.v3 found: the first document, and a complaint if there is a second.
type documents struct {
	first  *yaml.Node
	second *diag.Diagnostic
}

// read runs yaml.v3 over the text. Its panics on odd input become errors.
func (s *source) read() (docs documents, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(s.text))
	var first, second yaml.Node
	if err := dec.Decode(&first); err != nil {
		if errors.Is(err, io.EOF) {
			return documents{}, nil
		}
		return documents{}, err
	}
	docs.first = &first
	err = dec.Decode(&second)
	if errors.Is(err, io.EOF) {
		return docs, nil
	}
	if err != nil && !bytes.Contains(s.text, []byte("\n---")) {
		return documents{}, err // something behind the end of the document
	}
	d := diag.Errorf(CodeDocuments, s.secondDocument(&second), "the file holds more than one YAML document").
		WithHelp("write each pipeline into a file of its own; streamctl takes several files")
	docs.second = &d
	return docs, nil
}

// secondDocument is the place of the line that begins the second document.
func (s *source) secondDocument(doc *yaml.Node) diag.Span {
	content, marker := false, 0
	for line := 1; line <= len(s.lines); line++ {
		start, end := s.lineRange(line)
		text := string(s.text[start:end])
		isMarker := strings.HasPrefix(text, "---") && (len(text) == 3 || isBlank(text[3]))
		if isMarker && (content || marker > 0) {
			return s.lineSpan(line)
		}
		if isMarker {
			marker = line
		}
		trimmed := strings.TrimSpace(text)
		if trimmed != "" && !isMarker && trimmed[0] != '#' && trimmed[0] != '%' {
			content = true
		}
	}
	return s.lineSpan(max(doc.Line, 1))
}
