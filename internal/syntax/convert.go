package syntax

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"streamctl/internal/diag"
)

// converter turns yaml.v3's tree into ours: it computes where each value ends,
// keeps aliases within bounds and refuses what a pipeline has no use for.
type converter struct {
	src      *source
	list     *diag.List
	anchored map[*yaml.Node]*anchored
	aliases  int
	nodes    int  // values so far, repeated ones counted again
	stopped  bool // a limit was passed
}

// anchored is a value that an alias can name.
type anchored struct {
	node *Node // nil while it is being read: an alias to it would be a cycle
	size int   // values in it
}

// stop reports that a limit was passed; the rest of the file is not looked at.
func (c *converter) stop(span diag.Span, help, format string, args ...any) *Node {
	if !c.stopped {
		c.stopped = true
		c.list.Errorf(CodeLimit, span, format, args...).Help = help
	}
	return nil
}

// convert makes a Node of y. It returns nil only after a limit was passed.
func (c *converter) convert(y *yaml.Node, depth int) *Node {
	if c.stopped {
		return nil
	}
	at := c.src.offset(y.Line, y.Column)
	c.nodes++
	if c.nodes > MaxNodes {
		return c.stop(c.src.span(at, at), "a pipeline file holds definitions, not data",
			"more than %d values in one file", MaxNodes)
	}
	if depth > MaxDepth {
		return c.stop(c.src.span(at, at+1), "no pipeline needs that; look for brackets that are opened by mistake", "mappings and lists are nested more than %d deep", MaxDepth)
	}
	if y.Kind == yaml.AliasNode {
		return c.alias(y, at)
	}
	var slot *anchored
	if y.Anchor != "" {
		slot = &anchored{}
		c.anchored[y] = slot
	}
	before := c.nodes
	n := c.value(y, at, depth)
	if slot != nil && n != nil {
		slot.node, slot.size = n, c.nodes-before+1
	}
	return n
}

func (c *converter) value(y *yaml.Node, at, depth int) *Node {
	n := &Node{src: c.src, at: at, Value: y.Value, Tag: y.Tag}
	if y.Kind != yaml.ScalarNode || y.Value != "" || y.Style&^yaml.TaggedStyle != 0 {
		n.at = c.src.skipProperties(at)
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.Kind = Mapping
		c.mapping(n, y, depth)
	case yaml.SequenceNode:
		n.Kind = Sequence
		c.sequence(n, y, depth)
	default:
		c.scalar(n, y)
	}
	c.checkTag(n, y, at)
	if c.stopped {
		return nil
	}
	return n
}

func (c *converter) scalar(n *Node, y *yaml.Node) {
	n.Style = scalarStyle(y.Style)
	if y.Tag == "!!timestamp" || y.Tag == "!!merge" { // a date is text to us
		n.Tag = TagStr
	}
	end := n.at
	if n.Value != "" || n.Style != Plain {
		end = c.src.scalarEnd(n)
	}
	n.Span = c.src.span(n.at, end)
	c.commented(n)
}

func (c *converter) mapping(n *Node, y *yaml.Node, depth int) {
	n.Style = collectionStyle(y.Style)
	end := n.at
	first := map[string]*Node{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := c.convert(y.Content[i], depth+1)
		value := c.convert(y.Content[i+1], depth+1)
		if key == nil || value == nil {
			return
		}
		name := y.Content[i]
		if n.Style == Flow {
			i += c.cutByComma(value, y.Content[i+1], y.Content[i+2:])
		}
		end = max(end, c.endIn(name, key), value.Span.End.Offset, c.endIn(y.Content[i+1], value))
		if c.keyRefused(name, key) {
			continue
		}
		if old := first[key.Value]; old != nil {
			c.list.Add(diag.Errorf(CodeDuplicateKey, key.Span, "key %q is given twice", key.Value).
				WithNote(old.Span, "first given here").
				WithHelp("remove one of the two, or give it another name"))
			continue
		}
		first[key.Value] = key
		n.Entries = append(n.Entries, Entry{Key: key, Value: value})
	}
	c.close(n, '{', '}', end)
}

// keyRefused reports keys that are no plain names.
func (c *converter) keyRefused(y *yaml.Node, key *Node) bool {
	switch {
	case key.Kind != Scalar:
		c.list.Errorf(CodeNotSupported, key.Span, "a %s cannot be a key", key.Kind).
			Help = "a text that begins with { or [ must be put in quotes"
	case y.Tag == "!!merge":
		c.list.Errorf(CodeNotSupported, key.Span, "merge keys (<<) are not supported").
			Help = "write the fields out; an alias (*name) can stand for a whole value"
	default:
		return false
	}
	return true
}

