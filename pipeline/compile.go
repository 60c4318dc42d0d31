package pipeline

import (
	"streamctl/internal/diag"
	"streamctl/operators"
)

// Result is what the stages made of a file, as far as they came.
type Result struct {
	File     *File
	Pipeline *Pipeline
	Typed    *Typed
	Plan     *Plan
	Topology *operators.Topology // nil after Check
}

// Compile takes a pipeline file through all stages. Each is a function from one
// type to the next and a list of diagnostics; the first that finds an error is
// the last that runs, because what follows it would only repeat the fault.
func Compile(name string, src []byte, opts ParseOptions) (*Result, diag.List) {
	r, diags := Check(name, src, opts)
	if diags.HasErrors() {
		return r, diags
	}
	var more diag.List
	r.Topology, more = Bind(r.Plan)
	diags.Append(more)
	diags.Sort()
	return r, diags
}

// Check is Compile without making operators: what `validate` does. It reads the
// modules that functions: names, and touches no environment beside.
func Check(name string, src []byte, opts ParseOptions) (*Result, diag.List) {
	r := &Result{}
	var diags, more diag.List

	// The text becomes a tree: is the shape right?
	r.File, diags = Parse(name, src, opts)
	if r.File.Syntax.Root == nil {
		return r, diags
	}
	// Names become definitions. This stage runs behind faults of the shape too:
	// a misspelt name is worth telling together with them.
	r.Pipeline, more = Resolve(r.File)
	diags.Append(more)
	diags.Sort()
	if diags.HasErrors() {
		return r, diags
	}
	// Expressions get types.
	r.Typed, more = Typecheck(r.Pipeline)
	diags.Append(more)
	diags.Sort()
	if diags.HasErrors() {
		return r, diags
	}
	// The graph is cut into sub-topologies.
	r.Plan, more = MakePlan(r.Typed)
	diags.Append(more)
	diags.Sort()
	return r, diags
}
