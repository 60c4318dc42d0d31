package pipeline

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
)

// checkSinkFormats refuses formats that can hold no value, or no key, that the sink gets.
func (c *compiler) checkSinkFormats(d *Def, keys []expr.Type) {
	td := c.typed[d]
	from := d.From[0].Def.Name
	if k := td.value.Kind; td.format != codec.FormatJSON && (k == expr.Object || k == expr.List) || neverHolds(td.format, td.value) {
		c.diags.Errorf(codeSinkFormat, d.Sink.Format.Span, "format %s cannot hold the %s that %q gives", td.format, td.value, from).
			Help = "use format: json"
	}
	for _, key := range keys {
		if !neverHolds(td.keyFormat, key) {
			continue
		}
		what := fmt.Sprintf("the key of %q", from)
		if d.Sink.Key.Set {
			what = d.Sink.Key.Value
		}
		help := "use key_format: string, which writes a text of any key, or json"
		if key.Kind == expr.String && td.keyFormat != codec.FormatBytes {
			help = fmt.Sprintf("use key_format: string, or write the number: `key: int(%s)`", keyText(d))
		}
		c.diags.Errorf(codeSinkFormat, d.Sink.KeyFormat.Span, "key_format %s cannot hold %s, which is of type %s", td.keyFormat, what, key).
			Help = help
		return
	}
}

// keyText is what a sink's key is computed from.
func keyText(d *Def) string {
	if d.Sink.Key.Set {
		return d.Sink.Key.Value
	}
	return "key"
}

// neverHolds says that a format has no text for anything of a type but null.
func neverHolds(f codec.Format, t expr.Type) bool {
	switch f {
	case codec.FormatJSON, codec.FormatString:
		return false
	case codec.FormatBytes:
		return t.Kind != expr.Any && t.Kind != expr.Null && t.Kind != expr.String && t.Kind != expr.Bytes
	}
	return t.Kind != expr.Any && t.Kind != expr.Null && !isNumber(t)
}

// sinkKey compiles the key of a sink; nil = the stream's own key.
func (c *compiler) sinkKey(d *Def, in *binding) *expr.Program {
	key := c.program(d.Sink.Key, scopeOf(in.as("")), expr.Want{})
	if key == nil || !c.typed[d].changes {
		return key
	}
	for _, ref := range key.Refs() {
		if in.key == nil || !in.key.holds(ref) {
			c.diags.Errorf(codeSinkKey, d.Sink.Key.Span, "the key of a table's sink cannot depend on the row: a deletion has none").
				Help = "leave key: out, the table's key is then used, or compute it from key"
			return nil
		}
	}
	return key
}

// sinkKeyType is the type of the keys that a sink gets without a key of its own.
func (c *compiler) sinkKeyType(d *Def, in *binding) expr.Type {
	if c.typed[d].changes {
		return c.typed[d].key
	}
	if key := in.recordKey(); key != nil {
		return key.typ
	}
	return expr.Type{}
}
