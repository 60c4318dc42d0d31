package codec

import (
	"slices"

	"streamctl/internal/value"
)

// AppendSplice appends the object row.Doc without its closing brace and
// without the members that the given cuts of its Shape name, byte for byte
// otherwise. more is true when any member remains, so that whatever is added
// must begin with a comma. A row of null gives an empty object; ok is false,
// and nothing is appended, when the document is no object. row must have been
// filled by Scan.
func AppendSplice(dst []byte, row *value.Row, cuts []int) (out []byte, more, ok bool) {
	start := len(dst)
	out, more, ok = AppendMembers(append(dst, '{'), row, cuts, false)
	if !ok {
		return out[:start], false, false
	}
	return out, more, true
}

// AppendMembers is AppendSplice without the opening brace, to be called within
// an object: when members are there already (had) and any is added, a comma
// goes between. more is true when there is a member now.
func AppendMembers(dst []byte, row *value.Row, cuts []int, had bool) (out []byte, more, ok bool) {
	doc := row.Doc
	first := value.LexSpace(doc, 0)
	if isNullDoc(doc, first) {
		return dst, had, true
	}
	if doc[first] != '{' {
		return dst, had, false
	}
	last := len(doc) - 1 // the closing brace
	for doc[last] != '}' {
		last--
	}
	start := len(dst)
	if had {
		dst = append(dst, ',')
	}
	from := len(dst)
	var few [16]value.Span
	i := first + 1
	for _, span := range spans(few[:0], row, cuts) {
		if int(span.Start) > i {
			dst = append(dst, doc[i:span.Start]...)
		}
		// The comma after the member goes with it; that of a last member is trimmed below.
		i = value.LexSpace(doc, int(span.End))
		if doc[i] == ',' {
			i = value.LexSpace(doc, i+1)
		}
	}
	dst = trimComma(append(dst, doc[i:last]...), from)
	if len(dst) == from {
		return dst[:start], had, true
	}
	return dst, true, true
}

func isNullDoc(doc []byte, first int) bool {
	return first >= len(doc) || doc[first] == 'n'
}

// spans collects the members to leave out, in the order of the document.
func spans(to []value.Span, row *value.Row, cuts []int) []value.Span {
	for _, number := range cuts {
		if row.Cuts[number].End > 0 {
			to = append(to, row.Cuts[number])
		}
	}
	for _, dup := range row.Dups {
		if slices.Contains(cuts, dup.Cut) {
			to = append(to, dup.Span)
		}
	}
	slices.SortFunc(to, func(a, b value.Span) int { return int(a.Start) - int(b.Start) })
	return to
}

// trimComma takes white space and one comma off the end of dst[from:].
func trimComma(dst []byte, from int) []byte {
	dst = trimSpace(dst, from)
	if len(dst) > from && dst[len(dst)-1] == ',' {
		dst = trimSpace(dst[:len(dst)-1], from)
	}
	return dst
}

func trimSpace(dst []byte, from int) []byte {
	for len(dst) > from {
		switch dst[len(dst)-1] {
		case ' ', '\t', '\n', '\r':
			dst = dst[:len(dst)-1]
		default:
			return dst
		}
	}
	return dst
}
