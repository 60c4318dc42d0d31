package pipeline

import (
	"regexp"

	"streamctl/internal/diag"
)

// Printer prints diagnostics about this file, without its secrets.
func (f *File) Printer() *diag.Printer {
	return &diag.Printer{Sources: f.Syntax.Sources(), Hidden: f.hidden()}
}

// hidden finds the places of secrets in the text: what stands behind password:
// and token: in the kafka section, to the end of the line, and in overrides. The
// text is searched, not the tree, because a file with a YAML error has no tree
// and its lines are printed all the same. References to secrets (${...}) are shown.
func (f *File) hidden() []diag.Span {
	var spans []diag.Span
	for name, text := range f.Syntax.Sources() {
		pattern := regexp.MustCompile(`(?m)\b(?:password|token)["']?[ \t]*[:=][ \t]*([^\n]*)`)
		from, to := 0, len(text)
		if name == f.Syntax.Name {
			section := regexp.MustCompile(`(?m)^["']?kafka["']?[ \t]*:[^\n]*(?:\n(?:[ \t#\r][^\n]*)?)*`).FindIndex(text)
			if section == nil {
				continue
			}
			from, to = section[0], section[1]
		}
		for _, m := range pattern.FindAllSubmatchIndex(text[from:to], -1) {
			value := text[from+m[2] : from+m[3]]
			if regexp.MustCompile(`^["']?\$\{[^}]*\}["']?[\s},]*$`).Match(value) {
				continue
			}
			spans = append(spans, diag.Span{File: name, Start: diag.Pos{Offset: from + m[2]}, End: diag.Pos{Offset: from + m[3]}})
		}
	}
	return spans
}
