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
// and token: in the kafka section, to the end of the line, and in overrides of
// it. A misspelt name is an error whose line is printed, so names that are like
// them count too. The text is searched, not the tree, because a file with a YAML
// error has no tree and its lines are printed all the same. References to
// secrets (${...}) are shown.
func (f *File) hidden() []diag.Span {
	name := regexp.MustCompile(`(?i)\w*(?:pas|pwd|tok|secret|cred)[\w-]*["']?[ \t]*[:=][ \t]*([^\n]*)`)
	reference := regexp.MustCompile(`^["']?\$\{[^}]*\}["']?[\s},]*$`)
	section := regexp.MustCompile(`(?m)^["']?kafka["']?[ \t]*:[^\n]*(?:\n(?:[ \t#\r][^\n]*)?)*`)
	override := regexp.MustCompile(`(?m)^kafka\b[^\n]*`)
	var spans []diag.Span
	for file, text := range f.Syntax.Sources() {
		where := override
		if file == f.Syntax.Name {
			where = section
		}
		for _, part := range where.FindAllIndex(text, -1) {
			from, to := part[0], part[1]
			for _, m := range name.FindAllSubmatchIndex(text[from:to], -1) {
				if reference.Match(text[from+m[2] : from+m[3]]) {
					continue
				}
				spans = append(spans, diag.Span{File: file, Start: diag.Pos{Offset: from + m[2]}, End: diag.Pos{Offset: from + m[3]}})
			}
		}
	}
	return spans
}
