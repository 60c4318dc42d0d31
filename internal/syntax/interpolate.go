package syntax

import (
	"strings"

	"streamctl/internal/diag"
)

// Lookup is where ${...} gets its values: the environment and the file system,
// or a test's maps.
type Lookup struct {
	Env  func(name string) (value string, ok bool)
	File func(path string) ([]byte, error)
}

// FindInterpolation gives the place of the first ${env:...} or ${file:...} in
// a text. "$${" is an escaped "${" and does not count.
func FindInterpolation(text string) (start, end int, found bool) {
	for at := 0; ; {
		i := strings.Index(text[at:], "${")
		if i < 0 {
			return 0, 0, false
		}
		start = at + i
		at = start + 2
		if start > 0 && text[start-1] == '$' {
			continue
		}
		if !strings.HasPrefix(text[at:], "env:") && !strings.HasPrefix(text[at:], "file:") {
			continue
		}
		end = len(text)
		if j := strings.IndexByte(text[at:], '}'); j >= 0 {
			end = at + j + 1
		}
		return start, end, true
	}
}

// Interpolate replaces every ${...} in the scalar n:
//
//	${env:NAME}             the variable; an error when it is not set
//	${env:NAME:-default}    default when it is not set or empty
//	${env:NAME:?message}    the message as error when it is not set or empty
//	${file:/path}           the file's text without its last line break
//	$${                     a literal ${
//
// What was put in is not looked at again. Faults get the code "interpolation";
// values never appear in them.
func Interpolate(n *Node, lookup Lookup) (string, diag.List) {
	in := interpolator{n: n, lookup: lookup}
	return in.run(), in.list
}

// CheckInterpolation reports forms that cannot be understood, looking nothing up.
func CheckInterpolation(n *Node) diag.List {
	in := interpolator{n: n}
	in.run()
	return in.list
}

type interpolator struct {
	n      *Node
	lookup Lookup // zero: only check
	list   diag.List
}

func (in *interpolator) run() string {
	text := in.n.Value
	var out strings.Builder
	for at := 0; at < len(text); {
		i := strings.Index(text[at:], "${")
		if i < 0 {
			out.WriteString(text[at:])
			break
		}
		start := at + i
		if start > at && text[start-1] == '$' {
			out.WriteString(text[at : start-1])
			out.WriteString("${")
			at = start + 2
			continue
		}
		out.WriteString(text[at:start])
		j := strings.IndexByte(text[start:], '}')
		if j < 0 {
			in.fault(start, len(text), "close it with }", "this ${ is not closed")
			break
		}
		at = start + j + 1
		out.WriteString(in.value(start, at, text[start+2:at-1]))
	}
	return out.String()
}

// value gives what stands for ${body} at [start, end) of the scalar.
func (in *interpolator) value(start, end int, body string) string {
	kind, arg, _ := strings.Cut(body, ":")
	switch kind {
	case "env":
		return in.env(start, end, arg)
	case "file":
		if arg == "" {
			in.fault(start, end, "write ${file:/path}", "the path of a file is missing")
			return ""
		}
		return in.file(start, end, arg)
	}
	in.fault(start, end, "use ${env:NAME}, ${env:NAME:-default}, ${env:NAME:?message} or ${file:/path}; $${ is a literal ${",
		"unknown interpolation %q", "${"+body+"}")
	return ""
}

func (in *interpolator) env(start, end int, arg string) string {
	name, rest, hasRest := strings.Cut(arg, ":")
	if !isEnvName(name) {
		in.fault(start, end, "a name holds letters, digits and _", "%q is no name of an environment variable", name)
		return ""
	}
	if hasRest && !strings.HasPrefix(rest, "-") && !strings.HasPrefix(rest, "?") {
		in.fault(start, end, "write ${env:NAME:-default} or ${env:NAME:?message}", "unexpected %q behind the name", ":"+rest)
		return ""
	}
	if in.lookup.Env == nil {
		return ""
	}
	value, ok := in.lookup.Env(name)
	switch {
	case ok && (!hasRest || value != ""):
		return value
	case !hasRest:
		in.fault(start, end, "set it, or give a default: ${env:"+name+":-default}", "environment variable %s is not set", name)
	case rest[0] == '-':
		return rest[1:]
	default:
		in.fault(start, end, rest[1:], "environment variable %s is not set", name)
	}
	return ""
}

func (in *interpolator) file(start, end int, path string) string {
	if in.lookup.File == nil {
		return ""
	}
	text, err := in.lookup.File(path)
	if err != nil {
		in.fault(start, end, "", "read file %s: %v", path, err)
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
}

func (in *interpolator) fault(start, end int, help, format string, args ...any) {
	in.list.Errorf(CodeInterpolation, in.n.At(start, end), format, args...).Help = help
}

func isEnvName(s string) bool {
	for i, r := range s {
		if !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '_' || i > 0 && r >= '0' && r <= '9') {
			return false
		}
	}
	return s != ""
}
