package pipeline

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/diag"
)

// Codes of the diagnostics of typecheck and plan.
const (
	codeUnknownType   diag.Code = "unknown-type"
	codeUnknownField  diag.Code = "unknown-field"
	codeFieldsFormat  diag.Code = "fields-format"
	codeEnvelope      diag.Code = "envelope-format"
	codeJoinInput     diag.Code = "join-input"
	codeJoinKey       diag.Code = "join-key"
	codeUnion         diag.Code = "union-mismatch"
	codeGroupBy       diag.Code = "group-by"
	codeAggregateArgs diag.Code = "aggregate-arguments"
	codeSinkKey       diag.Code = "sink-key"
	codeSinkFormat    diag.Code = "sink-format"
	codeSelect        diag.Code = "select-column"
	codeTopicTwice    diag.Code = "topic-twice"
	codeTableInput    diag.Code = "table-input"
	codeReplicate     diag.Code = "replicated-table"
	codeVersioned     diag.Code = "versioned-table"
	codeHaving        diag.Code = "having"
)

// typeNames are the words of fields:, in the order that help shows them.
func typeNames() []string {
	return []string{"int", "float", "string", "bool", "list", "object", "any"}
}

// declaredType is the type that a list of field declarations gives an object.
// Other fields may be there in the data, but expressions cannot name them.
func declaredType(fields []FieldDecl, diags *diag.List) expr.Type {
	t := expr.Type{Kind: expr.Object}
	for _, f := range fields {
		t.Fields = append(t.Fields, expr.Field{Name: f.Name.Value, Type: fieldType(f, diags)})
	}
	return t
}

func fieldType(f FieldDecl, diags *diag.List) expr.Type {
	if f.Type.Value == "list" && len(f.Sub) == 1 {
		elem := fieldType(f.Sub[0], diags)
		return expr.Type{Kind: expr.List, Elem: &elem}
	}
	if len(f.Sub) > 0 {
		return declaredType(f.Sub, diags)
	}
	switch f.Type.Value {
	case "int":
		return expr.Type{Kind: expr.Int}
	case "float":
		return expr.Type{Kind: expr.Float}
	case "string":
		return expr.Type{Kind: expr.String}
	case "bool":
		return expr.Type{Kind: expr.Bool}
	case "list", "array":
		return expr.Type{Kind: expr.List}
	case "object":
		return expr.Type{Kind: expr.Object, Open: true}
	case "any":
		return expr.Type{}
	case "bytes":
		diags.Errorf(codeUnknownType, f.Type.Span, "JSON has no bytes").
			Help = "declare the field as string and decode it where it is used"
		return expr.Type{}
	}
	d := diags.Errorf(codeUnknownType, f.Type.Span, "unknown type %q", f.Type.Value)
	if near := diag.Nearest(f.Type.Value, typeNames()); near != "" {
		d.Help = fmt.Sprintf("did you mean %s?", near)
	} else {
		d.Help = "types are int, float, string, bool, list, object and any; an object's fields may be nested below its name"
	}
	return expr.Type{}
}

// formatType is what decoding a format gives.
func formatType(f codec.Format) expr.Type {
	switch f {
	case codec.FormatString:
		return expr.Type{Kind: expr.String}
	case codec.FormatBytes:
		return expr.Type{Kind: expr.Bytes}
	case codec.FormatInt, codec.FormatLong:
		return expr.Type{Kind: expr.Int}
	case codec.FormatDouble:
		return expr.Type{Kind: expr.Float}
	}
	return expr.Type{}
}

// wantOf is how a slot of a static type is read.
func wantOf(t expr.Type) codec.Want {
	switch t.Kind {
	case expr.Bool:
		return codec.WantBool
	case expr.Int:
		return codec.WantInt
	case expr.Float:
		return codec.WantFloat
	case expr.String:
		return codec.WantString
	case expr.List:
		return codec.WantList
	case expr.Object:
		return codec.WantObject
	case expr.Bytes:
		return codec.WantBytes
	}
	return codec.WantAny
}

// typeAt follows path from t. ok is false for a field that t's declaration
// does not have; problem then says so, unless it is the first step, which
// whoever knows the other names explains better.
func typeAt(t expr.Type, path []codec.Step) (at expr.Type, problem string, ok bool) {
	for i, step := range path {
		switch {
		case t.Kind == expr.Any || t.Kind == expr.Null:
			return expr.Type{}, "", true
		case t.Kind == expr.List && step.IsIndex:
			if t.Elem == nil {
				t = expr.Type{}
			} else {
				t = *t.Elem
			}
		case t.Kind == expr.Object && !step.IsIndex:
			f, known := fieldOf(t, step.Name)
			switch {
			case known:
				t = f
			case t.Open:
				return expr.Type{}, "", true
			case i == 0:
				return expr.Type{}, "", false
			default:
				return expr.Type{}, noSuchField(t, path[:i], step.Name), false
			}
		default:
			return expr.Type{}, noPart(t, path[:i], step), false
		}
	}
	return t, "", true
}

func fieldOf(t expr.Type, name string) (expr.Type, bool) {
	for _, f := range t.Fields {
		if f.Name == name {
			return f.Type, true
		}
	}
	return expr.Type{}, false
}

func noSuchField(t expr.Type, at []codec.Step, name string) string {
	text := fmt.Sprintf("%s has no field %s", codec.PathText(at), name)
	if near := diag.Nearest(name, fieldNames(t)); near != "" {
		text += fmt.Sprintf(", did you mean %s?", near)
	}
	return text
}

func noPart(t expr.Type, at []codec.Step, step codec.Step) string {
	what := "the value"
	if len(at) > 0 {
		what = codec.PathText(at)
	}
	if step.IsIndex {
		return fmt.Sprintf("%s is of type %s, which has no elements", what, t)
	}
	return fmt.Sprintf("%s is of type %s, which has no field %s", what, t, step.Name)
}

func fieldNames(t expr.Type) []string {
	names := make([]string, len(t.Fields))
	for i, f := range t.Fields {
		names[i] = f.Name
	}
	return names
}
