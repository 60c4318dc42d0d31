package expr

import (
	"fmt"
	"regexp"

	"streamctl/internal/value"
)

func regexFunctions() []function {
	text := param{name: "text", kinds: stringKind}
	pattern := param{name: "pattern", kinds: stringKind}
	return []function{
		{name: "regex_match", params: []param{text, pattern}, result: Type{Kind: Bool}, prepare: prepareMatch, operator: opMatches,
			doc: "Whether the pattern matches somewhere in the text; the operator `matches` is the same. Patterns are constants in RE2 syntax, at most 1000 bytes."},
		{name: "regex_extract", params: []param{text, pattern, {name: "group", kinds: intKind | stringKind, optional: true}}, result: Type{Kind: String}, prepare: prepareExtract,
			doc: "What the first match's group is, by number or name; default: group 1, or the whole match when the pattern has no groups. Null when nothing matches."},
		{name: "regex_replace", params: []param{text, pattern, {name: "with", kinds: stringKind}}, result: Type{Kind: String}, prepare: prepareReplace,
			doc: "Every match replaced by `with`, in which `$1` or `${name}` is a group."},
	}
}

// patternOf compiles argument 1.
func patternOf(n *node) (*regexp.Regexp, *argumentFault) {
	re, msg := compilePattern(n.kids[1])
	if msg != "" {
		return nil, &argumentFault{1, codeRegex, msg}
	}
	return re, nil
}

func prepareMatch(n *node) *argumentFault {
	re, bad := patternOf(n)
	if bad != nil {
		return bad
	}
	n.re, n.kids = re, n.kids[:1]
	return nil
}

func prepareExtract(n *node) *argumentFault {
	re, bad := patternOf(n)
	if bad != nil {
		return bad
	}
	group := min(re.NumSubexp(), 1)
	if len(n.kids) > 2 {
		arg := n.kids[2]
		if !arg.constant() || arg.isNil() {
			return &argumentFault{2, codeArguments, "the group must be a constant"}
		}
		if arg.val.Kind == value.String {
			group = re.SubexpIndex(arg.val.Text)
		} else {
			group = int(arg.val.AsInt())
		}
		if group < 0 || group > re.NumSubexp() {
			return &argumentFault{2, codeArguments, fmt.Sprintf("the pattern has no group %s", arg.val.Short())}
		}
	}
	n.impl = func(_ *Frame, args []value.Value) (value.Value, error) {
		text := args[0].Text
		at := re.FindStringSubmatchIndex(text)
		if at == nil || at[2*group] < 0 {
			return value.NullV(), nil
		}
		return value.OfString(text[at[2*group]:at[2*group+1]]), nil
	}
	return nil
}

func prepareReplace(n *node) *argumentFault {
	re, bad := patternOf(n)
	if bad != nil {
		return bad
	}
	n.impl = func(_ *Frame, args []value.Value) (value.Value, error) {
		return value.OfString(re.ReplaceAllString(args[0].Text, args[2].Text)), nil
	}
	return nil
}