func (c *converter) sequence(n *Node, y *yaml.Node, depth int) {
	n.Style = collectionStyle(y.Style)
	end := n.at
	for _, item := range y.Content {
		child := c.convert(item, depth+1)
		if child == nil {
			return
		}
		end = max(end, c.endIn(item, child))
		n.Items = append(n.Items, child)
	}
	if n.Style == Block && end == n.at {
		end = min(n.at+1, len(c.src.text)) // a lone "-"
	}
	c.close(n, '[', ']', end)
}

// endIn is where a child ends at the place it is used: an alias stands for a
// value that lies elsewhere.
func (c *converter) endIn(y *yaml.Node, child *Node) int {
	if y.Kind == yaml.AliasNode {
		return c.src.offset(y.Line, y.Column) + 1 + len(y.Value)
	}
	return child.Span.End.Offset
}

// close sets the span of a collection whose last child ends at end.
func (c *converter) close(n *Node, open, closer byte, end int) {
	text := c.src.text
	if n.Style == Flow && n.at < len(text) && text[n.at] == open {
		i := max(end, n.at+1)
		for i < len(text) && text[i] != closer {
			if text[i] == '#' && isSpace(text[i-1]) {
				i = c.src.lines[min(c.src.pos(i).Line, len(c.src.lines)-1)] - 1
			}
			i++
		}
		end = min(i+1, len(text))
	}
	n.Span = c.src.span(n.at, end)
}

// alias resolves *name to the Node it names; the tree shares it.
func (c *converter) alias(y *yaml.Node, at int) *Node {
	span := c.src.span(at, at+1+len(y.Value))
	c.aliases++
	if c.aliases > MaxAliases {
		return c.stop(span, "write the values out", "more than %d aliases in one file", MaxAliases)
	}
	target := c.anchored[y.Alias]
	if target == nil || target.node == nil {
		return c.stop(span, "write the value out", "alias *%s stands inside the value that it names", y.Value)
	}
	c.nodes += target.size
	if c.nodes > MaxNodes {
		return c.stop(span, "write the values out", "aliases repeat more than %d values", MaxNodes)
	}
	return target.node
}

// checkTag refuses tags other than those of plain data.
func (c *converter) checkTag(n *Node, y *yaml.Node, at int) {
	switch n.Tag {
	case TagStr, TagInt, TagFloat, TagBool, TagNull, "!!map", "!!seq":
		return
	}
	end := at
	for end < len(c.src.text) && !isSpace(c.src.text[end]) {
		end++
	}
	help := "a text that begins with ! must be put in quotes"
	if y.Kind == yaml.ScalarNode && len(*c.list) == 0 { // one is shown: finding its end takes a look at all in front of it
		if start, last, _ := c.src.valueAround(min(at+1, len(c.src.text))); start == at {
			help += ": " + quoted(c.src.text[start:last])
		}
	}
	c.list.Errorf(CodeNotSupported, c.src.span(at, end), "tag %s is not supported", y.Tag).Help = help
	n.Tag = TagStr
}

// skipProperties passes tags and anchors in front of a value.
func (s *source) skipProperties(at int) int {
	for at < len(s.text) && (s.text[at] == '&' || s.text[at] == '!') {
		end := at
		for end < len(s.text) && !isSpace(s.text[end]) && strings.IndexByte(",[]{}", s.text[end]) < 0 {
			end++
		}
		at = end
		for at < len(s.text) && (isSpace(s.text[at]) || s.text[at] == '#') {
			if s.text[at] == '#' {
				for at < len(s.text) && s.text[at] != '\n' {
					at++
				}
				continue
			}
			at++
		}
	}
	return at
}

func scalarStyle(y yaml.Style) Style {
	switch {
	case y&yaml.DoubleQuotedStyle != 0:
		return DoubleQuoted
	case y&yaml.SingleQuotedStyle != 0:
		return SingleQuoted
	case y&yaml.LiteralStyle != 0:
		return Literal
	case y&yaml.FoldedStyle != 0:
		return Folded
	}
	return Plain
}

func collectionStyle(y yaml.Style) Style {
	if y&yaml.FlowStyle != 0 {
		return Flow
	}
	return Block
}

func isSpace(c byte) bool { return isBlank(c) || isBreak(c) }

// Keys lists the keys of a mapping in file order.
func (n *Node) Keys() []string {
	keys := make([]string, 0, len(n.Entries))
	for _, e := range n.Entries {
		keys = append(keys, e.Key.Value)
	}
	return slices.Clip(keys)
}
