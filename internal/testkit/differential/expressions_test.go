package differential

import (
	"fmt"
	"strings"
)

// scope is an alias with what it stands for.
type scope struct {
	alias string
	def   *def
}

func scopeOf(alias string, d *def) scope { return scope{alias, d} }

func (s scope) path(name string) string {
	if s.alias == "" {
		return name
	}
	return s.alias + "." + name
}

func (s scope) spread() string {
	if s.alias == "" {
		return "*"
	}
	return s.alias + ".*"
}

// quote makes an expression a YAML scalar.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (g *generator) quoted(s scope, k kind) string { return quote(g.expression(s, k, 2)) }

// path draws a field of a kind; "" = there is none.
func (g *generator) path(s scope, k kind) string {
	var fit []string
	for _, f := range s.def.fields {
		if f.kind == k {
			fit = append(fit, s.path(f.name))
		}
	}
	if len(fit) == 0 {
		return ""
	}
	return fit[g.r.IntN(len(fit))]
}

// leaf is a field, or a constant.
func (g *generator) leaf(s scope, k kind) string {
	if p := g.path(s, k); p != "" && !g.one(5) {
		return p
	}
	switch k {
	case anInt:
		return pick(g.r, "0", "1", "2", "3")
	case aText:
		return pick(g.r, `"a"`, `"b"`, `"A"`, `""`)
	case aFloat:
		return pick(g.r, "0.5", "2.0", "-1.25")
	}
	return g.comparison(s, 0)
}

// expression draws one of a kind.
func (g *generator) expression(s scope, k kind, depth int) string {
	if depth == 0 {
		return g.leaf(s, k)
	}
	sub := func(k kind) string { return g.expression(s, k, depth-1) }
	if g.one(8) {
		if call := g.call(s, k, depth); call != "" {
			return call
		}
	}
	switch g.r.IntN(8) {
	case 0:
		return fmt.Sprintf("(%s ? %s : %s)", sub(aBool), sub(k), sub(k))
	case 1:
		return fmt.Sprintf("(%s ?? %s)", g.leaf(s, k), sub(k))
	case 2, 3:
		return g.leaf(s, k)
	}
	switch k {
	case anInt:
		if g.one(6) {
			return fmt.Sprintf("len(%s)", sub(aText))
		}
		return fmt.Sprintf("(%s %s %s)", sub(anInt), pick(g.r, "+", "-", "*"), sub(anInt))
	case aFloat:
		return fmt.Sprintf("(%s %s %s)", sub(aFloat), pick(g.r, "+", "-"), sub(anInt))
	case aText:
		if g.one(2) {
			return fmt.Sprintf("%s(%s)", pick(g.r, "upper", "lower"), sub(aText))
		}
		return fmt.Sprintf("(%s + %s)", sub(aText), sub(aText))
	}
	switch g.r.IntN(5) {
	case 0:
		return fmt.Sprintf("!(%s)", sub(aBool))
	case 1, 2:
		return fmt.Sprintf("(%s %s %s)", sub(aBool), pick(g.r, "&&", "||"), sub(aBool))
	}
	return g.comparison(s, depth-1)
}

func (g *generator) comparison(s scope, depth int) string {
	k := pick(g.r, anInt, aText, aFloat)
	p := g.path(s, k)
	switch {
	case p == "":
		p, k = g.path(s, anInt), anInt
		if p == "" {
			return fmt.Sprintf("(%s != nil)", s.path(s.def.fields[0].name))
		}
	case g.one(6):
		return fmt.Sprintf("(%s %s nil)", p, pick(g.r, "==", "!="))
	}
	return fmt.Sprintf("(%s %s %s)", p, pick(g.r, "==", "!=", "<", "<=", ">", ">="), g.expression(s, k, depth))
}
