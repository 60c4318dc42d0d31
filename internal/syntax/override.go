package syntax

import (
	"slices"
	"strings"

	"streamctl/internal/diag"
)

// OverrideFile is the pseudo file that spans of overridden values point to:
// one line per override, as it was given.
const OverrideFile = "--set"

// Override applies settings "path=value" (kafka.client_id=x,
// sources.page_views.topic=y) to the tree and returns a new File; f stays as it
// was. A path goes through mappings by their keys; its last part may be new,
// the parts before it must exist, unless mayCreate allows the mapping with that
// path to be made. The value is taken as text, or as YAML when it begins with
// "[" or "{". Faults get the code "override".
func (f *File) Override(settings []string, mayCreate func(path []string) bool) (*File, diag.List) {
	if len(settings) == 0 {
		return f, nil
	}
	out := &File{Name: f.Name, Text: f.Text, Root: f.Root, Overrides: []byte(strings.Join(settings, "\n"))}
	o := overrider{src: newSource(OverrideFile, out.Overrides), mayCreate: mayCreate}
	at := 0
	for _, s := range settings {
		out.Root = o.apply(out.Root, s, at)
		at += len(s) + 1
	}
	return out, o.list
}

type overrider struct {
	src       *source
	mayCreate func(path []string) bool
	list      diag.List
}

// apply sets one value; at is where the setting stands in the pseudo file.
func (o *overrider) apply(root *Node, setting string, at int) *Node {
	path, value, ok := strings.Cut(setting, "=")
	if !ok || path == "" {
		o.list.Errorf(CodeOverride, o.src.span(at, at+len(setting)), "%q is not path=value", setting).
			Help = "write --set sources.NAME.topic=TOPIC"
		return root
	}
	parts := strings.Split(path, ".")
	keys := make([]*Node, len(parts))
	start := at
	for i, part := range parts {
		keys[i] = &Node{Kind: Scalar, Tag: TagStr, Value: part, Span: o.src.span(start, start+len(part)), src: o.src, at: start}
		if part == "" {
			o.list.Errorf(CodeOverride, o.src.span(start, start), "the path %q has an empty part", path)
			return root
		}
		start += len(part) + 1
	}
	leaf := o.value(value, at+len(path)+1)
	if leaf == nil {
		return root
	}
	if root == nil {
		root = &Node{Kind: Mapping, Tag: "!!map", Style: Block, Span: diag.Span{File: OverrideFile}}
	}
	return o.set(root, keys, parts, 0, leaf)
}

// value makes the Node of an override's value.
func (o *overrider) value(text string, at int) *Node {
	span := o.src.span(at, at+len(text))
	if !strings.HasPrefix(text, "[") && !strings.HasPrefix(text, "{") {
		return &Node{Kind: Scalar, Tag: TagStr, Value: text, Span: span, src: o.src, at: at}
	}
	// The value is parsed at its own place: what stands before it becomes blank.
	padded := slices.Concat(blank(o.src.text[:at]), []byte(text))
	file, list := Parse(OverrideFile, padded)
	if list.HasErrors() || file.Root == nil {
		o.list.Add(diag.Errorf(CodeOverride, span, "the value cannot be read as YAML").
			WithHelp("write a list as [a, b]"))
		return nil
	}
	return file.Root
}

// blank replaces everything but line breaks by spaces.
func blank(text []byte) []byte {
	out := make([]byte, len(text))
	for i, c := range text {
		out[i] = ' '
		if c == '\n' {
			out[i] = '\n'
		}
	}
	return out
}

// set returns a copy of n in which the value at keys[depth:] is leaf.
func (o *overrider) set(n *Node, keys []*Node, parts []string, depth int, leaf *Node) *Node {
	if n.Kind != Mapping {
		o.list.Errorf(CodeOverride, keys[depth-1].Span, "%s is no mapping: nothing can be set below it",
			strings.Join(parts[:depth], "."))
		return n
	}
	out := *n
	out.Entries = slices.Clone(n.Entries)
	i := slices.IndexFunc(out.Entries, func(e Entry) bool { return e.Key.Value == parts[depth] })
	if depth == len(parts)-1 {
		if i >= 0 {
			out.Entries[i].Value = leaf
		} else {
			out.Entries = append(out.Entries, Entry{Key: keys[depth], Value: leaf})
		}
		return &out
	}
	switch {
	case i >= 0 && !out.Entries[i].Value.IsNull():
		out.Entries[i].Value = o.set(out.Entries[i].Value, keys, parts, depth+1, leaf)
	case o.mayCreate(parts[:depth+1]):
		made := &Node{Kind: Mapping, Tag: "!!map", Style: Block, Span: keys[depth].Span}
		entry := Entry{Key: keys[depth], Value: o.set(made, keys, parts, depth+1, leaf)}
		if i >= 0 {
			out.Entries[i] = entry
		} else {
			out.Entries = append(out.Entries, entry)
		}
	default:
		o.unknown(n, keys[depth], parts[:depth])
		return n
	}
	return &out
}

func (o *overrider) unknown(n *Node, key *Node, above []string) {
	where := "the file"
	if len(above) > 0 {
		where = strings.Join(above, ".")
	}
	d := o.list.Errorf(CodeOverride, key.Span, "there is no %q in %s", key.Value, where)
	if near := diag.Nearest(key.Value, n.Keys()); near != "" {
		d.Help = "did you mean \"" + near + "\"?"
	} else if keys := n.Keys(); len(keys) > 0 && len(keys) <= 20 {
		d.Help = "there are: " + strings.Join(keys, ", ")
	}
}
