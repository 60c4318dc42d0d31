package expr

import (
	"fmt"

	"streamctl/internal/value"
)

// maxSteps bounds one evaluation, so that no record, with lists longer than
// anybody thought of, can hold up a task for minutes or fill its memory. A step
// is an element looped over; an element built counts as four, and sixteen bytes
// of text as one. It is some 100 MB or some tenths of a second.
const maxSteps = 10_000_000

const stepsPerItem, bytesPerStep = 4, 16

// spend counts steps; the error is that there were too many.
func (f *Frame) spend(steps int) error {
	if f.spent += steps; f.spent > maxSteps {
		return fmt.Errorf("expression takes more than %d steps for this record", maxSteps)
	}
	return nil
}

// spendOn counts what it took to make v.
func (f *Frame) spendOn(v value.Value) error {
	switch {
	case v.Tree != nil:
		return f.spend(stepsPerItem * len(v.Tree.Items))
	case v.Kind == value.String:
		return f.spend(len(v.Text) / bytesPerStep)
	}
	return nil
}
