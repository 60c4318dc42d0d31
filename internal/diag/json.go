package diag

import (
	"encoding/json"
	"fmt"
)

// The JSON form of diagnostics, as `--output json` prints it. The names of the
// fields are part of the tool's interface: they are never renamed.
//
//	{"code":"unknown-field","severity":"error","message":"...","help":"...",
//	 "span":{"file":"p.yaml","start":{"line":7,"column":5,"offset":96},"end":{...}},
//	 "notes":[{"message":"...","span":{...}}]}

type jsonPos struct {
	Line   int `json:"line"`   // from 1
	Column int `json:"column"` // from 1, in runes
	Offset int `json:"offset"` // bytes from 0
}

type jsonSpan struct {
	File  string  `json:"file"`
	Start jsonPos `json:"start"`
	End   jsonPos `json:"end"`
}

type jsonNote struct {
	Message string    `json:"message"`
	Span    *jsonSpan `json:"span,omitempty"`
}

type jsonDiagnostic struct {
	Code     Code       `json:"code"`
	Severity string     `json:"severity"`
	Message  string     `json:"message"`
	Help     string     `json:"help,omitempty"`
	Span     *jsonSpan  `json:"span,omitempty"`
	Notes    []jsonNote `json:"notes,omitempty"`
}

// MarshalJSON gives the stable JSON form.
func (d Diagnostic) MarshalJSON() ([]byte, error) {
	out := jsonDiagnostic{
		Code: d.Code, Severity: d.Severity.String(), Message: d.Message, Help: d.Help, Span: spanJSON(d.Span),
	}
	for _, n := range d.Notes {
		out.Notes = append(out.Notes, jsonNote{Message: n.Text, Span: spanJSON(n.Span)})
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode diagnostic: %w", err)
	}
	return text, nil
}

// MarshalJSON gives an array, also for an empty list.
func (l List) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(append([]Diagnostic{}, l...))
	if err != nil {
		return nil, fmt.Errorf("encode diagnostics: %w", err)
	}
	return text, nil
}

func spanJSON(s Span) *jsonSpan {
	if s == (Span{}) {
		return nil
	}
	pos := func(p Pos) jsonPos { return jsonPos{Line: p.Line, Column: p.Col, Offset: p.Offset} }
	return &jsonSpan{File: s.File, Start: pos(s.Start), End: pos(s.End)}
}
