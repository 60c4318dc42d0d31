package value

// Expand returns a Raw as the List or Map it is, one level deep: items and
// fields that are arrays or objects stay Raw. Of fields with one name the last
// value stands, at the place of the first. Other values are returned as they are.
func (v Value) Expand() Value {
	if v.Kind != Raw {
		return v
	}
	var b builder
	doc := bytesOf(v.Text)
	walk(doc, func(name []byte, start, end int) bool {
		b.add(name, OfLexed(doc, start, end))
		return true
	})
	return b.value(v.IsObject())
}

// expandAll returns a Raw as lists and maps all the way down, in one pass.
// (Level by level with Expand would lex the deepest text once per level.)
func (v Value) expandAll() Value {
	if v.Kind != Raw {
		return v
	}
	tree, end := buildTree(bytesOf(v.Text), 0)
	if end < 0 {
		return Value{}
	}
	return tree
}

// buildTree reads the value at i. It recurses at most MaxDepth levels, because
// the text of a Raw has been checked; text that has not gives a fault.
func buildTree(doc []byte, i int) (Value, int) {
	if i >= len(doc) || doc[i] != '{' && doc[i] != '[' {
		end := LexValue(doc, i, 0)
		if end < 0 {
			return Value{}, end
		}
		return OfLexed(doc, i, end), end
	}
	var b builder
	object := doc[i] == '{'
	i = LexSpace(doc, i+1)
	for i < len(doc) && doc[i] != '}' && doc[i] != ']' {
		var name []byte
		if object {
			if name, i = readName(doc, i); i < 0 {
				return Value{}, i
			}
		}
		item, end := buildTree(doc, i)
		if end < 0 {
			return Value{}, end
		}
		b.add(name, item)
		i = nextChild(doc, end)
	}
	return b.value(object), i + 1
}

// builder collects the children of a list or map.
type builder struct {
	tree Tree
	at   map[string]int // places of the keys, kept for big objects only
}

// smallMap is the number of keys up to which a search by turns is quicker than a hash table.
const smallMap = 16

// add takes the next item; name is the inside of a member's name, nil in a list.
func (b *builder) add(name []byte, item Value) {
	if name == nil {
		b.tree.Items = append(b.tree.Items, item)
		return
	}
	key := unquote(name)
	if old := b.find(key); old >= 0 {
		b.tree.Items[old] = item
		return
	}
	if b.at != nil {
		b.at[key] = len(b.tree.Keys)
	}
	b.tree.Keys = append(b.tree.Keys, key)
	b.tree.Items = append(b.tree.Items, item)
}

func (b *builder) find(key string) int {
	if len(b.tree.Keys) < smallMap {
		return b.tree.find(key)
	}
	if b.at == nil {
		b.at = b.tree.places()
	}
	if i, ok := b.at[key]; ok {
		return i
	}
	return -1
}

func (b *builder) value(object bool) Value {
	if object {
		return Value{Kind: Map, Tree: &b.tree}
	}
	return Value{Kind: List, Tree: &b.tree}
}

// find returns the place of key, -1 if it is not there.
func (t *Tree) find(key string) int {
	for i, k := range t.Keys {
		if k == key {
			return i
		}
	}
	return -1
}

// places indexes the keys.
func (t *Tree) places() map[string]int {
	at := make(map[string]int, len(t.Keys))
	for i, key := range t.Keys {
		at[key] = i
	}
	return at
}
