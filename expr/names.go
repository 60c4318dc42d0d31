package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"streamctl/internal/diag"
)

// What somebody may have meant who calls a function that is not there.

// misspelled says that a name most likely means an aggregate: its arguments are
// then over the records of a group, and no mistakes because of that.
func (c *checker) misspelled(name string) bool {
	if c.functions == nil {
		c.functions = library()
	}
	if c.scope.Aggregate == nil || c.functions[name] != nil {
		return false
	}
	aggregate, _ := aggregateKind(c.functionLike(name))
	return aggregate
}

// unknownFunction reports a name that is no function.
func (c *checker) unknownFunction(n *node, name string) *node {
	end := n.end
	if strings.HasPrefix(c.tree.text[n.start:], name) {
		end = n.start + len(name) // the name alone, not its arguments
	}
	d := c.diags.Errorf(codeFunction, c.at(n.start, end), "unknown function %s", name)
	if near := c.functionLike(name); near != "" {
		d.Help = fmt.Sprintf("did you mean %s?", near)
	}
	return n.spoil()
}

// functionLike is the function that somebody who writes name most likely means.
func (c *checker) functionLike(name string) string {
	if aggregate, _ := aggregateKind(snakeCase(name)); aggregate || c.functions[snakeCase(name)] != nil {
		return snakeCase(name)
	}
	if c.scope.Aggregate != nil {
		if known := otherAggregate(strings.ToLower(name)); known != "" {
			return known
		}
	}
	for _, spelling := range []string{strings.ToLower(name), snakeCase(name)} {
		if known := otherName(spelling); known != "" {
			return known
		}
	}
	names := slices.Collect(maps.Keys(c.functions))
	names = append(slices.AppendSeq(names, maps.Keys(c.user)), predicateNames()...)
	names = append(names, aggregatesOnly()...)
	return diag.Nearest(name, names)
}

// otherAggregate translates what SQL and other languages call our aggregates.
func otherAggregate(name string) string {
	switch name {
	case "average", "mean":
		return "avg"
	case "stdev", "stddev_samp", "std":
		return "stddev"
	case "array_agg", "group_array", "listagg":
		return "collect_list"
	case "approx_count_distinct", "approx_distinct", "uniq":
		return "count_distinct"
	case "quantile", "approx_percentile", "percentile_cont", "median":
		return "percentile"
	case "latest_by_offset", "last_value":
		return "last"
	case "earliest_by_offset", "first_value":
		return "first"
	case "topk":
		return "top_k"
	}
	return ""
}

// otherName translates what SQL and other languages call our functions.
func otherName(name string) string {
	switch name {
	case "length", "size", "lenght", "char_length", "array_length", "cardinality":
		return "len"
	case "substr", "mid":
		return "substring"
	case "ucase", "uppercase", "to_upper", "toupper":
		return "upper"
	case "lcase", "lowercase", "to_lower", "tolower":
		return "lower"
	case "ifnull", "nvl", "isnull":
		return "if_null"
	case "nullif":
		return "null_if"
	case "to_string", "tostring", "str", "text":
		return "string"
	case "to_int", "toint", "integer", "bigint", "parseint", "parse_int":
		return "int"
	case "to_float", "tofloat", "double", "number", "parsefloat", "parse_float":
		return "float"
	case "exists", "some":
		return "any"
	case "every":
		return "all"
	case "date_trunc", "trunc", "datetrunc":
		return "truncate_time"
	case "to_timestamp", "strptime", "parse_date", "stringtotimestamp":
		return "parse_time"
	case "date_format", "to_char", "strftime", "timestamptostring", "format_date":
		return "format_time"
	case "extract", "date_part":
		return "time_part"
	case "current_timestamp", "unix_timestamp", "getdate":
		return "now"
	case "lpad":
		return "pad_left"
	case "rpad":
		return "pad_right"
	case "regexp_extract":
		return "regex_extract"
	case "regexp_replace":
		return "regex_replace"
	case "uniq", "unique":
		return "distinct"
	case "to_base64":
		return "base64_encode"
	case "from_base64":
		return "base64_decode"
	case "from_json", "json_parse", "json_decode":
		return "parse_json"
	case "average":
		return "mean"
	case "power":
		return "pow"
	case "instr", "strpos", "position":
		return "index_of"
	case "array_agg", "list_agg", "collect":
		return "collect_list"
	case "approx_count_distinct", "countdistinct", "uniq_exact":
		return "count_distinct"
	case "topk":
		return "top_k"
	case "percentile_cont", "approx_percentile", "quantile":
		return "percentile"
	case "stddev_samp", "stdev", "stddev_sample":
		return "stddev"
	case "earliest_by_offset", "first_value":
		return "first"
	case "latest_by_offset", "last_value":
		return "last"
	}
	return ""
}

// snakeCase writes trimPrefix as trim_prefix and toJSON as to_json: expr-lang's
// names in our spelling.
func snakeCase(name string) string {
	var b strings.Builder
	capital := true // the byte before is one
	for i := range len(name) {
		c := name[i]
		isCapital := c >= 'A' && c <= 'Z'
		if isCapital && !capital {
			b.WriteByte('_')
		}
		capital = isCapital
		if isCapital {
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}
