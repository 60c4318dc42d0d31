package pipetest

import (
	"slices"
	"strings"

	"streamctl/internal/diag"
)

// namespace is what the names of a test stand for. With several pipelines, a name
// that means the same in all of them, or that only one has, can be written as it
// is, any one as PIPELINE.NAME.
type namespace struct {
	many  bool
	ports map[string]*port // nil: pipelines mean different things by this name
}

func newNamespace(many bool) *namespace {
	return &namespace{many: many, ports: make(map[string]*port)}
}

// add gives a name of a pipeline its meaning.
func (n *namespace) add(pipeline string, p *port) {
	if n.many {
		full := *p
		full.name = pipeline + "." + p.name
		n.ports[full.name] = &full
	}
	if other, taken := n.ports[p.name]; taken && (other == nil || *other != *p || p.topic == "") {
		n.ports[p.name] = nil
		return
	}
	n.ports[p.name] = p
}

// get gives what a name stands for, nil = nothing, or several things.
func (n *namespace) get(name string) *port { return n.ports[name] }

// ambiguous reports a name that stands for several things.
func (n *namespace) ambiguous(p *parser, at diag.Span, name string) bool {
	port, taken := n.ports[name]
	if !taken || port != nil {
		return false
	}
	var full []string
	for other := range n.ports {
		if strings.HasSuffix(other, "."+name) {
			full = append(full, other)
		}
	}
	slices.Sort(full)
	p.faults.Errorf(codeUnknownName, at, "%q is another thing in each pipeline", name).Help = "say which: " + strings.Join(full, ", ")
	return true
}

// names lists the names that stand for something.
func (n *namespace) names() []string {
	var out []string
	for name, port := range n.ports {
		if port != nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
