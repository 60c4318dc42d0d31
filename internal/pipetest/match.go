package pipetest

import (
	"fmt"
	"strconv"

	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// difference is one place in which a value is not as expected.
type difference struct {
	path string // value.profile.title
	want string
	got  string
	span diag.Span // of what was expected
}

// String tells it on one line.
func (d difference) String() string {
	return fmt.Sprintf("%s: expected %s, got %s", d.path, d.want, d.got)
}

// matches says whether the pattern accepts a value.
func (p *pattern) matches(v value.Value) bool { return len(p.compare(v, "")) == 0 }

// compare gives the places in which v, found at path, is not what the pattern
// accepts; none when it is.
func (p *pattern) compare(v value.Value, path string) []difference {
	switch p.kind {
	case object:
		if v.IsObject() {
			return p.compareFields(v.Expand(), path)
		}
	case list:
		if v.IsList() {
			return p.compareItems(v.Expand(), path)
		}
	default:
		if p.accepts(v) {
			return nil
		}
	}
	return []difference{{path, p.String(), show(v), p.span}}
}

// accepts decides about everything that is neither object nor list.
func (p *pattern) accepts(v value.Value) bool {
	switch p.kind {
	case anything, further:
		return v.Kind != value.Absent
	case absent:
		return v.Kind == value.Absent
	case matching:
		return (v.Kind == value.String || v.Kind == value.Bytes) && p.regex.MatchString(v.Text)
	case nearly:
		f, ok := v.ToFloat()
		return ok && f >= p.number-p.tolerance && f <= p.number+p.tolerance
	}
	if v.Kind == value.Absent {
		return false
	}
	if v.Kind == value.Bytes && p.value.Kind == value.String {
		return v.Text == p.value.Text
	}
	return value.Equal(p.value, v)
}

func (p *pattern) compareFields(v value.Value, path string) []difference {
	var out []difference
	named := make(map[string]bool, len(p.fields))
	for _, f := range p.fields {
		named[f.name] = true
		out = append(out, f.compare(v.Get(f.name), join(path, f.name))...)
	}
	if p.open {
		return out
	}
	for i, name := range v.Tree.Keys {
		if !named[name] {
			out = append(out, difference{join(path, name), "no such field", show(v.Tree.Items[i]), p.span})
		}
	}
	return out
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (p *pattern) compareItems(v value.Value, path string) []difference {
	items := v.Tree.Items
	fixed := 0
	for _, item := range p.items {
		if item.kind != further {
			fixed++
		}
	}
	if fixed < len(p.items) {
		if p.fits(items) {
			return nil
		}
		return []difference{{path, p.String(), show(v), p.span}}
	}
	var out []difference
	for i, want := range p.items {
		at := path + "[" + strconv.Itoa(i) + "]"
		if i >= len(items) {
			out = append(out, difference{at, want.String(), "no such element", want.span})
			continue
		}
		out = append(out, want.compare(items[i], at)...)
	}
	for i := len(p.items); i < len(items); i++ {
		out = append(out, difference{path + "[" + strconv.Itoa(i) + "]", "no such element", show(items[i]), p.span})
	}
	return out
}

// fits says whether a list with `...` in it accepts items: the usual matching
// with wildcards, row by row.
func (p *pattern) fits(items []value.Value) bool {
	// can[j]: what stands before the element at hand accepts the first j items.
	can := make([]bool, len(items)+1)
	can[0] = true
	for _, want := range p.items {
		next := make([]bool, len(items)+1)
		for j := range can {
			switch {
			case want.kind == further:
				next[j] = can[j] || j > 0 && next[j-1]
			case j > 0:
				next[j] = can[j-1] && want.matches(items[j-1])
			}
		}
		can = next
	}
	return can[len(items)]
}
